"""What trainings were worth: `everfit pnl`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit pnl bike", "everfit pnl bike --since 2026-01-01", "everfit pnl bike --json"))
def pnl(
    pipeline: Annotated[str, typer.Argument(help="A registered pipeline.", metavar="NAME")],
    since: Annotated[
        str | None, typer.Option(help="Only trainings that began since then (UTC).", metavar="MOMENT")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what each training brought, on the labels that have matured, against what it cost."""
    from console.pnl import pnl_command

    pnl_command(pipeline, since=since, output=Output(as_json=as_json))
