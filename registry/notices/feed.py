"""The feed: what happened since a sink last read, put into its outbox in the transaction that moves its cursor.

The ledger is read by its sequence, which grows in the order of the commits. A run's end and an alarm's end stand in no
ledger, so the cursor keeps the names of those that are under way, and looks at them until they are over. Nothing here
depends on a clock.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlmodel import Session, col, func, select

from base.database import Database
from registry.notices.alarm_telling import tell_alarm_end, tell_alarm_growth
from registry.notices.happening import Happening
from registry.notices.mutes import list_mutes
from registry.notices.outbox import put_notices
from registry.notices.sinks import Sink
from registry.notices.telling import tell_decision, tell_end
from registry.runs import RUNNING
from registry.tables import AlarmRow, Decision, NoticeCursor, PipelineVersion, Run

_RUNS, _ALARMS = "runs", "alarms"
# So many decisions in one transaction keep nobody waiting for the database.
_MOST_DECISIONS = 200


def collect(database: Database, sinks: Sequence[Sink], *, now: datetime) -> int:
    """Read on for each sink, and return how many notices were put into the outbox.

    A sink that is new hears of what happens from now on. Processes that collect at once take turns, and the second
    one finds nothing left to do.
    """
    n_notices = 0
    while pending := _find_pending(database, sinks):
        for sink in pending:
            with database.write() as session:
                n_notices += _read_on(session, sink, now)
    return n_notices


def _find_pending(database: Database, sinks: Sequence[Sink]) -> list[Sink]:
    """Find the sinks that have something to read; most of the time none, which costs a few small queries."""
    with database.read() as session:
        newest = _newest_sequence(session)
        cursors = {cursor.sink: cursor for cursor in session.exec(select(NoticeCursor))}
        pending = []
        for sink in sinks:
            cursor = cursors.get(sink.name)
            if cursor is None or cursor.position != newest or _look(session, cursor.watched)[1] != cursor.watched:
                pending.append(sink)
        return pending


def _read_on(session: Session, sink: Sink, now: datetime) -> int:
    newest = _newest_sequence(session)
    cursor = session.get(NoticeCursor, sink.name)
    if cursor is None or cursor.position > newest:
        # A ledger that is shorter than what was read is another one: a registry restored from a backup.
        session.add(_begin(session, cursor or NoticeCursor(sink=sink.name), newest, now))
        return 0
    decisions = list(
        session.exec(
            select(Decision)
            .where(col(Decision.sequence) > cursor.position)
            .order_by(col(Decision.sequence))
            .limit(_MOST_DECISIONS)
        )
    )
    runs, alarms = list(cursor.watched.get(_RUNS, ())), dict(cursor.watched.get(_ALARMS, {}))
    happenings: list[Happening] = []
    for decision in decisions:
        alarm = _find_alarm(session, decision)
        happenings += tell_decision(decision, alarm)
        if decision.kind == "training" and decision.run_id is not None and decision.run_id not in runs:
            runs.append(decision.run_id)
        if alarm is not None:
            alarms[alarm.id] = list(decision.evidence.get("columns", ()))
    watched: dict[str, Any] = {_RUNS: runs, _ALARMS: alarms}
    position = decisions[-1].sequence if decisions else cursor.position
    if position == newest:
        # What ended is told after what led to it.
        changes, watched = _look(session, watched)
        happenings += changes
    n_put = _put(session, sink, happenings, now)
    cursor.position, cursor.watched, cursor.moved_at = position, watched, now
    session.add(cursor)
    return n_put


def find_owners(session: Session, pipelines: Iterable[str]) -> dict[str, str]:
    """Find who owns each pipeline, as its newest definition says."""
    owners = {}
    for pipeline in pipelines:
        package = session.exec(
            select(PipelineVersion.package)
            .where(PipelineVersion.pipeline == pipeline)
            .order_by(col(PipelineVersion.created_at).desc())
            .limit(1)
        ).first()
        spec: Mapping[str, Any] = (package or {}).get("spec", {})
        owners[pipeline] = str(spec.get("owner") or "")
    return owners


def _put(session: Session, sink: Sink, happenings: Sequence[Happening], now: datetime) -> int:
    if not happenings:
        return 0
    owners = find_owners(session, {happening.pipeline for happening in happenings})
    return put_notices(session, sink, happenings, owners=owners, mutes=list_mutes(session, now=now), now=now)


def _begin(session: Session, cursor: NoticeCursor, newest: int, now: datetime) -> NoticeCursor:
    runs = session.exec(select(Run.id).where(Run.status == RUNNING)).all()
    alarms = session.exec(select(AlarmRow).where(col(AlarmRow.closed_at).is_(None))).all()
    cursor.position, cursor.moved_at = newest, now
    cursor.watched = {_RUNS: list(runs), _ALARMS: {alarm.id: list(alarm.columns) for alarm in alarms}}
    return cursor


def _look(session: Session, watched: Mapping[str, Any]) -> tuple[list[Happening], dict[str, Any]]:
    """Look at the runs and alarms that are watched; return what is new of them, and what is still to be watched.

    An alarm is watched with the columns that were told of; a run or an alarm that is gone is over without a word.
    """
    names, known = watched.get(_RUNS, ()), watched.get(_ALARMS, {})
    runs = list(session.exec(select(Run).where(col(Run.id).in_(names)))) if names else []
    ended = sorted((run for run in runs if run.status != RUNNING), key=lambda run: run.finished_at or run.started_at)
    happenings = [tell_end(run) for run in ended]
    alarms = list(session.exec(select(AlarmRow).where(col(AlarmRow.id).in_(known)))) if known else []
    for alarm in alarms:
        if alarm.closed_at is not None:
            happenings.append(tell_alarm_end(alarm))
        elif added := [column for column in alarm.columns if column not in known[alarm.id]]:
            happenings.append(tell_alarm_growth(alarm, added))
    under_way = {run.id for run in runs} - {run.id for run in ended}
    return happenings, {
        _RUNS: [name for name in names if name in under_way],
        _ALARMS: {alarm.id: list(alarm.columns) for alarm in alarms if alarm.closed_at is None},
    }


def _find_alarm(session: Session, decision: Decision) -> AlarmRow | None:
    if decision.kind != "alarm" or not decision.evidence.get("alarm"):
        return None
    return session.get(AlarmRow, str(decision.evidence["alarm"]))


def _newest_sequence(session: Session) -> int:
    return session.exec(select(func.max(Decision.sequence))).one() or 0
