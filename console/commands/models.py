"""Model versions and their aliases: `everfit versions`, `everfit rollback`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit versions", "everfit versions bike --json"))
def versions(
    model: Annotated[str | None, typer.Argument(help="Only of this model.", metavar="[MODEL]")] = None,
    as_json: Json = False,
) -> None:
    """List model versions, newest first, with their metrics and which one is champion."""
    from console.versions import versions_command

    versions_command(model, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit rollback bike --reason 'complaints about Sunday forecasts'",
        "everfit rollback bike --to 3 --reason 'version 3 knew winter'",
    )
)
def rollback(
    model: Model,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    to: Annotated[
        int | None, typer.Option(min=1, help="The version to go back to; default: the champion before.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Make an earlier version champion again, with its features, threshold and reference."""
    from console.versions import rollback_command

    rollback_command(model, to=to, reason=reason, output=Output(as_json=as_json))
