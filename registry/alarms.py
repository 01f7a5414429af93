"""Alarms in the registry: what they remember, when they were raised and closed, and who muted or reset them."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, cast

from sqlalchemy import update
from sqlalchemy.orm import defer
from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.errors import EverfitError
from registry.alarm_mutes import DECISION, change_memory, list_mutes, tell_ledger
from registry.ledger import Rule, append_decision
from registry.tables import AlarmMemoryRow, AlarmMute, AlarmRow, WindowRow

# As many quiet windows as the alarms look back at.
_MOST_WINDOWS = 200


class WindowJudged(EverfitError):
    """Another monitor has judged this window, or one after it, meanwhile."""

    def __init__(self, model: str, start: datetime) -> None:
        super().__init__(
            f"the window of {model!r} from {start:%Y-%m-%d %H:%M} UTC was judged by another monitor meanwhile; "
            "nothing was changed: there is nothing left to do"
        )


@dataclass(frozen=True)
class Memory:
    """What is known of a model's alarms before a window is judged, as plain documents.

    ``revision`` is given back with what was judged: nobody judges by what somebody else has changed meanwhile.
    """

    revision: int = 0
    state: Mapping[str, Any] = field(default_factory=dict)
    quiet: tuple[WindowRow, ...] = ()
    mutes: tuple[AlarmMute, ...] = ()


@dataclass(frozen=True)
class RaisedAlarm:
    """An alarm of the window that is recorded; raised anew unless one of its kind is open."""

    kind: str
    columns: Sequence[str]
    severity: str
    reason: str
    evidence: Mapping[str, Any]
    p_adjusted: float


def read_memory(session: Session, model: str, *, now: datetime, before: datetime | None = None) -> Memory:
    """Read what a monitor needs to know before it judges a window of a model.

    Parameters
    ----------
    before : datetime, optional
        When the window begins: the quiet windows are those before it; default: the newest.
    """
    row = session.get(AlarmMemoryRow, model)
    is_usual = [col(WindowRow.model) == model, col(WindowRow.is_quiet).is_(True)]
    if before is not None:
        is_usual.append(col(WindowRow.start) < before)
    quiet = session.exec(
        select(WindowRow)
        .where(*is_usual)
        .order_by(col(WindowRow.start).desc())
        .limit(_MOST_WINDOWS)
        # A report is long, and nobody asks for two hundred of them.
        .options(defer(cast(Any, WindowRow.drift)), defer(cast(Any, WindowRow.findings)))
    ).all()
    mutes = tuple(list_mutes(session, model, now=now))
    if row is None:
        return Memory(quiet=tuple(reversed(quiet)), mutes=mutes)
    return Memory(row.revision, row.state, tuple(reversed(quiet)), mutes)


def record_window(
    session: Session,
    window: WindowRow,
    *,
    revision: int,
    state: Mapping[str, Any],
    alarms: Sequence[RaisedAlarm],
    closed: Mapping[str, str] | None = None,
    owner: str = "",
    now: datetime,
) -> list[AlarmRow]:
    """Record a window whose traffic was judged, its alarms, and what they remember, inside the caller's transaction.

    Parameters
    ----------
    window : WindowRow
        With ``labels_checked_at`` where its labels were judged as well.
    revision : int
        Of the memory by which the window was judged.
    closed : mapping of str to str, optional
        Kinds of alarm that are over with this window, each with the reason.

    Returns
    -------
    list of AlarmRow
        Those that were raised with this window, without those that were open already.

    Raises
    ------
    WindowJudged
        If another monitor was faster, or a person has reset or muted an alarm meanwhile; nothing is changed then.
    """
    memory = _take_memory(session, window, revision)
    is_late = _is_before(window, memory.judged_until)
    if window.labels_checked_at is not None:
        is_late = is_late or _is_before(window, memory.labels_judged_until)
        memory.labels_judged_until = window.stop
    if is_late:
        raise WindowJudged(window.model, window.start)
    memory.judged_until = window.stop
    return _remember(session, memory, window, state=state, alarms=alarms, closed=closed, owner=owner, now=now)


def record_labels(
    session: Session,
    window: WindowRow,
    *,
    revision: int,
    state: Mapping[str, Any],
    alarms: Sequence[RaisedAlarm],
    closed: Mapping[str, str] | None = None,
    owner: str = "",
    now: datetime,
) -> list[AlarmRow]:
    """Record what the labels of a window say whose traffic was recorded before, as :func:`record_window` does.

    Parameters
    ----------
    window : WindowRow
        The row of that time, read in this transaction, with what is said of it now; *alarms* are those of its labels.

    Raises
    ------
    WindowJudged
        As :func:`record_window`.
    """
    memory = _take_memory(session, window, revision)
    if _is_before(window, memory.labels_judged_until):
        raise WindowJudged(window.model, window.start)
    memory.labels_judged_until = window.stop
    window.labels_checked_at = now
    return _remember(session, memory, window, state=state, alarms=alarms, closed=closed, owner=owner, now=now)


def _take_memory(session: Session, window: WindowRow, revision: int) -> AlarmMemoryRow:
    """Take the memory by which a window was judged, if nobody has changed it meanwhile."""
    memory = session.get(AlarmMemoryRow, window.model) or AlarmMemoryRow(model=window.model)
    if memory.revision != revision:
        raise WindowJudged(window.model, window.start)
    return memory


def _is_before(window: WindowRow, moment: datetime | None) -> bool:
    return moment is not None and window.start < moment


def _remember(
    session: Session,
    memory: AlarmMemoryRow,
    window: WindowRow,
    *,
    state: Mapping[str, Any],
    alarms: Sequence[RaisedAlarm],
    closed: Mapping[str, str] | None,
    owner: str,
    now: datetime,
) -> list[AlarmRow]:
    memory.revision += 1
    memory.state, memory.changed_at = as_document(state), now
    session.add(memory)
    session.add(window)
    for kind, because in (closed or {}).items():
        _close(session, window.model, [kind], because=because, now=now)
    return [row for alarm in alarms if (row := _raise(session, window, alarm, owner=owner, now=now)) is not None]


def list_alarms(
    session: Session, model: str | None = None, *, is_open: bool = False, limit: int = 100
) -> list[AlarmRow]:
    """List alarms, newest first; with *is_open* only those that are not over."""
    query = select(AlarmRow).order_by(col(AlarmRow.raised_at).desc(), col(AlarmRow.id)).limit(limit)
    if model is not None:
        query = query.where(AlarmRow.model == model)
    if is_open:
        query = query.where(col(AlarmRow.closed_at).is_(None))
    return list(session.exec(query))


def reset_alarms(session: Session, model: str, *, actor: str, reason: str, now: datetime) -> list[AlarmRow]:
    """Take what the windows show now as usual: open alarms are closed, and their windows count as quiet ones.

    Returns
    -------
    list of AlarmRow
        Those that were closed.
    """
    still_open = list_alarms(session, model, is_open=True, limit=1000)
    if still_open:
        first = min(alarm.window_start for alarm in still_open)
        session.connection().execute(
            update(WindowRow).where(col(WindowRow.model) == model, col(WindowRow.start) >= first).values(is_quiet=True)
        )
    _close(session, model, [alarm.kind for alarm in still_open], because=f"reset by {actor}: {reason}", now=now)
    change_memory(session, model, now=now, forgets=True)
    tell_ledger(session, model, "reset", reason, actor, {"closed": [alarm.id for alarm in still_open]})
    return still_open


def _raise(session: Session, window: WindowRow, alarm: RaisedAlarm, *, owner: str, now: datetime) -> AlarmRow | None:
    key = f"{window.model}/{alarm.kind}"
    row = session.exec(select(AlarmRow).where(AlarmRow.open_for == key)).first()
    if row is not None:
        row.n_windows += 1
        row.window_stop, row.seen_at = window.stop, now
        row.columns = list(dict.fromkeys([*row.columns, *alarm.columns]))
        session.add(row)
        return None
    row = AlarmRow(
        id=secrets.token_hex(8),
        model=window.model,
        kind=alarm.kind,
        version=window.version,
        columns=list(alarm.columns),
        severity=alarm.severity,
        reason=as_text(alarm.reason),
        verdict=window.verdict,
        evidence=as_document(alarm.evidence),
        p_adjusted=alarm.p_adjusted,
        owner=owner,
        window_start=window.start,
        window_stop=window.stop,
        raised_at=now,
        seen_at=now,
        open_for=key,
    )
    session.add(row)
    evidence = {
        "alarm": row.id,
        "kind": row.kind,
        "columns": row.columns,
        "window": [window.start.isoformat(), window.stop.isoformat()],
        "verdict": window.verdict,
        "p_adjusted": row.p_adjusted,
        "owner": owner,
        "figures": row.evidence,
    }
    append_decision(
        session,
        kind=DECISION,
        pipeline=window.model,
        outcome=f"{row.kind} raised",
        reason=row.reason,
        actor="monitoring",
        evidence=evidence,
        rule=Rule("alarms", 1),
    )
    return row


def _close(session: Session, model: str, kinds: Sequence[str], *, because: str, now: datetime) -> None:
    keys = [f"{model}/{kind}" for kind in kinds]
    for row in session.exec(select(AlarmRow).where(col(AlarmRow.open_for).in_(keys))):
        row.closed_at, row.closed_because, row.open_for = now, as_text(because), None
        session.add(row)
    session.flush()
