"""The ledger: every decision with its evidence, appended, never changed, chained by digest."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.fingerprint import digest_document
from base.times import utc_now
from registry.tables import Decision

_GENESIS = "0" * 64


def append_decision(
    session: Session,
    *,
    kind: str,
    pipeline: str,
    outcome: str,
    reason: str,
    actor: str,
    run_id: str | None = None,
    evidence: dict[str, Any] | None = None,
) -> Decision:
    """Append one decision inside the caller's writing transaction.

    The decision and what it decided are thus one commit: neither exists without the other. Two appends at
    once would take the same sequence number; the primary key lets one of them win, and
    :meth:`base.database.Database.write` makes them take turns.

    Parameters
    ----------
    kind : str
        What was decided: ``gate``, ``promotion``, ``rollback``, ``trigger``, ``data``.
    outcome, reason : str
        The decision in a word, and in a sentence.
    evidence : dict, optional
        Figures and digests behind it, as JSON.
    """
    last = session.exec(select(Decision).order_by(col(Decision.sequence).desc()).limit(1)).first()
    decision = Decision(
        sequence=1 if last is None else last.sequence + 1,
        kind=as_text(kind),
        pipeline=pipeline,
        run_id=run_id,
        outcome=as_text(outcome),
        reason=as_text(reason),
        actor=as_text(actor),
        evidence=as_document(evidence or {}),
        decided_at=utc_now(),
        previous_digest=_GENESIS if last is None else last.digest,
        digest="",
    )
    decision.digest = digest_decision(decision)
    session.add(decision)
    session.flush()
    return decision


def digest_decision(decision: Decision) -> str:
    """Digest everything that a decision says, its predecessor's digest included."""
    return digest_document(
        {
            "sequence": decision.sequence,
            "kind": decision.kind,
            "pipeline": decision.pipeline,
            "run_id": decision.run_id,
            "outcome": decision.outcome,
            "reason": decision.reason,
            "actor": decision.actor,
            "evidence": decision.evidence,
            "decided_at": decision.decided_at.isoformat(),
            "previous_digest": decision.previous_digest,
        }
    )


def list_decisions(
    session: Session, *, pipeline: str | None = None, run_id: str | None = None, limit: int = 100
) -> list[Decision]:
    """List decisions, newest first."""
    query = select(Decision).order_by(col(Decision.sequence).desc()).limit(limit)
    if pipeline is not None:
        query = query.where(Decision.pipeline == pipeline)
    if run_id is not None:
        query = query.where(Decision.run_id == run_id)
    return list(session.exec(query))


def first_broken_link(session: Session) -> int | None:
    """Return the sequence number of the first decision that is not what was written, or None.

    A changed word, a removed entry and a changed order are each found, since every digest covers the one
    before; an entry cut off the end is found only by who keeps the last digest elsewhere.
    """
    previous, expected = _GENESIS, 1
    query = select(Decision).order_by(col(Decision.sequence)).execution_options(populate_existing=True)
    for decision in session.exec(query.execution_options(yield_per=1000)):
        chained = decision.sequence == expected and decision.previous_digest == previous
        if not chained or decision.digest != digest_decision(decision):
            return expected
        previous, expected = decision.digest, expected + 1
    return None
