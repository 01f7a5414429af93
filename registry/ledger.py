"""The ledger: every decision with its rule, its inputs and its evidence, appended, never changed, chained by digest."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.fingerprint import digest_bytes, write_plain
from base.times import utc_now
from registry.tables import Decision

GENESIS = "0" * 64
"""What stands for the digest before the first decision."""

_NEWEST = select(Decision.sequence, Decision.digest).order_by(col(Decision.sequence).desc()).limit(1)


@dataclass(frozen=True)
class Rule:
    """By which rule something was decided: its name, its version, and the parameters that it was given.

    *version* grows when the rule itself changes, so that a decision of years ago names the rule of its day.
    """

    name: str
    version: int = 1
    parameters: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        """The rule as a decision's evidence holds it."""
        return {"name": self.name, "version": self.version, "parameters": dict(self.parameters)}


def append_decision(
    session: Session,
    *,
    kind: str,
    pipeline: str,
    outcome: str,
    reason: str,
    actor: str,
    run_id: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    rule: Rule | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Decision:
    """Append one decision inside the caller's writing transaction.

    The decision and what it decided are thus one commit: neither exists without the other. Two appends at
    once would take the same sequence number; the primary key lets one of them win, and
    :meth:`base.database.Database.write` makes them take turns.

    Parameters
    ----------
    kind : str
        What was decided: ``trigger``, ``training``, ``data``, ``gate``, ``approval``, ``promotion``, ``rollback``.
    outcome, reason : str
        The decision in a word, and in a sentence.
    evidence : dict, optional
        Figures and digests behind it, as JSON.
    rule : Rule, optional
        By which rule it was decided; kept in the evidence under ``rule``.
    inputs : dict, optional
        What the rule was given: digests of what is stored, and the few values that are stored nowhere else, so
        that the rule can be asked again. Kept in the evidence under ``inputs``.
    """
    head = session.exec(_NEWEST).first()
    decision = link_decision(
        head,
        kind=kind,
        pipeline=pipeline,
        outcome=outcome,
        reason=reason,
        actor=actor,
        run_id=run_id,
        evidence=evidence,
        rule=rule,
        inputs=inputs,
    )
    session.add(decision)
    session.flush()
    return decision


def link_decision(
    head: tuple[int, str] | None,
    *,
    kind: str,
    pipeline: str,
    outcome: str,
    reason: str,
    actor: str,
    run_id: str | None = None,
    evidence: Mapping[str, Any] | None = None,
    rule: Rule | None = None,
    inputs: Mapping[str, Any] | None = None,
) -> Decision:
    """Make the decision that follows the ledger's *head*: number and digest of the newest entry, None before the first.

    The rest is as in :func:`append_decision`; the caller writes it in the same transaction that found the head.
    """
    document = dict(evidence or {})
    if rule is not None:
        document["rule"] = rule.as_json()
    if inputs is not None:
        document["inputs"] = dict(inputs)
    sequence, previous_digest = head or (0, GENESIS)
    decision = Decision(
        sequence=sequence + 1,
        kind=as_text(kind),
        pipeline=pipeline,
        run_id=run_id,
        outcome=as_text(outcome),
        reason=as_text(reason),
        actor=as_text(actor),
        evidence=as_document(document),
        decided_at=utc_now(),
        previous_digest=previous_digest,
        digest="",
    )
    decision.digest = digest_decision(decision)
    return decision


def digest_decision(decision: Decision) -> str:
    """Digest everything that a decision says, its predecessor's digest included."""
    stored = write_plain(
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
    return digest_bytes(stored)


def list_decisions(
    session: Session,
    *,
    pipeline: str | None = None,
    run_id: str | None = None,
    kind: str | None = None,
    limit: int | None = 100,
) -> list[Decision]:
    """List decisions, newest first; all of them without a *limit*."""
    query = select(Decision).order_by(col(Decision.sequence).desc())
    if limit is not None:
        query = query.limit(limit)
    if pipeline is not None:
        query = query.where(Decision.pipeline == pipeline)
    if run_id is not None:
        query = query.where(Decision.run_id == run_id)
    if kind is not None:
        query = query.where(Decision.kind == kind)
    return list(session.exec(query))


def first_broken_link(session: Session) -> int | None:
    """Return the sequence number of the first decision that is not what was written, or None.

    See :func:`registry.ledger_chain.check_chain`, which says what differs, too.
    """
    from registry.ledger_chain import check_chain  # which builds upon this module

    broken = check_chain(session).broken
    return None if broken is None else broken.sequence


def find_replayed(session: Session) -> set[str]:
    """Find the digests of the files from which gate decisions are decided again; retention keeps them."""
    query = select(Decision.evidence).where(Decision.kind == "gate")
    found: set[str] = set()
    for evidence in session.exec(query):
        inputs = evidence.get("inputs", {})
        found.update(inputs[name]["digest"] for name in ("gate", "losses") if name in inputs)
    return found
