"""`everfit hooks`: who may ask for trainings over HTTP."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("hooks", about="Hooks: who may ask for trainings over HTTP, by signed messages.")

_Name = Annotated[str, typer.Argument(help="The sender's name, such as airflow.", metavar="NAME")]


@app.command(name="add", epilog=example("everfit hooks add airflow --pipeline bike", "everfit hooks add shop --json"))
def hooks_add(
    name: _Name,
    pipeline: Annotated[
        list[str] | None, typer.Option(help="Only for this pipeline; may be repeated. Default: any.", metavar="NAME")
    ] = None,
    as_json: Json = False,
) -> None:
    """Let a sender ask for trainings, and show the secret by which it signs, this once."""
    from console.hooks import add_command

    add_command(name, pipelines=pipeline or [], output=Output(as_json=as_json))


@app.command(name="list", epilog=example("everfit hooks list", "everfit hooks list --json"))
def hooks_list(as_json: Json = False) -> None:
    """List the senders: for which pipelines, how many secrets are good, since when and until when."""
    from console.hooks import list_command

    list_command(output=Output(as_json=as_json))


@app.command(
    name="rotate", epilog=example("everfit hooks rotate airflow", "everfit hooks rotate airflow --overlap '2 hours'")
)
def hooks_rotate(
    name: _Name,
    overlap: Annotated[str, typer.Option(help="For how long the secret before is good as well.")] = "24h",
    as_json: Json = False,
) -> None:
    """Give a sender a new secret; the one before is good for a while, so that the sender can change over."""
    from console.hooks import rotate_command

    rotate_command(name, overlap=overlap, output=Output(as_json=as_json))


@app.command(name="remove", epilog=example("everfit hooks remove airflow --reason 'it stood in a public repository'"))
def hooks_remove(
    name: _Name,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "",
    as_json: Json = False,
) -> None:
    """End a sender; running services refuse what it signs at once."""
    from console.hooks import remove_command

    remove_command(name, reason=reason, output=Output(as_json=as_json))
