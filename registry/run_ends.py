"""How a run came out whose process died before it could say so: by what it had decided, not by how it died."""

from __future__ import annotations

from sqlmodel import Session, col, select

from registry.ledger import list_decisions
from registry.tables import AliasMove, Approval, Run

_WAITING, _APPROVED = "waiting", "approved"


def find_end(session: Session, run: Run) -> tuple[str, str] | None:
    """Return a run's status and reason where its gate has decided: ``promoted``, ``kept`` or ``waiting``.

    The gate's decision, the version and the move of the alias are one transaction, so a run with a decision lacks
    nothing but its own last word.

    Returns
    -------
    tuple of (status, reason), or None
        None where nothing was decided.
    """
    gate = next(iter(list_decisions(session, run_id=run.id, kind="gate", limit=1)), None)
    if gate is None:
        return None
    approval = session.get(Approval, run.id)
    if approval is not None:
        status = _WAITING if approval.status == _WAITING else "promoted" if approval.status == _APPROVED else "kept"
        return status, gate.reason
    moved = session.exec(select(AliasMove.id).where(col(AliasMove.run_id) == run.id).limit(1)).first()
    return ("kept" if moved is None else "promoted"), gate.reason
