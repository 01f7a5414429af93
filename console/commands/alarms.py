"""Alarms of monitoring: `everfit alarms list`, `mute`, `unmute` and `reset`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group("alarms", about="Look at what monitoring has found, and say what it shall not call an alarm.")

_Column = Annotated[str | None, typer.Argument(help="A column of the model.", metavar="[COLUMN]")]
_Kind = Annotated[
    str | None,
    typer.Option(help="drift, prediction drift, label drift, performance, missing labels or broken data."),
]
_Reason = Annotated[str, typer.Option(help="Why; the ledger keeps it.")]


@app.command("list", epilog=example("everfit alarms list", "everfit alarms list bike --all --json"))
def list_alarms(
    model: Annotated[str | None, typer.Argument(help="Of this model; default: of all.", metavar="[MODEL]")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those that are over.")] = False,
    as_json: Json = False,
) -> None:
    """List open alarms with what is behind them, and what is muted."""
    from console.alarms import list_command

    list_command(model, everything=everything, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit alarms mute bike windspeed --until 14d --reason 'the sensor is being replaced'",
        "everfit alarms mute bike --kind 'prediction drift' --reason 'prices change on purpose'",
    )
)
def mute(
    model: Model,
    reason: _Reason,
    column: _Column = None,
    kind: _Kind = None,
    until: Annotated[str | None, typer.Option(help="For how long, such as 14d; default: for good.")] = None,
    as_json: Json = False,
) -> None:
    """Let a column, or a kind of alarm, raise none; it is measured all the same."""
    from console.alarms import mute_command

    mute_command(model, column, kind=kind, until=until, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit alarms unmute bike windspeed"))
def unmute(model: Model, column: _Column = None, kind: _Kind = None, as_json: Json = False) -> None:
    """Let what was muted raise alarms again."""
    from console.alarms import unmute_command

    unmute_command(model, column, kind=kind, output=Output(as_json=as_json))


@app.command(epilog=example("everfit alarms reset bike --reason 'since May all stations send Celsius'"))
def reset(model: Model, reason: _Reason, as_json: Json = False) -> None:
    """Take what the windows show now as usual: open alarms are closed, and counting begins anew."""
    from console.alarms import reset_command

    reset_command(model, reason=reason, output=Output(as_json=as_json))
