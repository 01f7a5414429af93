"""Mutes of alarms: columns and kinds of which a model's owner wants to hear nothing, each told to the ledger."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, select

from base.documents import as_text
from base.errors import ArgumentError
from registry.ledger import append_decision
from registry.tables import AlarmMemoryRow, AlarmMute

ALARM_KINDS = ("drift", "prediction drift", "label drift", "performance", "missing labels", "broken data")
DECISION = "alarm"
"""The kind of the ledger's decisions about alarms."""


def list_mutes(session: Session, model: str | None = None, *, now: datetime) -> list[AlarmMute]:
    """List the mutes that hold at a moment, oldest first."""
    query = select(AlarmMute).where(col(AlarmMute.lifted_at).is_(None)).order_by(col(AlarmMute.muted_at))
    if model is not None:
        query = query.where(AlarmMute.model == model)
    return [mute for mute in session.exec(query) if mute.until is None or now < mute.until]


def mute_alarms(
    session: Session,
    model: str,
    *,
    feature: str | None = None,
    kind: str | None = None,
    until: datetime | None = None,
    actor: str,
    reason: str,
    now: datetime,
) -> AlarmMute:
    """Let a column, or a kind of alarm, raise none; what is measured stays the same.

    Raises
    ------
    ArgumentError
        If neither is named, or the kind is unknown. The same again changes the moment until which it holds.
    """
    if feature is None and kind is None:
        raise ArgumentError("nothing is named to mute; name a column, or a kind of alarm")
    if kind is not None and kind not in ALARM_KINDS:
        raise ArgumentError(f"there is no kind of alarm {kind!r}, expected one of {', '.join(ALARM_KINDS)}")
    key = _mute_key(model, feature, kind)
    for old in session.exec(select(AlarmMute).where(AlarmMute.active_for == key)):
        old.lifted_at, old.lifted_by, old.active_for = now, as_text(actor), None
        session.add(old)
    session.flush()
    mute = AlarmMute(
        id=secrets.token_hex(8),
        model=model,
        feature=feature,
        kind=kind,
        reason=as_text(reason),
        muted_by=as_text(actor),
        muted_at=now,
        until=until,
        active_for=key,
    )
    session.add(mute)
    told = "for good" if until is None else f"until {until:%Y-%m-%d %H:%M} UTC"
    change_memory(session, model, now=now)
    tell_ledger(session, model, "muted", f"{_name(feature, kind)} {told}: {reason}", actor, {"until": until})
    return mute


def unmute_alarms(
    session: Session, model: str, *, feature: str | None = None, kind: str | None = None, actor: str, now: datetime
) -> AlarmMute:
    """Let what was muted raise alarms again.

    Raises
    ------
    ArgumentError
        If it is not muted.
    """
    mute = session.exec(select(AlarmMute).where(AlarmMute.active_for == _mute_key(model, feature, kind))).first()
    if mute is None:
        muted = ", ".join(_name(each.feature, each.kind) for each in list_mutes(session, model, now=now)) or "nothing"
        raise ArgumentError(f"{_name(feature, kind)} of {model!r} is not muted; muted is {muted}")
    mute.lifted_at, mute.lifted_by, mute.active_for = now, as_text(actor), None
    session.add(mute)
    change_memory(session, model, now=now)
    tell_ledger(session, model, "unmuted", _name(feature, kind), actor, {})
    return mute


def change_memory(session: Session, model: str, *, now: datetime, forgets: bool = False) -> None:
    """Let a monitor that is judging by what was before look again."""
    memory = session.get(AlarmMemoryRow, model) or AlarmMemoryRow(model=model)
    memory.revision += 1
    memory.changed_at = now
    if forgets:
        memory.state = {
            look: {"version": told["version"]}
            for look, told in memory.state.items()
            if isinstance(told, dict) and "version" in told
        }
    session.add(memory)
    session.flush()


def tell_ledger(
    session: Session, model: str, outcome: str, reason: str, actor: str, evidence: Mapping[str, Any]
) -> None:
    """Append what a person has said about alarms."""
    append_decision(
        session, kind=DECISION, pipeline=model, outcome=outcome, reason=reason, actor=actor, evidence=evidence
    )


def _mute_key(model: str, feature: str | None, kind: str | None) -> str:
    return f"{model}/{kind or ''}/{feature or ''}"


def _name(feature: str | None, kind: str | None) -> str:
    parts = [] if feature is None else [f"column {feature!r}"]
    parts += [] if kind is None else [f"alarms of {kind!r}"]
    return " in ".join(reversed(parts))
