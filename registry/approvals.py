"""Approvals: a promotion that the gate allowed waits until people have agreed, or one has said no."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from base.approval_spec import ApprovalSpec
from base.documents import as_text
from base.errors import ArgumentError, EverfitError
from registry.approval_rule import Answer, Given, Question, why_not_counted
from registry.ledger import Rule, append_decision
from registry.models import find_alias, find_version, promote_version
from registry.runs import RUNNING, close_dead, is_alive
from registry.tables import Approval, ApprovalAnswer, ModelVersion, Run

WAITING, APPROVED, REJECTED, EXPIRED, OVERTAKEN = "waiting", "approved", "rejected", "expired", "overtaken"


class ApprovalRefused(ArgumentError):
    """An answer that does not count: from the wrong person, a second time, or too late."""


def ask_approval(
    session: Session,
    spec: ApprovalSpec,
    version: ModelVersion,
    *,
    environment: str,
    revision: int,
    requester: str,
    reason: str,
    now: datetime,
) -> Approval:
    """Ask people whether a version may be promoted; the same run asks once.

    Parameters
    ----------
    revision : int
        Where the alias stood when the verdict was given; an approval promotes from there or not at all.
    requester : str
        Who asked for the training: their answer will not count.
    reason : str
        The verdict, in a sentence.
    """
    found = session.get(Approval, version.run_id)
    if found is not None:
        return found
    approval = Approval(
        run_id=version.run_id,
        model=version.model,
        number=version.number,
        environment=environment,
        revision=revision,
        requester=as_text(requester),
        needed=spec.needed,
        approvers=list(spec.approvers),
        reason=as_text(reason),
        status=WAITING,
        asked_at=now,
        expires_at=now + spec.expires,
    )
    session.add(approval)
    _record(
        session,
        approval,
        outcome="asked",
        reason=f"{spec.needed} must approve by {approval.expires_at:%Y-%m-%d %H:%M} UTC: {reason}",
        actor=requester,
        evidence={"spec": spec.model_dump(mode="json")},
        now=now,
    )
    session.flush()
    return approval


def answer_approval(
    session: Session, run_id: str, *, actor: str, answer: Answer, reason: str, now: datetime
) -> Approval:
    """Take one person's answer; the last approval that is needed moves the alias, in the same transaction.

    Where the champion has changed since the verdict, nothing is promoted: the approval is *overtaken*, since what
    the people agreed to was a comparison with another champion.

    Raises
    ------
    ApprovalRefused
        If the person asked for the training, is none of the approvers, has answered, or nothing waits.
    """
    approval = session.get(Approval, run_id)
    if approval is None:
        raise ApprovalRefused(f"run {run_id!r} waits for no approval; `everfit approvals` lists those that do")
    actor = as_text(actor)
    _check_answer(session, approval, actor, now)
    session.add(ApprovalAnswer(run_id=run_id, actor=actor, answer=answer, reason=as_text(reason), answered_at=now))
    session.flush()
    approved = [given.actor for given in list_answers(session, run_id) if given.answer == "approve"]
    evidence = {"approved_by": approved, "needed": approval.needed}
    _record(session, approval, outcome=answer, reason=reason, actor=actor, evidence=evidence, now=now)
    if answer == "reject":
        _close(session, approval, REJECTED, f"rejected by {actor}: {reason}", now)
    elif len(approved) >= approval.needed:
        _promote(session, approval, approved, now)
    return approval


def close_expired(session: Session, now: datetime) -> list[Approval]:
    """Close every approval whose time is over; the champion stays."""
    query = select(Approval).where(Approval.status == WAITING, col(Approval.expires_at) <= now)
    expired = list(session.exec(query))
    for approval in expired:
        told = f"no answer by {approval.expires_at:%Y-%m-%d %H:%M} UTC; the champion stays"
        _record(session, approval, outcome=EXPIRED, reason=told, actor="everfit", evidence={}, now=now)
        _close(session, approval, EXPIRED, told, now)
    return expired


def find_approval(session: Session, run: str) -> Approval:
    """Return the approval of a run, named by its id, or by a model of which one version waits.

    Raises
    ------
    ApprovalRefused
        If there is none, or more than one.
    """
    approval = session.get(Approval, run)
    if approval is not None:
        return approval
    waiting = [each for each in list_approvals(session, waiting_only=True) if each.model == run]
    if len(waiting) == 1:
        return waiting[0]
    if waiting:
        runs = ", ".join(each.run_id for each in waiting)
        raise ApprovalRefused(f"{len(waiting)} versions of {run!r} wait; name the run: {runs}")
    raise ApprovalRefused(f"nothing waits for approval under {run!r}; `everfit approvals` lists what does")


def is_waiting(session: Session, run_id: str) -> bool:
    """Tell whether a run's promotion waits for people."""
    approval = session.get(Approval, run_id)
    return approval is not None and approval.status == WAITING


def approval_status(session: Session, run_id: str) -> str | None:
    """Return how a run that people were asked about stands: ``waiting``, ``promoted`` or ``kept``; None: nobody was."""
    approval = session.get(Approval, run_id)
    if approval is None or approval.status == WAITING:
        return None if approval is None else WAITING
    return _run_status(approval.status)


def list_approvals(session: Session, *, waiting_only: bool = False, limit: int = 100) -> list[Approval]:
    """List approvals, newest first."""
    query = select(Approval).order_by(col(Approval.asked_at).desc(), col(Approval.run_id).desc()).limit(limit)
    return list(session.exec(query.where(Approval.status == WAITING) if waiting_only else query))


def list_answers(session: Session, run_id: str) -> list[ApprovalAnswer]:
    """List what people answered, in their order."""
    query = select(ApprovalAnswer).where(ApprovalAnswer.run_id == run_id).order_by(col(ApprovalAnswer.id))
    return list(session.exec(query))


def _check_answer(session: Session, approval: Approval, actor: str, now: datetime) -> None:
    name = f"{approval.model}@{approval.number}"
    if approval.status != WAITING:
        raise ApprovalRefused(f"the promotion of {name} waits no more: it is {approval.status}")
    question = Question(approval.requester, approval.needed, tuple(approval.approvers), approval.expires_at)
    if problem := why_not_counted(question, _as_given(list_answers(session, approval.run_id)), actor, now):
        way_out = "; train again" if now >= approval.expires_at else ""
        raise ApprovalRefused(f"no answer for {name}: {problem}{way_out}")


def _as_given(answers: list[ApprovalAnswer]) -> list[Given]:
    return [Given(each.actor, "approve" if each.answer == "approve" else "reject") for each in answers]


def _promote(session: Session, approval: Approval, approved: list[str], now: datetime) -> None:
    by = " and ".join(approved)
    alias = find_alias(session, approval.environment, approval.model)
    revision = 0 if alias is None else alias.revision
    if revision != approval.revision:
        told = f"approved by {by}, but the champion changed since the verdict; train again"
        evidence = {"revision": revision}
        _record(session, approval, outcome=OVERTAKEN, reason=told, actor="everfit", evidence=evidence, now=now)
        _close(session, approval, OVERTAKEN, told, now)
        return
    version = find_version(session, approval.model, approval.number)
    if version is None:
        raise EverfitError(f"version {approval.number} of {approval.model!r} is not in the registry any more")
    promote_version(
        session,
        approval.environment,
        version,
        expected_revision=approval.revision,
        actor=by,
        reason=f"approved by {by}; {approval.reason}",
        run_id=approval.run_id,
    )
    _close(session, approval, APPROVED, f"approved by {by}; {approval.reason}", now)


def _close(session: Session, approval: Approval, status: str, reason: str, now: datetime) -> None:
    approval.status, approval.closed_at = status, now
    session.add(approval)
    run = session.get_one(Run, approval.run_id)
    if run.status == WAITING:
        run.status, run.reason = _run_status(status), as_text(reason)
        session.add(run)
    session.flush()
    if run.status == RUNNING and not is_alive(run, now):
        # It died after it had asked, and cannot say any more that it waits.
        close_dead(session, run)
        run.reason = as_text(reason)


def _run_status(status: str) -> str:
    return "promoted" if status == APPROVED else "kept"


def _record(
    session: Session,
    approval: Approval,
    *,
    outcome: str,
    reason: str,
    actor: str,
    evidence: dict[str, Any],
    now: datetime,
) -> None:
    append_decision(
        session,
        kind="approval",
        pipeline=approval.model,
        run_id=approval.run_id,
        outcome=outcome,
        reason=reason,
        actor=actor,
        evidence={"version": approval.number, "environment": approval.environment, **evidence},
        rule=Rule("approval by people", parameters={"needed": approval.needed, "approvers": approval.approvers}),
        inputs={
            "expected_revision": approval.revision,
            "expires_at": approval.expires_at.isoformat(),
            "as_of": now.isoformat(),
        },
    )
