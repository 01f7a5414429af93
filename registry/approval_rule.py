"""The rule of approvals: whose answer counts, and what the answers come to; asked again by the ledger's replay."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

Answer = Literal["approve", "reject"]
Standing = Literal["waiting", "approved", "rejected", "expired"]


@dataclass(frozen=True)
class Question:
    """What people were asked: how many must agree, who may answer (empty: anybody but *requester*), until when."""

    requester: str
    needed: int
    approvers: tuple[str, ...]
    expires_at: datetime


@dataclass(frozen=True)
class Given:
    """One person's answer."""

    actor: str
    answer: Answer


def why_not_counted(question: Question, answers: Sequence[Given], actor: str, now: datetime) -> str | None:
    """Say why a further answer does not count; None: it does.

    Examples
    --------
    >>> from datetime import UTC
    >>> noon = datetime(2026, 5, 3, 12, tzinfo=UTC)
    >>> question = Question("ada", 1, (), noon)
    >>> why_not_counted(question, [], "ada", noon.replace(hour=9))
    "'ada' asked for this training, so somebody else must answer"
    >>> why_not_counted(question, [], "ben", noon)
    'the time to answer was over at 2026-05-03 12:00 UTC'
    """
    standing = decide_standing(question, answers, now)
    if standing == "expired":
        return f"the time to answer was over at {question.expires_at:%Y-%m-%d %H:%M} UTC"
    if standing != "waiting":
        return f"it is {standing} already"
    if actor == question.requester:
        return f"{actor!r} asked for this training, so somebody else must answer"
    if question.approvers and actor not in question.approvers:
        return f"{actor!r} is none of the approvers: {', '.join(question.approvers)}"
    if any(given.actor == actor for given in answers):
        return f"{actor!r} has answered already; another person must"
    return None


def decide_standing(question: Question, answers: Sequence[Given], now: datetime) -> Standing:
    """Decide what answers that count come to: one who rejects is enough, and so are as many approvals as are needed.

    Examples
    --------
    >>> from datetime import UTC
    >>> question = Question("ada", 2, (), datetime(2026, 5, 3, 12, tzinfo=UTC))
    >>> morning = datetime(2026, 5, 3, 9, tzinfo=UTC)
    >>> decide_standing(question, [Given("ben", "approve")], morning)
    'waiting'
    >>> decide_standing(question, [Given("ben", "approve"), Given("cleo", "approve")], morning)
    'approved'
    """
    if any(given.answer == "reject" for given in answers):
        return "rejected"
    if sum(given.answer == "approve" for given in answers) >= question.needed:
        return "approved"
    return "expired" if now >= question.expires_at else "waiting"
