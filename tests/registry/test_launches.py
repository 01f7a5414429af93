"""A launch from the grant to its end: one open for a pipeline, one sender at a time, ended with its run."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session

from base.errors import ArgumentError
from registry.launches import (
    HoldLost,
    LaunchClosed,
    add_sequel,
    describe_launch,
    end_launch,
    find_launch,
    find_open,
    find_sequel,
    give_up,
    grant_launch,
    hold_next,
    list_launches,
    list_open,
    mark_begun,
    mark_sent,
    release,
    take_over,
)
from registry.pipelines import register_pipeline
from registry.runs import RunUnderWay, begin_run, close_dead, finish_run, this_process
from registry.store import Registry
from registry.tables import Launch, PipelineVersion, Run, TriggerRow
from registry.triggers import list_triggers, list_waiting, make_trigger, reopen_triggers
from tests.pipelines import make_pipeline

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
SOON = NOW + timedelta(seconds=30)
DEAD = "nowhere:999999:1"


def _file(session: Session, key: str = "k1", **more: object) -> TriggerRow:
    given = {
        "pipeline": "trips",
        "kind": "drift",
        "reason": "loss",
        "actor": "test",
        "priority": 20,
        "occurred_at": NOW,
    }
    row = make_trigger(**({"key": key, "now": NOW} | given | more))  # type: ignore[arg-type]
    session.add(row)
    session.flush()
    return row


def _grant(session: Session, key: str = "k1", **more: object) -> Launch:
    return grant_launch(session, _file(session, key, **more), now=NOW)


def test_a_clock_that_is_wrong_does_not_date_a_trigger_into_the_future(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        row = _file(session, occurred_at=NOW + timedelta(days=400))
        other = _file(session, pipeline="hotel")

    assert row.occurred_at == NOW
    with any_registry.database.read() as session:
        assert {each.id for each in list_triggers(session)} == {row.id, other.id}
        assert [each.id for each in list_triggers(session, pipeline="hotel", state="waiting")] == [other.id]


def test_a_key_is_filed_once_and_the_database_says_so(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        _file(session)
        _file(session, pipeline="hotel")
    with pytest.raises(IntegrityError), any_registry.database.write() as session:
        _file(session, kind="webhook")


def test_a_pipeline_has_one_open_launch_and_the_database_says_so(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        first = _grant(session)
        _grant(session, "k2", pipeline="hotel")
    with pytest.raises(IntegrityError), any_registry.database.write() as session:
        _grant(session, "k3")

    with any_registry.database.write() as session:
        end_launch(session, first.id, "kept", now=SOON)
        second = _grant(session, "k3")
    with any_registry.database.read() as session:
        assert {launch.pipeline for launch in list_open(session)} == {"trips", "hotel"}
        assert {launch.id for launch in list_launches(session, pipeline="trips")} == {first.id, second.id}


def test_one_sender_at_a_time_holds_what_is_most_urgent(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        _grant(session, "k1")
        urgent = _grant(session, "k2", pipeline="hotel", priority=100)
        late = _grant(session, "k3", pipeline="bike", priority=200)
        late.not_before = SOON

    with any_registry.database.write() as session:
        held = [hold_next(session, name, now=NOW, seconds=20) for name in ("a", "b", "c")]
    assert [None if each is None else each.pipeline for each in held] == ["hotel", "trips", None]
    with any_registry.database.write() as session, pytest.raises(HoldLost):
        mark_sent(session, urgent.id, flow_run="f1", now=NOW, holder="b")
    with any_registry.database.write() as session:
        sent = mark_sent(session, urgent.id, flow_run="f1", now=NOW, holder="a")
        assert (sent.state, sent.flow_run, sent.n_sent) == ("sent", "f1", 1)
        given_back = hold_next(session, "c", now=NOW + timedelta(seconds=25), seconds=20)
        assert given_back is not None
        assert given_back.pipeline == "trips", "who is silent for so long holds nothing"
        release(session, given_back.id, now=NOW, trouble="the server is away", seconds=60)
        assert hold_next(session, "d", now=NOW + timedelta(seconds=28), seconds=20) is None
        assert (again := hold_next(session, "d", now=SOON, seconds=20)) is not None
        assert again.pipeline == "bike"


def test_a_waiting_launch_takes_over_the_more_urgent_word_and_the_later_data(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        launch = grant_launch(session, _file(session, as_of=NOW), now=NOW, not_before=SOON)
        take_over(session, launch, _file(session, "k2", priority=5, kind="schedule", as_of=SOON))
        assert (launch.kind, launch.as_of, launch.not_before) == ("drift", SOON, SOON)
        person = _file(session, "k3", priority=100, kind="person", reason="now")
        take_over(session, launch, person)

    assert (launch.kind, launch.reason, launch.trigger, launch.priority) == ("person", "now", person.id, 100)
    assert (launch.as_of, launch.not_before) == (None, None)


def test_what_follows_a_launch_is_opened_by_its_end_and_once(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        launch = _grant(session)
        mark_begun(session, launch.id, "r1", now=NOW)
        add_sequel(session, launch, _file(session, "k2", kind="webhook", priority=50, as_of=NOW))
        person = _file(session, "k3", kind="person", priority=100, as_of=SOON)
        add_sequel(session, launch, person)
        add_sequel(session, launch, _file(session, "k4", kind="code", priority=40, as_of=NOW), not_before=SOON)
        assert find_sequel(launch) is not None
        follower = end_launch(session, launch.id, "kept", now=SOON)
        assert end_launch(session, launch.id, "kept", now=SOON) is None

    assert follower is not None
    with any_registry.database.read() as session:
        found = find_open(session, "trips")
        assert found is not None
        assert (found.id, found.kind, found.trigger) == (follower.id, "person", person.id)
        assert (found.as_of, found.not_before, found.state) == (SOON, None, "waiting")
        assert session.get_one(TriggerRow, person.id).launch == follower.id


def test_what_had_gone_into_a_launch_can_wait_for_a_new_ruling(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        launch = _grant(session)
        row = session.get_one(TriggerRow, launch.trigger)
        row.state, row.launch = "started", launch.id
        session.flush()
        reopen_triggers(session, launch)
        assert give_up(session, launch.id, now=SOON, trouble="it gave way") is None

    with any_registry.database.read() as session:
        assert [(row.key, row.launch) for row in list_waiting(session)] == [("k1", None)]
        ended = find_launch(session, launch.id)
    assert (ended.state, ended.open_for, describe_launch(ended)) == ("dead", None, "has ended: it gave way")
    with any_registry.database.read() as session, pytest.raises(ArgumentError, match="no launch 'l-1'"):
        find_launch(session, "l-1")


@pytest.fixture
def version(any_registry: Registry, tmp_path: Path) -> PipelineVersion:
    return register_pipeline(any_registry, make_pipeline(tmp_path / "trips", None))


def _begin(
    session: Session, version: PipelineVersion, launch: str | None, *, owner: str | None = None, **parameters: str
) -> tuple[Run, bool]:
    return begin_run(
        session,
        version,
        parameters=dict(parameters),
        trigger="drift",
        owner=owner or this_process(),
        lease=timedelta(minutes=1),
        launch=launch,
    )


def test_a_launch_begins_and_ends_with_its_run(any_registry: Registry, version: PipelineVersion) -> None:
    with any_registry.database.write() as session:
        launch = _grant(session)
    with any_registry.database.write() as session:
        run, _ = _begin(session, version, launch.id)
    with any_registry.database.read() as session:
        begun = find_launch(session, launch.id)
    assert (begun.state, begun.run_id) == ("begun", run.id)

    with pytest.raises(RunUnderWay), any_registry.database.write() as session:
        _begin(session, version, launch.id)
    with any_registry.database.write() as session:
        finish_run(session, session.get_one(Run, run.id), status="kept", reason="")
    with any_registry.database.read() as session:
        ended = find_launch(session, launch.id)
    assert (ended.state, ended.outcome, ended.open_for) == ("ended", "kept", None)
    with pytest.raises(LaunchClosed), any_registry.database.write() as session:
        _begin(session, version, launch.id)


def test_a_run_that_died_and_is_closed_ends_its_launch_and_one_that_is_resumed_keeps_it(
    any_registry: Registry, version: PipelineVersion
) -> None:
    with any_registry.database.write() as session:
        launch = _grant(session)
        run, _ = _begin(session, version, launch.id)
        run.owner, run.lease_until = DEAD, NOW
    with any_registry.database.write() as session:
        resumed, is_resumed = _begin(session, version, launch.id)
        assert (is_resumed, resumed.id, find_launch(session, launch.id).state) == (True, run.id, "begun")
        resumed.owner, resumed.lease_until = DEAD, NOW

    with any_registry.database.write() as session:
        # The same launch under another definition: the dead run is closed, and the launch is the new run's.
        other, is_resumed = _begin(session, version, launch.id, as_of="2024-01-01")
        again = find_launch(session, launch.id)
        assert (is_resumed, again.state, again.run_id) == (False, "begun", other.id)
        assert session.get_one(Run, run.id).status == "failed"
        close_dead(session, other)
        assert find_launch(session, launch.id).state == "ended"
