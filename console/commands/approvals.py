"""Approvals: `everfit approvals`, `everfit approve`, `everfit reject`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()

_Run = Annotated[
    str, typer.Argument(help="A run, or a model of which one version waits (see `everfit approvals`).", metavar="RUN")
]


@app.command(epilog=example("everfit approvals", "everfit approvals --all --json"))
def approvals(
    everything: Annotated[bool, typer.Option("--all", help="Those that were answered or expired, too.")] = False,
    as_json: Json = False,
) -> None:
    """List promotions that wait for people: which version, since when, until when, who has answered."""
    from console.approvals import approvals_command

    approvals_command(everything=everything, output=Output(as_json=as_json))


@app.command(epilog=example("everfit approve bike --reason 'seen the slices, agreed with Anna'"))
def approve(
    run: _Run, reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")], as_json: Json = False
) -> None:
    """Agree to a promotion; the last person who is needed makes the version champion."""
    from console.approvals import answer_command

    answer_command(run, answer="approve", reason=reason, output=Output(as_json=as_json))


@app.command(epilog=example("everfit reject 20260503-101502-9f3c1a --reason 'the refunds of April are missing'"))
def reject(
    run: _Run, reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")], as_json: Json = False
) -> None:
    """Say no to a promotion; the champion stays."""
    from console.approvals import answer_command

    answer_command(run, answer="reject", reason=reason, output=Output(as_json=as_json))
