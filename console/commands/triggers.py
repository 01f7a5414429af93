"""Triggers: `everfit trigger`, `everfit triggers`, `everfit why-not`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()
triggers = command_group("triggers", about="Look at what asked for trainings, and at what became of it.")
app.add_typer(triggers)

_Pipeline = Annotated[str, typer.Argument(help="A registered pipeline.", metavar="NAME")]


@app.command(
    epilog=example(
        "everfit trigger bike --reason 'the refunds of April were entered'",
        "everfit trigger bike --reason 'nightly load is done' --key load-2024-06-15 --json",
    )
)
def trigger(
    pipeline: _Pipeline,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    as_of: Annotated[str | None, typer.Option(help="The moment of the data that it is about (UTC).")] = None,
    key: Annotated[str | None, typer.Option(help="The same key again is the same wish; default: a new one.")] = None,
    as_json: Json = False,
) -> None:
    """Ask for a training without waiting for it: the wish is filed, and the arbiter says what becomes of it."""
    from console.triggers import trigger_command

    trigger_command(pipeline, reason=reason, as_of=as_of, key=key, output=Output(as_json=as_json))


@triggers.command(
    name="list", epilog=example("everfit triggers list", "everfit triggers list bike --state suppressed --json")
)
def triggers_list(
    pipeline: Annotated[str | None, typer.Argument(help="Only of this pipeline.", metavar="[NAME]")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only these: waiting, started, merged, suppressed.", metavar="STATE")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest ones.")] = 50,
    as_json: Json = False,
) -> None:
    """List triggers, newest first: what asked, when, and the arbiter's word."""
    from console.triggers import list_command

    list_command(pipeline, state=state, limit=limit, output=Output(as_json=as_json))


@triggers.command(name="show", epilog=example("everfit triggers show t-20240615-120000-9f3c1a2b"))
def triggers_show(
    trigger_id: Annotated[str, typer.Argument(help="A trigger's id, from the list.", metavar="ID")],
    as_json: Json = False,
) -> None:
    """Show one trigger: what its sender said, the ruling, the launch and the run that came of it."""
    from console.triggers import show_command

    show_command(trigger_id, output=Output(as_json=as_json))


@app.command(name="why-not", epilog=example("everfit why-not bike", "everfit why-not bike --json"))
def why_not(pipeline: _Pipeline, as_json: Json = False) -> None:
    """Say why a pipeline has not trained again: what would become of an alarm now, and of the last ones."""
    from console.why_not import why_not_command

    why_not_command(pipeline, output=Output(as_json=as_json))
