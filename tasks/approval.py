"""Approval: a run whose promotion people must agree to waits in Prefect's UI, with a form to answer in."""

from __future__ import annotations

import logging
import math
from typing import Literal
from uuid import UUID

from prefect import runtime
from prefect.exceptions import FlowPauseTimeout, NotPausedError
from prefect.flow_runs import pause_flow_run, resume_flow_run
from prefect.input import RunInput
from pydantic import Field

from base.times import utc_now
from registry.approvals import WAITING, ApprovalRefused, answer_approval, close_expired
from registry.store import Registry
from registry.tables import Approval

_log = logging.getLogger(__name__)
# A pause looks at Prefect's server so often; nothing else waits for it.
_LOOK_SECONDS = 2


class ApprovalForm(RunInput):
    """What the form in Prefect's UI asks."""

    approver: str = Field(description="Your name; whoever asked for the training cannot answer.", min_length=1)
    answer: Literal["approve", "reject"] = "approve"
    reason: str = Field(description="Why; the ledger keeps it.", min_length=1)


def wait_for_approval(registry: Registry, run_id: str) -> str | None:
    """Pause the flow run until the promotion is decided, here or on the command line, and return how.

    Everything that matters is in the registry: a process that dies while it waits loses nothing, and
    ``everfit approve`` promotes without it. A run that no deployment started has nobody to pause for, and
    does not wait.

    Returns
    -------
    str or None
        The approval's status; None where nobody had to be asked.
    """
    n_pauses = 0
    while (approval := _read(registry, run_id)) is not None and approval.status == WAITING:
        seconds = (approval.expires_at - utc_now()).total_seconds()
        if seconds <= 0:
            with registry.database.write() as session:
                close_expired(session, utc_now())
            continue
        if runtime.flow_run.id is None or runtime.deployment.id is None:
            return WAITING
        n_pauses += 1
        form = ApprovalForm.with_initial_data(description=_describe(approval))
        try:
            given = pause_flow_run(
                form, timeout=math.ceil(seconds), poll_interval=_LOOK_SECONDS, key=f"approval-{n_pauses}"
            )
        except FlowPauseTimeout:
            continue
        _take(registry, run_id, given)
    return None if approval is None else approval.status


def resume_waiting_run(flow_run: str, *, approver: str, answer: str, reason: str) -> None:
    """Let a flow run go on whose approval was decided on the command line, if it waits."""
    try:
        resume_flow_run(UUID(flow_run), run_input={"approver": approver, "answer": answer, "reason": reason})
    except NotPausedError:
        return
    except Exception as error:
        _log.warning("flow run %s could not be resumed, and waits in Prefect until it expires: %s", flow_run, error)


def _take(registry: Registry, run_id: str, form: ApprovalForm) -> None:
    decided = _read(registry, run_id)
    if decided is None or decided.status != WAITING:
        return
    try:
        with registry.database.write() as session:
            answer_approval(
                session, run_id, actor=form.approver.strip(), answer=form.answer, reason=form.reason, now=utc_now()
            )
    except ApprovalRefused as error:
        _log.warning("the answer does not count: %s", error)


def _read(registry: Registry, run_id: str) -> Approval | None:
    with registry.database.read() as session:
        return session.get(Approval, run_id)


def _describe(approval: Approval) -> str:
    who = ", ".join(approval.approvers) or f"anybody but {approval.requester}"
    return (
        f"**May {approval.model} version {approval.number} serve in {approval.environment}?**\n\n{approval.reason}\n\n"
        f"{approval.needed} must approve by {approval.expires_at:%Y-%m-%d %H:%M} UTC: {who}. One who rejects is enough."
    )
