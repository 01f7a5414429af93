"""Happenings, sinks and decisions that the tests of the notices start from."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr
from sqlmodel import Session

from base.receivers import Receiver
from registry.ledger import append_decision
from registry.notices.happening import Happening
from registry.notices.sinks import Sink
from registry.tables import Decision

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def a_happening(key: str = "decision/1", *, at: datetime = NOON, **changes: Any) -> Happening:
    """Something that happened to the pipeline churn."""
    found: dict[str, Any] = {
        "kind": "alarm.raised",
        "pipeline": "churn",
        "title": "churn: an alarm about drift in age",
        "text": "An alarm was raised.\nWhy: age moved by 0.4",
        "severity": "warning",
        **changes,
    }
    return Happening(key=key, at=at, **found)


def a_sink(url: str = "json://127.0.0.1:9", **wishes: Any) -> Sink:
    """The one address of a receiver that wants to hear of everything, unless its wishes say otherwise."""
    receiver = Receiver.model_validate({"url": url, "from": "info", **wishes})
    return Sink("to ops", receiver, SecretStr(url))


def promote(session: Session, number: int = 3, *, pipeline: str = "churn", reason: str = "better by 4 %") -> Decision:
    """What the ledger says of a promotion."""
    return append_decision(
        session,
        kind="promotion",
        pipeline=pipeline,
        outcome=f"{pipeline}@champion = {number}",
        reason=reason,
        actor="gate",
        evidence={"environment": "prod", "number": number, "previous": number - 1 or None},
    )


def a_decision(kind: str, outcome: str, *, evidence: Mapping[str, Any] | None = None, **changes: Any) -> Decision:
    """A decision as the ledger gives it back."""
    return Decision(
        **{
            "sequence": 7,
            "kind": kind,
            "pipeline": "churn",
            "run_id": "r-1",
            "outcome": outcome,
            "reason": "the reason",
            "actor": "ana",
            "evidence": dict(evidence or {}),
            "decided_at": NOON,
            "previous_digest": "0",
            "digest": "1",
            **changes,
        }
    )
