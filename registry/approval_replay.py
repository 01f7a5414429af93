"""Approvals decided again from what the ledger holds: who was asked, who answered what and when, and what it led to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from pydantic import TypeAdapter

from base.times import parse_moment
from registry.approval_rule import Given, Question, decide_standing, why_not_counted
from registry.tables import Approval, ApprovalAnswer, Decision

Told = tuple[bool, str]
"""Whether a decision is the same again, and what to say of it."""

_DURATION = TypeAdapter(timedelta)


def replay_approval(
    decisions: Sequence[Decision], approval: Approval | None, answers: Sequence[ApprovalAnswer]
) -> dict[int, Told]:
    """Decide again everything that people and the clock decided about one run's promotion.

    Parameters
    ----------
    decisions : sequence of Decision
        All of the run, oldest first.
    approval, answers : Approval, sequence of ApprovalAnswer
        As the registry holds them; they must say what the ledger says.

    Returns
    -------
    dict of sequence number to (same, words)
        For each decision of kind ``approval``, and for a promotion that followed from them.
    """
    asked = next((each for each in decisions if _is(each, "asked")), None)
    if asked is None:
        return {each.sequence: (False, "nobody was asked before") for each in decisions if each.kind == "approval"}
    question = _read_question(asked)
    given: list[Given] = []
    told: dict[int, Told] = {asked.sequence: _check_question(asked, question)}
    end: str | None = None
    closing = asked
    for decision in decisions:
        if decision.sequence <= asked.sequence or decision.kind not in ("approval", "promotion", "rollout"):
            continue
        now, outcome = _moment(decision), decision.outcome
        if outcome in ("approve", "reject"):
            problem = None if end is None else f"it was {end} already"
            problem = problem or why_not_counted(question, given, decision.actor, now)
            given.append(Given(decision.actor, outcome))  # type: ignore[arg-type]
            told[decision.sequence] = (
                (False, f"the answer of {decision.actor!r} does not count: {problem}")
                if problem
                else _count(decision, question, given, now)
            )
            closing = decision
            end = "rejected" if outcome == "reject" else end
        elif decision.kind in ("promotion", "rollout"):
            end, told[decision.sequence] = _end(question, given, now, "approved", end)
        elif outcome == "expired":
            end, told[decision.sequence] = _end(question, given, now, "expired", end)
        elif outcome == "overtaken":
            found, expected = decision.evidence.get("revision"), decision.evidence["inputs"]["expected_revision"]
            end, told[decision.sequence] = _end(question, given, now, "approved", end)
            if found == expected:
                told[decision.sequence] = False, f"the alias stood at revision {found}, as it did when it was asked"
            end = "overtaken"
    standing = decide_standing(question, given, asked.decided_at)
    if standing == "approved" and end is None:
        told[closing.sequence] = False, "enough people have agreed, and the ledger holds no promotion"
    if problem := _compare_rows(question, given, end or "waiting", approval, answers):
        same, before = told[closing.sequence]
        told[closing.sequence] = False, problem if same else f"{before}; {problem}"
    return told


def _is(decision: Decision, outcome: str) -> bool:
    return decision.kind == "approval" and decision.outcome == outcome


def _read_question(asked: Decision) -> Question:
    parameters = asked.evidence["rule"]["parameters"]
    return Question(
        requester=asked.actor,
        needed=parameters["needed"],
        approvers=tuple(parameters["approvers"]),
        expires_at=parse_moment(asked.evidence["inputs"]["expires_at"]),
    )


def _check_question(asked: Decision, question: Question) -> Told:
    """Hold what was asked against the definition of its day."""
    spec: Mapping[str, Any] = asked.evidence.get("spec", {})
    wanted = {"needed": spec.get("needed"), "approvers": tuple(spec.get("approvers", ()))}
    for name, value in wanted.items():
        if value != getattr(question, name):
            return False, f"{name}: asked {getattr(question, name)!r}, the definition said {value!r}"
    known = asked.evidence["inputs"].get("as_of")
    if known is not None and parse_moment(known) + _DURATION.validate_python(spec["expires"]) != question.expires_at:
        return False, f"it expires at {question.expires_at:%Y-%m-%d %H:%M} UTC, the definition said {spec['expires']}"
    return True, f"{question.needed} must agree, not {question.requester}"


def _count(decision: Decision, question: Question, given: Sequence[Given], now: datetime) -> Told:
    approved = [each.actor for each in given if each.answer == "approve"]
    written = decision.evidence.get("approved_by")
    if written is not None and written != approved:
        return False, f"approved_by: written {written!r}, counted again {approved!r}"
    standing = decide_standing(question, given, now)
    return True, f"it counts: {len(approved)} of {question.needed}, {standing}"


def _end(
    question: Question, given: Sequence[Given], now: datetime, wanted: str, before: str | None
) -> tuple[str, Told]:
    """Compare how it ended with what the answers come to."""
    standing = before or decide_standing(question, given, now)
    if standing == wanted:
        agreed = sum(each.answer == "approve" for each in given)
        return wanted, (True, f"it was {wanted}: {agreed} of {question.needed}")
    return wanted, (False, f"written {wanted!r}, decided again {standing!r}")


def _compare_rows(
    question: Question, given: Sequence[Given], end: str, approval: Approval | None, answers: Sequence[ApprovalAnswer]
) -> str | None:
    """Say where the registry's own rows differ from the ledger."""
    if approval is None:
        return "the registry holds no approval of this run"
    rows = [(each.actor, each.answer) for each in answers]
    told = [(each.actor, each.answer) for each in given]
    if rows != told:
        return f"the registry holds the answers {rows!r}, the ledger {told!r}"
    stored = Question(approval.requester, approval.needed, tuple(approval.approvers), approval.expires_at)
    if stored != question:
        return f"the registry says that {stored} was asked, the ledger {question}"
    if approval.status != end:
        return f"the registry says that it is {approval.status}, the ledger that it is {end}"
    return None


def _moment(decision: Decision) -> datetime:
    known = decision.evidence.get("inputs", {}).get("as_of")
    return decision.decided_at if known is None else parse_moment(known)
