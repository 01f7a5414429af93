"""Which versions must not be deleted, and why: whoever serves them, or would after a rollback, needs their files."""

from __future__ import annotations

from sqlmodel import Session, col, select

from base.times import utc_now
from registry.aliases import CHAMPION, list_aliases, previous_champion
from registry.rollouts import find_rolled_out
from registry.tables import Approval
from registry.tags import KEEP, find_tags


def find_protected(session: Session, model: str | None = None) -> dict[tuple[str, int], str]:
    """Find the versions of one model, or of all, that must not be deleted, each with the first reason.

    An alias in any environment, the version to which a rollback goes, a promotion that waits for people, a running
    rollout, and the tag ``keep`` protect.

    Returns
    -------
    dict of (model, number) to the reason
    """
    reasons: dict[tuple[str, int], str] = {}
    aliases = list_aliases(session, model)
    for alias in aliases:
        reasons.setdefault((alias.model, alias.number), f"{alias.alias} in {alias.environment}")
    for alias in aliases:
        before = previous_champion(session, alias.environment, alias.model) if alias.alias == CHAMPION else None
        if before is not None:
            reasons.setdefault((alias.model, before), f"to which a rollback in {alias.environment} goes")
    waiting = select(Approval).where(Approval.status == "waiting", col(Approval.expires_at) > utc_now())
    for approval in session.exec(waiting if model is None else waiting.where(Approval.model == model)):
        reasons.setdefault((approval.model, approval.number), "its promotion waits for approval")
    for name, reason in find_rolled_out(session, model).items():
        reasons.setdefault(name, reason)
    for name, tags in find_tags(session, model).items():
        if KEEP in tags:
            reasons.setdefault(name, f"tagged {KEEP!r}")
    return reasons
