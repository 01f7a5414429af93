"""`everfit notices`: who is told of what happens."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group(
    "notices", about="Notices: who is told of what happens, by Slack, e-mail, Teams and a hundred more."
)

_Pipeline = Annotated[str, typer.Argument(help="A pipeline's name.", metavar="NAME")]
_Receiver = Annotated[str | None, typer.Argument(help="Only this receiver.", metavar="[RECEIVER]")]
_Kind = Annotated[str | None, typer.Option(help="Only this kind of happening, such as alarm.raised.")]


@app.command(name="list", epilog=example("everfit notices list", "everfit notices list bike --state 'given up' --json"))
def notices_list(
    pipeline: Annotated[str | None, typer.Argument(help="Only of this pipeline.", metavar="[NAME]")] = None,
    state: Annotated[
        str | None, typer.Option(help="Only these: waiting, sent, given up, muted, repeated or unwanted.")
    ] = None,
    limit: Annotated[int, typer.Option(min=0, max=10_000, help="How many to show, newest first.")] = 20,
    as_json: Json = False,
) -> None:
    """List the receivers of EVERFIT_NOTIFY, what is muted, and the newest notices: sent, waiting, or not and why."""
    from console.notices import list_command

    list_command(pipeline, state=state, limit=limit, output=Output(as_json=as_json))


@app.command(name="test", epilog=example("everfit notices test team", "everfit notices test --owner ana@example.org"))
def notices_test(
    receiver: _Receiver = None,
    owner: Annotated[str, typer.Option(help="The e-mail address to put where an address has {owner}.")] = "",
    as_json: Json = False,
) -> None:
    """Send a test message to the receivers now, and say whether each took it."""
    from console.notices import test_command

    test_command(receiver, owner=owner, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit notices mute bike --until 14d --reason 'we move the warehouse'",
        "everfit notices mute bike --kind alarm.raised --until 2026-12-01",
    )
)
def mute(
    pipeline: _Pipeline,
    until: Annotated[
        str | None, typer.Option(help="For how long, such as 14d, or until when; default: for good.")
    ] = None,
    kind: _Kind = None,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")] = "no reason was given",
    as_json: Json = False,
) -> None:
    """Tell nobody of a pipeline, or of one kind of happening; Prefect's events go on."""
    from console.notices import mute_command

    mute_command(pipeline, until=until, kind=kind, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit notices unmute bike", "everfit notices unmute bike --kind alarm.raised"))
def unmute(pipeline: _Pipeline, kind: _Kind = None, as_json: Json = False) -> None:
    """Tell people again; what was muted meanwhile is not sent afterwards."""
    from console.notices import unmute_command

    unmute_command(pipeline, kind=kind, output=Output(as_json=as_json))


@app.command(epilog=example("everfit notices retry", "everfit notices retry team"))
def retry(receiver: _Receiver = None, as_json: Json = False) -> None:
    """Send everything that waits or was given up again, now."""
    from console.notices import retry_command

    retry_command(receiver, output=Output(as_json=as_json))
