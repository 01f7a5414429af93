"""The prediction log: `everfit traffic status | show | move | gc`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group("traffic", about="Look at the prediction log: what was counted, what is stored, what may go.")

_Some = Annotated[str | None, typer.Argument(help="Of this model; default: of all.", metavar="[MODEL]")]
_GAP = 3


@app.command(epilog=example("everfit traffic status", "everfit traffic status bike --json"))
def status(model: _Some = None, as_json: Json = False) -> None:
    """Hold what was counted against what is stored; exit code 3 where rows are missing."""
    from console.traffic_status import status_command

    if not status_command(model, output=Output(as_json=as_json)):
        raise typer.Exit(_GAP)


@app.command(
    epilog=example(
        "everfit traffic show bike --last 5", "everfit traffic show bike --id 019a8f2c4b1e7c3a8d5e6f7081920a3b"
    )
)
def show(
    model: Model,
    last: Annotated[int, typer.Option(min=1, help="How many of the newest predictions to show.")] = 10,
    name: Annotated[str | None, typer.Option("--id", help="Only the prediction with this id.", metavar="ID")] = None,
    as_json: Json = False,
) -> None:
    """Show logged predictions: when, by which version and arm, what was answered, and the row."""
    from console.traffic_rows import show_command

    show_command(model, last=last, name=name, output=Output(as_json=as_json))


@app.command(epilog=example("everfit traffic move"))
def move(as_json: Json = False) -> None:
    """Seal what dead services have left here, and move sealed segments to the artifact store now."""
    from console.traffic_upkeep import move_command

    move_command(output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit traffic gc --dry-run", "everfit traffic gc bike --keep-for '90 days' --keep-bytes 5000000000"
    )
)
def gc(
    model: _Some = None,
    keep_for: Annotated[
        str | None, typer.Option(help="Keep what is younger; default: as the definition says.", metavar="DURATION")
    ] = None,
    keep_bytes: Annotated[
        int | None, typer.Option(min=0, help="Keep the newest up to this size; default: as the definition says.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be removed.")] = False,
    as_json: Json = False,
) -> None:
    """Remove predictions and labels that are kept no longer; the ledger keeps how many there were."""
    from console.traffic_upkeep import gc_command

    gc_command(model, keep_for=keep_for, keep_bytes=keep_bytes, dry_run=dry_run, output=Output(as_json=as_json))
