"""Watches: `everfit watch`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit watch", "everfit watch bike --json"))
def watch(
    pipelines: Annotated[
        list[str] | None, typer.Argument(help="Pipelines to look at; default: all.", metavar="[PIPELINE]...")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look once at what asks for trainings by itself (new data, age, silence, a change), and file what is due."""
    from console.watches import watch_command

    watch_command(pipelines or [], output=Output(as_json=as_json))
