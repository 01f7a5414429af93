"""Claims about the feed: each sink reads all that happens, once, in order, from its first look on."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlmodel import select

from base.errors import ArgumentError
from base.settings import Settings
from registry.ledger import append_decision, list_decisions
from registry.notices import feed
from registry.notices.feed import collect
from registry.notices.mutes import mute_notices, unmute_notices
from registry.notices.outbox import (
    CLAIM,
    GIVEN_UP,
    KEPT_FOR,
    SENT,
    WAITING,
    claim_notices,
    delete_old,
    give_up,
    list_due,
    list_notices,
    mark_sent,
    put_notices,
    put_off,
    try_again,
)
from registry.notices.sinks import PREFECT, Sink
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry, open_registry
from registry.tables import AlarmRow, NoticeRow, PipelineVersion
from tests.processes import run_at_once
from tests.registry.notices.happenings import NOON, a_happening, a_sink, promote
from tests.registry.samples import LEASE, a_pipeline

_PREFECT = Sink(PREFECT)


def _told(registry: Registry, sink: str = PREFECT) -> list[str]:
    with registry.database.read() as session:
        rows = session.exec(select(NoticeRow).where(NoticeRow.sink == sink).order_by(NoticeRow.id))  # type: ignore[arg-type]
        return [f"{row.kind} {row.state}" if row.state != WAITING else row.kind for row in rows]


def test_a_sink_hears_of_everything_after_its_first_look_once_and_in_order(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        promote(session, 1)
    collect(any_registry.database, [_PREFECT], now=NOON)
    with any_registry.database.write() as session:
        promote(session, 2)
        append_decision(
            session, kind="rollback", pipeline="churn", outcome="churn@champion = 1", reason="", actor="ana"
        )

    n_first = collect(any_registry.database, [_PREFECT], now=NOON)
    n_again = collect(any_registry.database, [_PREFECT], now=NOON)

    assert (n_first, n_again) == (2, 0)
    assert _told(any_registry) == ["model.promoted", "model.rolled_back"]


def test_sinks_read_at_their_own_pace(registry: Registry) -> None:
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        promote(session, 1)
    late = a_sink()
    collect(registry.database, [late], now=NOON)
    with registry.database.write() as session:
        promote(session, 2)

    collect(registry.database, [_PREFECT, late], now=NOON)

    assert _told(registry) == ["model.promoted"] * 2
    assert _told(registry, late.name) == ["model.promoted"]


def test_a_run_is_told_when_it_began_and_when_it_ended_whatever_the_clock_says(any_registry: Registry) -> None:
    version = a_pipeline(any_registry)
    collect(any_registry.database, [_PREFECT], now=NOON)
    run = _begin(any_registry, version)
    collect(any_registry.database, [_PREFECT], now=NOON)
    collect(any_registry.database, [_PREFECT], now=NOON - timedelta(days=400))
    assert _told(any_registry) == ["training.started"]
    with any_registry.database.write() as session:
        finish_run(session, run, status="failed", reason="no such column")

    collect(any_registry.database, [_PREFECT], now=NOON)
    collect(any_registry.database, [_PREFECT], now=NOON)

    assert _told(any_registry) == ["training.started", "training.finished"]


def test_a_run_that_was_under_way_at_the_first_look_is_told_when_it_ends(registry: Registry) -> None:
    run = _begin(registry, a_pipeline(registry))
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        finish_run(session, run, status="kept", reason="worse")

    collect(registry.database, [_PREFECT], now=NOON)

    assert _told(registry) == ["training.finished"]


def test_an_alarm_is_told_when_it_spreads_and_when_it_is_over(registry: Registry) -> None:
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        session.add(_alarm())
        append_decision(
            session,
            kind="alarm",
            pipeline="churn",
            outcome="performance raised",
            reason="loss 0.4, expected 0.3",
            actor="monitoring",
            evidence={"alarm": "a-1", "kind": "performance"},
        )
    for _ in range(2):
        collect(registry.database, [_PREFECT], now=NOON)
    assert _told(registry) == ["alarm.raised"]
    with registry.database.write() as session:
        session.get_one(AlarmRow, "a-1").columns = ["age"]
    for _ in range(2):
        collect(registry.database, [_PREFECT], now=NOON)
    assert _told(registry) == ["alarm.raised"] * 2
    with registry.database.write() as session:
        session.get_one(AlarmRow, "a-1").closed_at = NOON

    for _ in range(2):
        collect(registry.database, [_PREFECT], now=NOON)

    assert _told(registry) == ["alarm.raised", "alarm.raised", "alarm.closed"]


def test_many_decisions_are_read_in_many_transactions(registry: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(feed, "_MOST_DECISIONS", 3)
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        for number in range(1, 11):
            promote(session, number)

    assert collect(registry.database, [_PREFECT], now=NOON) == 10


def test_a_ledger_that_was_put_back_is_read_on_from_where_it_ends(settings: Settings, registry: Registry) -> None:
    with registry.database.write() as session:
        for number in (1, 2, 3):
            promote(session, number)
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        session.delete(list_decisions(session)[0])
    collect(registry.database, [_PREFECT], now=NOON)
    with registry.database.write() as session:
        promote(session, 9)

    assert collect(registry.database, [_PREFECT], now=NOON) == 1


@pytest.mark.slow
def test_processes_that_collect_at_once_put_each_happening_in_once(any_settings: Settings) -> None:
    registry = open_registry(any_settings)
    collect(registry.database, [_PREFECT], now=NOON)

    def work(number: int) -> int:
        own = open_registry(any_settings)
        found = 0
        for count in range(10):
            with own.database.write() as session:
                promote(session, 10 * number + count + 1)
            found += collect(own.database, [_PREFECT], now=NOON)
        return found

    n_put = sum(run_at_once(4, work))

    assert n_put == 40
    assert _told(registry) == ["model.promoted"] * 40
    registry.database.close()


def test_what_is_muted_is_kept_and_never_sent_and_prefect_hears_of_it(registry: Registry) -> None:
    sink = a_sink()
    collect(registry.database, [_PREFECT, sink], now=NOON)
    with registry.database.write() as session:
        mute_notices(session, "churn", until=NOON + timedelta(days=1), actor="ana", reason="we move", now=NOON)
        promote(session, 1)
    collect(registry.database, [_PREFECT, sink], now=NOON)
    with registry.database.write() as session:
        promote(session, 2)
    collect(registry.database, [_PREFECT, sink], now=NOON + timedelta(days=2))

    assert _told(registry) == ["model.promoted"] * 2
    assert _told(registry, sink.name) == ["model.promoted muted", "model.promoted"]


def test_a_mute_of_one_kind_is_lifted_by_that_kind(registry: Registry) -> None:
    with registry.database.write() as session:
        mute_notices(session, "churn", kind="alarm.raised", actor="ana", reason="", now=NOON)
        mute_notices(session, "churn", kind="alarm.raised", actor="bo", reason="longer", now=NOON)
        with pytest.raises(ArgumentError, match=r"everything of 'churn' is not muted; muted is alarm\.raised"):
            unmute_notices(session, "churn", actor="ana", now=NOON)
        unmute_notices(session, "churn", kind="alarm.raised", actor="ana", now=NOON)
        with pytest.raises(ArgumentError, match=r"there is no happening 'alarm\.razed'"):
            mute_notices(session, "churn", kind="alarm.razed", actor="ana", reason="", now=NOON)
        outcomes = [decision.outcome for decision in list_decisions(session, kind="notices")]

    assert outcomes == ["unmuted", "muted", "muted"]


@pytest.mark.parametrize(
    ("wishes", "n_told"),
    [
        ({}, 1),
        ({"from": "critical"}, 0),
        ({"kinds": "model.promoted"}, 0),
        ({"kinds": ["model.promoted", "alarm.raised"]}, 1),
        ({"pipelines": ["bike"]}, 0),
        ({"owners": ["ana@example.org"]}, 1),
        ({"owners": ["bo@example.org"]}, 0),
        ({"url": "mailtos://me:p@example.org?to={owner}"}, 1),
    ],
)
def test_a_receiver_hears_what_it_wants(registry: Registry, wishes: dict[str, Any], n_told: int) -> None:
    sink = a_sink(**wishes)
    with registry.database.write() as session:
        found = put_notices(session, sink, [a_happening()], owners={"churn": "ana@example.org"}, mutes=(), now=NOON)

    assert found == n_told


def test_a_gateway_to_owners_passes_over_who_has_no_address(registry: Registry) -> None:
    sink = a_sink("mailtos://me:p@example.org?to={owner}")
    with registry.database.write() as session:
        assert put_notices(session, sink, [a_happening()], owners={"churn": "team data"}, mutes=(), now=NOON) == 0


@given(
    stream=st.lists(
        st.tuples(st.sampled_from(["age", "fare"]), st.integers(0, 40), st.booleans()), min_size=1, max_size=12
    )
)
def test_the_outbox_tells_an_alarm_once_until_it_changes_or_has_been_quiet(
    stream: list[tuple[str, int, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    registry = _shared(tmp_path_factory)
    sink, at = a_sink(), NOON
    expected: list[str] = []
    last: tuple[str, Any] | None = None
    with registry.database.write() as session:
        for row in session.exec(select(NoticeRow)):
            session.delete(row)
        session.flush()
        for number, (column, hours, comes_twice) in enumerate(stream):
            at += timedelta(hours=hours)
            alarm = a_happening(f"k{number}", at=at, topic="alarm/drift", sign=column)
            put_notices(session, sink, [alarm] * (1 + comes_twice), owners={}, mutes=(), now=at)
            is_news = last is None or last[0] != column or at - last[1] >= timedelta(days=1)
            expected.append("waiting" if is_news else "repeated")
            last = (column, at) if is_news else last
        states = [row.state for row in reversed(list_notices(session))]

    assert states == expected


def test_a_failure_that_comes_back_after_a_good_training_is_news(registry: Registry) -> None:
    sink = a_sink(**{"from": "critical"})
    bad: dict[str, Any] = {"kind": "training.finished", "severity": "critical", "topic": "training", "sign": "failed"}
    good: dict[str, Any] = {"kind": "training.finished", "severity": "info", "topic": "training", "sign": "kept"}
    stream = [a_happening(str(number), **each) for number, each in enumerate([bad, bad, good, good, bad])]
    with registry.database.write() as session:
        assert put_notices(session, sink, stream, owners={}, mutes=(), now=NOON) == 2
        assert [row.state for row in list_notices(session)] == ["waiting", "unwanted", "repeated", "waiting"]


def test_a_sink_that_failed_rests_with_all_that_waits_for_it(any_registry: Registry) -> None:
    sink = a_sink()
    with any_registry.database.write() as session:
        put_notices(session, sink, [a_happening("1"), a_happening("2")], owners={}, mutes=(), now=NOON)
        first, second = list_due(session, sink.name, NOON, limit=10)
        claim_notices(session, [first], NOON, together=False)
        assert list_due(session, sink.name, NOON, limit=10) == []
        assert len(list_due(session, sink.name, NOON + CLAIM, limit=10)) == 2
        put_off(session, [_id(first)], "no answer", NOON, seconds=10)
        assert list_due(session, sink.name, NOON + timedelta(seconds=9), limit=10) == []
        # A clock that was set back does not make it longer.
        assert len(list_due(session, sink.name, NOON - timedelta(days=1), limit=10)) == 2
        mark_sent(session, [_id(first)], NOON)
        give_up(session, [_id(second)], "gone", NOON)

    with any_registry.database.write() as session:
        assert sorted(row.state for row in list_notices(session)) == sorted([SENT, GIVEN_UP])
        assert try_again(session, [sink.name], NOON) == 1
        assert delete_old(session, NOON + KEPT_FOR + timedelta(days=1)) == 1
        assert [row.state for row in list_notices(session)] == [WAITING]


def _begin(registry: Registry, version: PipelineVersion) -> Any:
    with registry.database.write() as session:
        run, _ = begin_run(session, version, parameters={}, trigger="person", owner=this_process(), lease=LEASE)
        append_decision(
            session, kind="training", pipeline=run.pipeline, run_id=run.id, outcome="granted", reason="", actor="ana"
        )
        return run


def _alarm() -> AlarmRow:
    return AlarmRow(
        id="a-1", model="churn", kind="performance", columns=[], severity="high", reason="", verdict="",
        p_adjusted=0.001, window_start=NOON, window_stop=NOON,
    )  # fmt: skip


def _id(row: NoticeRow) -> int:
    assert row.id is not None
    return row.id


_registries: list[Registry] = []


def _shared(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One registry for all examples of a law, since a new one takes longer than the law."""
    if not _registries:
        _registries.append(open_registry(Settings(home=tmp_path_factory.mktemp("law"))))
    return _registries[0]


@pytest.fixture(scope="module", autouse=True)
def _close_shared() -> Iterator[None]:
    yield
    while _registries:
        _registries.pop().database.close()
