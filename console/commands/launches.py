"""Launches: `everfit dispatch`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit dispatch", "everfit dispatch --once --json"))
def dispatch(
    once: Annotated[bool, typer.Option("--once", help="Send what waits, look after what was sent, and end.")] = False,
    as_json: Json = False,
) -> None:
    """Send granted trainings to Prefect until Ctrl-C; `everfit up` does it by itself, a server of your own needs it."""
    from console.launches import dispatch_command

    dispatch_command(once=once, output=Output(as_json=as_json))
