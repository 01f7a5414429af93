"""Who wants to hear nothing of a pipeline for a while; written into the ledger, since silence is a decision too."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from datetime import datetime

from sqlmodel import Session, col, select

from base.documents import as_text
from base.errors import ArgumentError, nearest
from base.receivers import KINDS
from registry.ledger import append_decision
from registry.notices.happening import Happening
from registry.tables import NoticeMute

_DECISION = "notices"


def list_mutes(session: Session, *, now: datetime) -> list[NoticeMute]:
    """List the mutes that hold at a moment, oldest first."""
    query = select(NoticeMute).where(col(NoticeMute.lifted_at).is_(None)).order_by(col(NoticeMute.muted_at))
    return [mute for mute in session.exec(query) if mute.until is None or now < mute.until]


def is_muted(happening: Happening, mutes: Sequence[NoticeMute]) -> bool:
    """Tell whether nobody is to be told of a happening."""
    return any(mute.pipeline == happening.pipeline and mute.kind in (None, happening.kind) for mute in mutes)


def mute_notices(
    session: Session,
    pipeline: str,
    *,
    kind: str | None = None,
    until: datetime | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> NoticeMute:
    """Tell nobody of a pipeline, or of one kind of happening of it; the same again changes how long.

    Raises
    ------
    ArgumentError
        If there is no such kind.
    """
    if kind is not None and kind not in KINDS:
        raise ArgumentError(f"there is no happening {kind!r}, expected one of {', '.join(KINDS)}{nearest(kind, KINDS)}")
    _lift(session, pipeline, kind, actor=actor, now=now)
    mute = NoticeMute(
        id=secrets.token_hex(8),
        pipeline=pipeline,
        kind=kind,
        reason=as_text(reason),
        muted_by=as_text(actor),
        muted_at=now,
        until=until,
        active_for=_key(pipeline, kind),
    )
    session.add(mute)
    told = "for good" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    append_decision(
        session,
        kind=_DECISION,
        pipeline=pipeline,
        outcome="muted",
        reason=f"{kind or 'everything'} {told}: {reason}",
        actor=actor,
        evidence={"kind": kind, "until": until},
    )
    return mute


def unmute_notices(session: Session, pipeline: str, *, kind: str | None = None, actor: str, now: datetime) -> None:
    """Tell people again; what was muted meanwhile is not sent afterwards.

    Raises
    ------
    ArgumentError
        If it is not muted.
    """
    if not _lift(session, pipeline, kind, actor=actor, now=now):
        muted = [mute for mute in list_mutes(session, now=now) if mute.pipeline == pipeline]
        told = ", ".join(mute.kind or "everything" for mute in muted) or "nothing"
        raise ArgumentError(f"{kind or 'everything'} of {pipeline!r} is not muted; muted is {told}")
    append_decision(
        session, kind=_DECISION, pipeline=pipeline, outcome="unmuted", reason=kind or "everything", actor=actor
    )


def _lift(session: Session, pipeline: str, kind: str | None, *, actor: str, now: datetime) -> bool:
    mute = session.exec(select(NoticeMute).where(NoticeMute.active_for == _key(pipeline, kind))).first()
    if mute is None:
        return False
    was_active = mute.until is None or now < mute.until
    mute.lifted_at, mute.lifted_by, mute.active_for = now, as_text(actor), None
    session.add(mute)
    session.flush()
    return was_active


def _key(pipeline: str, kind: str | None) -> str:
    return f"{pipeline}/{kind or ''}"
