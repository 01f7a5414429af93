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
from registry.notices.happening import Happening
from registry.notices.mutes import list_mutes
from registry.notices.outbox import put_notices
from registry.notices.sinks import Sink
from registry.notices.telling import tell_alarm_end, tell_decision, tell_end
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
            if cursor is None or cursor.position != newest or _find_ended(session, cursor.watched):
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
    watched = {name: list(found) for name, found in cursor.watched.items()}
    happenings: list[Happening] = []
    for decision in decisions:
        alarm = _find_alarm(session, decision)
        happenings += tell_decision(decision, alarm)
        if decision.kind == "training" and decision.run_id is not None:
            _watch(watched, _RUNS, decision.run_id)
        if alarm is not None:
            _watch(watched, _ALARMS, alarm.id)
    position = decisions[-1].sequence if decisions else cursor.position
    if position == newest:
        # What ended is told after what led to it.
        for name, ended in _find_ended(session, watched).items():
            happenings += [end for _, end in ended if end is not None]
            over = {identifier for identifier, _ in ended}
            watched[name] = [identifier for identifier in watched[name] if identifier not in over]
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
    alarms = session.exec(select(AlarmRow.id).where(col(AlarmRow.closed_at).is_(None))).all()
    cursor.position, cursor.moved_at = newest, now
    cursor.watched = {_RUNS: list(runs), _ALARMS: list(alarms)}
    return cursor


def _watch(watched: dict[str, list[str]], name: str, identifier: str) -> None:
    if identifier not in watched.setdefault(name, []):
        watched[name].append(identifier)


def _find_ended(
    session: Session, watched: Mapping[str, Sequence[str]]
) -> dict[str, list[tuple[str, Happening | None]]]:
    """Find what is over of what is watched, in the order of the ends; what is gone is over without a word."""
    found: dict[str, list[tuple[str, Happening | None]]] = {}
    if names := watched.get(_RUNS):
        runs = {run.id: run for run in session.exec(select(Run).where(col(Run.id).in_(names)))}
        ended = [run for run in runs.values() if run.status != RUNNING]
        ended.sort(key=lambda run: run.finished_at or run.started_at)
        found[_RUNS] = [(run.id, tell_end(run)) for run in ended]
        found[_RUNS] += [(name, None) for name in names if name not in runs]
    if names := watched.get(_ALARMS):
        alarms = {alarm.id: alarm for alarm in session.exec(select(AlarmRow).where(col(AlarmRow.id).in_(names)))}
        found[_ALARMS] = [(each.id, tell_alarm_end(each)) for each in alarms.values() if each.closed_at is not None]
        found[_ALARMS] += [(name, None) for name in names if name not in alarms]
    return {name: ended for name, ended in found.items() if ended}


def _find_alarm(session: Session, decision: Decision) -> AlarmRow | None:
    if decision.kind != "alarm" or not decision.evidence.get("alarm"):
        return None
    return session.get(AlarmRow, str(decision.evidence["alarm"]))


def _newest_sequence(session: Session) -> int:
    return session.exec(select(func.max(Decision.sequence))).one() or 0
