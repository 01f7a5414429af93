"""Claims about alarms in the registry: a window is judged once, an alarm is open once, a person has the last word."""

from __future__ import annotations

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import col, select

from base.errors import ArgumentError
from registry.alarm_mutes import list_mutes, mute_alarms, unmute_alarms
from registry.alarms import (
    RaisedAlarm,
    WindowJudged,
    list_alarms,
    read_memory,
    record_labels,
    record_window,
    reset_alarms,
)
from registry.ledger import first_broken_link, list_decisions
from registry.store import Registry
from registry.tables import AlarmRow, WindowRow

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
DAY = timedelta(days=1)
DRIFT = RaisedAlarm("drift", ["fare"], "high", "fare moved", {"values:fare": {"effect": 0.8}}, 1e-4)


def _window(number: int = 0, *, verdict: str = "changed world", is_quiet: bool = False) -> WindowRow:
    return WindowRow(
        model="churn",
        start=NOON + number * DAY,
        stop=NOON + (number + 1) * DAY,
        version=1,
        n_rows=10,
        n_labelled=0,
        outcome=verdict,
        reason="",
        verdict=verdict,
        measured={"values:fare": 0.8},
        is_quiet=is_quiet,
    )


def _record(registry: Registry, number: int = 0, *alarms: RaisedAlarm, **told: object) -> list[AlarmRow]:
    with registry.database.write() as session:
        revision = read_memory(session, "churn", now=NOON).revision
        return record_window(
            session,
            _window(number, is_quiet=bool(told.pop("is_quiet", False))),
            revision=revision,
            state={"traffic": {"version": 1, "shown": {}}, "strictness": 2.0},
            alarms=alarms,
            now=NOON + (number + 1) * DAY,
            **told,  # type: ignore[arg-type]
        )


def test_an_alarm_is_raised_with_its_evidence_its_owner_and_a_line_in_the_ledger(any_registry: Registry) -> None:
    (raised,) = _record(any_registry, 0, DRIFT, owner="anna")

    with any_registry.database.read() as session:
        (found,) = list_alarms(session, "churn", is_open=True)
        (decision,) = list_decisions(session, kind="alarm")
    assert found == raised
    assert (found.kind, found.columns, found.owner, found.verdict) == ("drift", ["fare"], "anna", "changed world")
    assert found.evidence == {"values:fare": {"effect": 0.8}}
    assert (decision.outcome, decision.actor) == ("drift raised", "monitoring")


def test_the_next_window_that_shows_it_raises_no_second_one(any_registry: Registry) -> None:
    _record(any_registry, 0, DRIFT)
    again = _record(any_registry, 1, RaisedAlarm("drift", ["age"], "high", "age moved", {}, 1e-4))

    with any_registry.database.read() as session:
        (found,) = list_alarms(session, "churn")
    assert again == []
    assert (found.n_windows, found.columns, found.window_stop) == (2, ["fare", "age"], NOON + 2 * DAY)


def test_what_is_over_makes_room_for_the_next_one(any_registry: Registry) -> None:
    _record(any_registry, 0, DRIFT)
    _record(any_registry, 1, closed={"drift": "2 windows did not show it any more"})
    (second,) = _record(any_registry, 2, DRIFT)

    with any_registry.database.read() as session:
        newest, oldest = list_alarms(session, "churn")
    assert (newest.id, newest.closed_at) == (second.id, None)
    assert (oldest.closed_at, oldest.closed_because) == (NOON + 2 * DAY, "2 windows did not show it any more")


def test_the_database_itself_refuses_a_second_open_alarm_of_a_kind(any_registry: Registry) -> None:
    (first,) = _record(any_registry, 0, DRIFT)

    with pytest.raises(IntegrityError), any_registry.database.write() as session:
        session.add(AlarmRow(**(first.model_dump() | {"id": "another"})))


def test_two_monitors_at_once_judge_a_window_once(any_registry: Registry) -> None:
    barrier, outcomes = threading.Barrier(4), []

    def monitor() -> None:
        with any_registry.database.read() as session:
            revision = read_memory(session, "churn", now=NOON).revision
        barrier.wait()
        try:
            with any_registry.database.write() as session:
                record_window(session, _window(), revision=revision, state={}, alarms=[DRIFT], now=NOON)
            outcomes.append("judged")
        except WindowJudged:
            outcomes.append("left to another")

    threads = [threading.Thread(target=monitor) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(outcomes) == ["judged"] + ["left to another"] * 3
    with any_registry.database.read() as session:
        assert len(list_alarms(session)) == len(list_decisions(session, kind="alarm")) == 1


def test_a_window_before_the_last_one_is_not_judged_any_more(any_registry: Registry) -> None:
    _record(any_registry, 5)

    with pytest.raises(WindowJudged, match="2026-05-06 12:00 UTC was judged by another monitor"):
        _record(any_registry, 2)


def _record_labels(registry: Registry, number: int, *alarms: RaisedAlarm) -> list[AlarmRow]:
    with registry.database.write() as session:
        revision = read_memory(session, "churn", now=NOON).revision
        row = session.exec(select(WindowRow).where(WindowRow.start == NOON + number * DAY)).one()
        return record_labels(session, row, revision=revision, state={}, alarms=alarms, now=NOON + 30 * DAY)


def test_labels_of_windows_are_recorded_in_their_order_whatever_traffic_came_meanwhile(any_registry: Registry) -> None:
    late = RaisedAlarm("performance", [], "high", "loss +50 %", {}, 1e-4)
    for number in range(3):
        _record(any_registry, number, DRIFT)

    (raised,) = _record_labels(any_registry, 0, late)
    again = _record_labels(any_registry, 1, late)

    assert (raised.kind, again) == ("performance", [])
    with pytest.raises(WindowJudged, match="2026-05-04 12:00 UTC was judged by another monitor"):
        _record_labels(any_registry, 0, late)
    with any_registry.database.read() as session:
        alarms = {alarm.kind: alarm.n_windows for alarm in list_alarms(session, "churn")}
        rows = session.exec(select(WindowRow).order_by(col(WindowRow.start))).all()
    assert alarms == {"drift": 3, "performance": 2}
    assert [row.labels_checked_at for row in rows] == [NOON + 30 * DAY, NOON + 30 * DAY, None]


def test_windows_after_the_one_that_is_judged_are_no_part_of_what_is_usual(any_registry: Registry) -> None:
    for number in range(4):
        _record(any_registry, number, is_quiet=True)

    with any_registry.database.read() as session:
        memory = read_memory(session, "churn", now=NOON, before=NOON + 2 * DAY)

    assert [row.start for row in memory.quiet] == [NOON, NOON + DAY]


def test_what_a_person_changes_while_a_monitor_judges_counts(any_registry: Registry) -> None:
    with any_registry.database.read() as session:
        before = read_memory(session, "churn", now=NOON)
    with any_registry.database.write() as session:
        mute_alarms(session, "churn", feature="fare", actor="anna", reason="known", now=NOON)

    with pytest.raises(WindowJudged), any_registry.database.write() as session:
        record_window(session, _window(), revision=before.revision, state={}, alarms=[DRIFT], now=NOON)


def test_a_mute_holds_until_its_moment_and_is_changed_by_the_same_again(any_registry: Registry) -> None:
    for days in (1, 3):
        with any_registry.database.write() as session:
            mute_alarms(session, "churn", feature="fare", until=NOON + days * DAY, actor="anna", reason="-", now=NOON)

    with any_registry.database.read() as session:
        assert [mute.until for mute in list_mutes(session, "churn", now=NOON + 2 * DAY)] == [NOON + 3 * DAY]
        assert list_mutes(session, "churn", now=NOON + 3 * DAY) == []


def test_what_is_unmuted_speaks_again_and_what_was_never_muted_is_named(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        mute_alarms(session, "churn", feature="fare", actor="anna", reason="-", now=NOON)
    with any_registry.database.write() as session:
        unmute_alarms(session, "churn", feature="fare", actor="anna", now=NOON)

    with any_registry.database.read() as session:
        assert list_mutes(session, now=NOON) == []
    with pytest.raises(ArgumentError, match="column 'age' of 'churn' is not muted; muted is nothing"):
        with any_registry.database.write() as session:
            unmute_alarms(session, "churn", feature="age", actor="anna", now=NOON)


def test_a_kind_that_does_not_exist_is_not_muted(any_registry: Registry) -> None:
    with pytest.raises(ArgumentError, match="no kind of alarm 'drifts', expected one of drift"):
        with any_registry.database.write() as session:
            mute_alarms(session, "churn", kind="drifts", actor="anna", reason="-", now=NOON)


def test_a_reset_takes_what_the_windows_show_as_usual(any_registry: Registry) -> None:
    _record(any_registry, 0)
    _record(any_registry, 1, DRIFT)
    _record(any_registry, 2, DRIFT)

    with any_registry.database.write() as session:
        closed = reset_alarms(session, "churn", actor="anna", reason="a new station", now=NOON + 3 * DAY)

    with any_registry.database.read() as session:
        memory = read_memory(session, "churn", now=NOON + 3 * DAY)
        assert list_alarms(session, is_open=True) == []
        assert first_broken_link(session) is None
    assert [alarm.closed_because for alarm in closed] == ["reset by anna: a new station"]
    assert [row.start for row in memory.quiet] == [NOON + DAY, NOON + 2 * DAY]
    assert memory.state == {"traffic": {"version": 1}}
