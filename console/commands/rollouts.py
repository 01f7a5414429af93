"""Rollouts: `everfit rollout start`, `status`, `check`, `promote`, `stop` and `history`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group("rollout", about="Let a new version in step by step: shadow, canary, A/B test or bandit.")

_Reason = Annotated[str, typer.Option(help="Why; the ledger keeps it.")]


@app.command(
    epilog=example(
        "everfit rollout start bike 7 --reason 'the April model'",
        "everfit rollout start bike 7 --kind canary --steps 1,5,25,100 --bake 10m --min-rows 200 --reason 'new'",
        "everfit rollout start bike 7 8 --kind bandit --until 14d --promote-winner --reason 'three recipes'",
    )
)
def start(
    model: Model,
    versions: Annotated[list[int], typer.Argument(help="The challengers; several in an ab or a bandit.")],
    reason: _Reason,
    kind: Annotated[str, typer.Option(help="shadow, canary, ab or bandit.")] = "canary",
    steps: Annotated[
        str | None, typer.Option(help="Canary: percent of the keys, step by step, such as 1,5,25,100.")
    ] = None,
    bake: Annotated[str | None, typer.Option(help="Canary: how long a step lasts at least, such as 10m.")] = None,
    min_rows: Annotated[int | None, typer.Option(help="Labelled rows that each step needs at least.")] = None,
    evidence: Annotated[str | None, typer.Option(help="Canary: auto, labels or agreement.")] = None,
    share: Annotated[float | None, typer.Option(help="A/B: share of the keys for the challengers, 0 to 1.")] = None,
    until: Annotated[str | None, typer.Option(help="Shadow, ab, bandit: verdict after so long, such as 14d.")] = None,
    until_rows: Annotated[int | None, typer.Option(help="Shadow, ab, bandit: verdict after labelled rows.")] = None,
    promote_winner: Annotated[
        bool | None, typer.Option("--promote-winner/--no-promote-winner", help="Let the alias follow the verdict.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Begin to let versions in beside the champion; what is not said stands in `serve.rollout` of the definition."""
    from console.rollouts import start_command

    given = {
        "steps": steps,
        "bake": bake,
        "min_rows": min_rows,
        "evidence": evidence,
        "share": share,
        "until": until,
        "until_rows": until_rows,
        "promote_winner": promote_winner,
    }
    start_command(model, versions, kind=kind, given=given, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit rollout status", "everfit rollout status bike --json"))
def status(
    model: Annotated[str | None, typer.Argument(help="One model; default: all that run.", metavar="[MODEL]")] = None,
    as_json: Json = False,
) -> None:
    """Show arms, shares, rows, labels, losses and bets of running rollouts, and what each waits for."""
    from console.rollout_status import status_command

    status_command(model, output=Output(as_json=as_json))


@app.command(epilog=example("everfit rollout check bike"))
def check(model: Model, as_json: Json = False) -> None:
    """Look at the evidence now and act on it, as a running service does by itself every few seconds."""
    from console.rollouts import check_command

    check_command(model, output=Output(as_json=as_json))


@app.command(epilog=example("everfit rollout promote bike --reason 'seen enough'"))
def promote(
    model: Model,
    reason: _Reason,
    version: Annotated[int | None, typer.Option(help="Which one, where there are several challengers.")] = None,
    as_json: Json = False,
) -> None:
    """End a rollout now and make its challenger the champion."""
    from console.rollouts import end_command

    end_command(model, promote=True, version=version, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit rollout stop bike --reason 'the sensors were wrong this week'"))
def stop(model: Model, reason: _Reason, as_json: Json = False) -> None:
    """End a rollout now; the champion stays."""
    from console.rollouts import end_command

    end_command(model, promote=False, version=None, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit rollout history bike"))
def history(model: Model, as_json: Json = False) -> None:
    """List the rollouts of a model, newest first: kind, versions, how it ended and why."""
    from console.rollouts import history_command

    history_command(model, output=Output(as_json=as_json))
