"""The outbox of happenings: put in once, taken out at least once, each sink in the order of its rows."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import delete, update
from sqlmodel import Session, col, select

from base.documents import as_document, as_text
from base.times import as_utc
from registry.notices.happening import Happening
from registry.notices.mutes import is_muted
from registry.notices.pacing import HOUR
from registry.notices.repetition import Told, is_repetition
from registry.notices.sinks import Sink
from registry.tables import NoticeMute, NoticeRow

WAITING, SENT, GIVEN_UP = "waiting", "sent", "given up"
MUTED, REPEATED, UNWANTED = "muted", "repeated", "unwanted"
STATES = (WAITING, SENT, GIVEN_UP, MUTED, REPEATED, UNWANTED)

# A try whose process died is anybody's again after so long.
CLAIM = timedelta(seconds=120)
# No wait is longer; what is to wait longer was put off before the clock was set back.
_LONGEST_WAIT = timedelta(hours=8)
_LONGEST_PROBLEM = 300
# Longer than any quiet period, by which what was told is asked for.
KEPT_FOR = timedelta(days=90)


def put_notices(
    session: Session,
    sink: Sink,
    happenings: Sequence[Happening],
    *,
    owners: Mapping[str, str],
    mutes: Sequence[NoticeMute],
    now: datetime,
) -> int:
    """Put happenings into a sink's outbox, each once, and return how many are to be sent.

    What is muted for a receiver, and what says the same again too soon, is kept as well, with that word; so is what
    the receiver does not want to hear of where it changes a topic, since the next thing told of it is no repetition
    then. Prefect gets everything.
    """
    known = _known_keys(session, sink.name, [happening.key for happening in happenings])
    n_waiting = 0
    for happening in happenings:
        if happening.key in known:
            continue
        known.add(happening.key)
        owner = owners.get(happening.pipeline, "")
        state = _choose_state(session, sink, happening, owner, mutes)
        if state is None:
            continue
        n_waiting += state == WAITING
        session.add(
            NoticeRow(
                sink=sink.name,
                key=happening.key,
                pipeline=happening.pipeline,
                kind=happening.kind,
                severity=happening.severity,
                topic=_topic(happening),
                sign=happening.sign,
                happening=as_document(happening.model_dump(mode="json")),
                owner=as_text(owner),
                state=state,
                happened_at=happening.at,
                created_at=now,
                next_try_at=now,
                finished_at=None if state == WAITING else now,
            )
        )
        session.flush()
    return n_waiting


def list_due(session: Session, sink: str, now: datetime, *, limit: int) -> list[NoticeRow]:
    """List what is to be sent to a sink, oldest first; nothing while it rests, or while another process sends to it."""
    waiting = select(NoticeRow).where(NoticeRow.sink == sink, NoticeRow.state == WAITING)
    resting = waiting.where(
        NoticeRow.tries > 0,
        col(NoticeRow.next_try_at) > now,
        col(NoticeRow.next_try_at) <= now + _LONGEST_WAIT,
    )
    if session.exec(resting.limit(1)).first() is not None:
        return []
    return list(session.exec(waiting.order_by(col(NoticeRow.id)).limit(limit)))


def list_sent_at(session: Session, sink: str, now: datetime) -> list[datetime]:
    """List when messages went to a sink within the last hour; a digest is one of them."""
    query = select(NoticeRow.message, NoticeRow.finished_at).where(
        NoticeRow.sink == sink, NoticeRow.state == SENT, col(NoticeRow.finished_at) > now - HOUR
    )
    return [as_utc(moment) for _, moment in set(session.exec(query)) if moment is not None]


def claim_notices(session: Session, rows: Sequence[NoticeRow], now: datetime, *, together: bool) -> None:
    """Take rows for one try, before it begins; *together* they are one message, else each is one."""
    message = secrets.token_hex(8)
    for row in rows:
        row.tries += 1
        row.next_try_at = now + CLAIM
        row.message = message if together else secrets.token_hex(8)
        session.add(row)
    session.flush()


def mark_sent(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Record that rows have reached their sink."""
    _settle(session, ids, state=SENT, problem="", finished_at=now)


def put_off(session: Session, ids: Sequence[int], problem: str, now: datetime, *, seconds: float) -> None:
    """Record that rows did not reach their sink, which rests for so long."""
    _settle(session, ids, problem=as_text(problem)[:_LONGEST_PROBLEM], next_try_at=now + timedelta(seconds=seconds))


def give_up(session: Session, ids: Sequence[int], problem: str, now: datetime) -> None:
    """Record that rows are not sent any more."""
    _settle(session, ids, state=GIVEN_UP, problem=as_text(problem)[:_LONGEST_PROBLEM], finished_at=now)


def release_notices(session: Session, ids: Sequence[int], now: datetime) -> None:
    """Give back rows that were taken and never tried, as if they had not been taken."""
    mine = update(NoticeRow).where(col(NoticeRow.id).in_(ids), col(NoticeRow.state) == WAITING)
    session.connection().execute(mine.values(tries=NoticeRow.tries - 1, next_try_at=now))


def try_again(session: Session, sinks: Sequence[str], now: datetime) -> int:
    """Make what waits or was given up due now, with its tries counted anew, and return how many rows that are."""
    query = select(NoticeRow).where(col(NoticeRow.sink).in_(sinks), col(NoticeRow.state).in_((WAITING, GIVEN_UP)))
    found = list(session.exec(query))
    for row in found:
        row.state, row.tries, row.problem = WAITING, 0, ""
        row.next_try_at, row.finished_at = now, None
        session.add(row)
    session.flush()
    return len(found)


def list_notices(
    session: Session, *, pipeline: str | None = None, state: str | None = None, limit: int = 100
) -> list[NoticeRow]:
    """List what was put into the outbox, newest first."""
    query = select(NoticeRow).order_by(col(NoticeRow.id).desc()).limit(limit)
    if pipeline is not None:
        query = query.where(NoticeRow.pipeline == pipeline)
    if state is not None:
        query = query.where(NoticeRow.state == state)
    return list(session.exec(query))


def delete_old(session: Session, now: datetime) -> int:
    """Forget what was put in long ago and waits no more, and return how many rows that were."""
    old = delete(NoticeRow).where(col(NoticeRow.state) != WAITING, col(NoticeRow.created_at) < now - KEPT_FOR)
    return int(session.connection().execute(old).rowcount)


def read_happening(row: NoticeRow) -> Happening:
    """Return the happening that a row holds."""
    return Happening.model_validate(row.happening)


def _settle(session: Session, ids: Sequence[int], **values: object) -> None:
    waiting = update(NoticeRow).where(col(NoticeRow.id).in_(ids), col(NoticeRow.state) == WAITING)
    session.connection().execute(waiting.values(**values))


def _known_keys(session: Session, sink: str, keys: Sequence[str]) -> set[str]:
    query = select(NoticeRow.key).where(NoticeRow.sink == sink, col(NoticeRow.key).in_(keys))
    return set(session.exec(query))


def _choose_state(
    session: Session, sink: Sink, happening: Happening, owner: str, mutes: Sequence[NoticeMute]
) -> str | None:
    if sink.receiver is None:
        return WAITING
    is_wanted = sink.wants(happening, owner=owner)
    if is_wanted and is_muted(happening, mutes):
        return MUTED
    before = _find_told(session, sink, happening) if happening.topic else None
    if not is_wanted:
        return UNWANTED if before is not None and before.sign != happening.sign else None
    is_same = is_repetition(happening.sign, happening.at, before, quiet=sink.receiver.quiet_period)
    return REPEATED if is_same else WAITING


def _find_told(session: Session, sink: Sink, happening: Happening) -> Told | None:
    told = (
        select(NoticeRow.sign, NoticeRow.happened_at)
        .where(
            NoticeRow.sink == sink.name,
            NoticeRow.topic == _topic(happening),
            col(NoticeRow.state).in_((WAITING, SENT, UNWANTED)),
        )
        .order_by(col(NoticeRow.id).desc())
        .limit(1)
    )
    last = session.exec(told).first()
    return None if last is None else Told(last[0], as_utc(last[1]))


def _topic(happening: Happening) -> str:
    return f"{happening.pipeline}/{happening.topic}" if happening.topic else ""
