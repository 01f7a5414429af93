"""What was decided, and why: `everfit ledger`, `everfit why`, `everfit lineage`, `everfit reproduce`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()
ledger = command_group("ledger", about="Look at the decisions: list them, verify their chain, decide them again.")
app.add_typer(ledger)

_Pipeline = Annotated[str | None, typer.Option(help="Only of this pipeline.")]


@ledger.command(name="list", epilog=example("everfit ledger list", "everfit ledger list --pipeline bike --kind gate"))
def ledger_list(
    pipeline: _Pipeline = None,
    kind: Annotated[
        str | None,
        typer.Option(help="Only these: training, trigger, data, gate, approval, promotion, rollback."),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many, the newest ones.")] = 50,
    as_json: Json = False,
) -> None:
    """List decisions, newest first: what was decided, why, by whom; refusals and suppressions included."""
    from console.ledger import list_command

    list_command(pipeline=pipeline, kind=kind, limit=limit, output=Output(as_json=as_json))


@ledger.command(
    name="verify", epilog=example("everfit ledger verify", "everfit ledger verify --head 3f9c2a1b7d40e5aa --json")
)
def ledger_verify(
    head: Annotated[
        str | None,
        typer.Option(help="The digest that an earlier verification printed: finds what was cut off.", metavar="DIGEST"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Walk along the chain of digests and find the first entry that is not what was written."""
    from console.ledger import verify_command

    verify_command(head=head, output=Output(as_json=as_json))


@ledger.command(name="replay", epilog=example("everfit ledger replay", "everfit ledger replay --pipeline bike --json"))
def ledger_replay(pipeline: _Pipeline = None, as_json: Json = False) -> None:
    """Decide every gate decision again from its stored inputs, and say whether the verdict is the same."""
    from console.ledger import replay_command

    replay_command(pipeline=pipeline, output=Output(as_json=as_json))


@app.command(epilog=example("everfit reproduce bike@7 --verify", "everfit reproduce bike@champion --json"))
def reproduce(
    version: Annotated[str, typer.Argument(help="A version, such as bike@7.", metavar="NAME@VERSION")],
    verify: Annotated[bool, typer.Option("--verify", help="End with 4 where it comes out otherwise.")] = False,
    as_json: Json = False,
) -> None:
    """Build a version again from its stored snapshot and code in a clean process, and compare the two."""
    from console.reproduction import reproduce_command

    reproduce_command(version, verify=verify, output=Output(as_json=as_json))


@app.command(epilog=example("everfit why bike", "everfit why bike@7", "everfit why 20130501-060000-3f9c2a --json"))
def why(
    subject: Annotated[
        str, typer.Argument(help="A run, a version, a model, or the number of a decision.", metavar="RUN|VERSION|MODEL")
    ],
    as_json: Json = False,
) -> None:
    """Explain in plain words: who asked and why, on what data, how it compared, what was decided, what came after."""
    from console.why import why_command

    why_command(subject, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit lineage bike@7", "everfit lineage bike --openlineage https://lineage.example.org/api/v1/lineage"
    )
)
def lineage(
    version: Annotated[str, typer.Argument(help="A version such as bike@7, or a model.", metavar="VERSION")],
    openlineage: Annotated[
        str | None,
        typer.Option(help="Send it as OpenLineage events to this file or address instead.", metavar="FILE|URL"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show what a version came from: run, steps, snapshots, source, feature views, code, libraries, each by digest."""
    from console.lineage import lineage_command

    lineage_command(version, openlineage=openlineage, output=Output(as_json=as_json))
