"""What becomes of a flow run: it trains, goes into another training, or is put aside."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from base.errors import ArgumentError
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from registry.launches import LaunchClosed, describe_launch, find_launch, find_open, list_launches
from registry.ledger import list_decisions
from registry.pipelines import register_pipeline
from registry.runs import RunUnderWay, begin_run, finish_run, this_process
from registry.store import Registry
from registry.tables import Run
from registry.triggers import list_triggers
from tasks.admission import Admission, Asked, FlowRun, admit, leave
from tests.pipelines import define, make_pipeline

_DEAD = "nowhere:999999:1"


class Desk:
    """Flow runs that come to a pipeline."""

    def __init__(self, registry: Registry, pipeline: Pipeline, home: Path) -> None:
        self.registry, self.pipeline, self.home = registry, pipeline, home
        self.n_flow_runs = 0

    def come(self, trigger: Any = "schedule", *, deployed: bool = True, ago: float = 0, **asked: Any) -> Admission:
        """Let a flow run ask, which was to start so many seconds ago."""
        return self.admit(Asked(trigger, **asked), self.flow_run(deployed=deployed, ago=ago))

    def flow_run(self, *, deployed: bool = True, ago: float = 0) -> FlowRun:
        self.n_flow_runs += 1
        return FlowRun(f"f{self.n_flow_runs}", utc_now() - timedelta(seconds=ago), deployed)

    def admit(self, asked: Asked, flow_run: FlowRun) -> Admission:
        return admit(self.registry, self.pipeline, asked, flow_run, home=self.home, now=utc_now())

    def begin(self, admission: Admission | None = None, *, owner: str | None = None) -> Run:
        """Begin the run that was admitted, or one that no launch stands for."""
        version = register_pipeline(self.registry, self.pipeline)
        with self.registry.database.write() as session:
            run, _ = begin_run(
                session,
                version,
                parameters={"reason": "" if admission is None else admission.asked.reason},
                trigger="drift",
                owner=owner or this_process(),
                lease=timedelta(minutes=1) if owner is None else timedelta(0),
                launch=None if admission is None else admission.asked.launch,
            )
        return run

    def end(self, run: Run) -> None:
        with self.registry.database.write() as session:
            finish_run(session, session.get_one(Run, run.id), status="kept", reason="")


@pytest.fixture
def trips(registry: Registry, settings: Settings, tmp_path: Path) -> Desk:
    return Desk(registry, make_pipeline(tmp_path / "trips", None), settings.home)


def _held(trips: Desk, **triggers: Any) -> Desk:
    folder = trips.pipeline.file.parent
    return Desk(trips.registry, make_pipeline(folder, None, define(triggers=triggers)), trips.home)


@pytest.mark.parametrize("trigger", ["person", "schedule", "drift", "webhook"])
def test_the_first_flow_run_trains_under_a_launch_of_its_own(trigger: str, trips: Desk) -> None:
    admission = trips.come(trigger, reason="since a test wants it")

    assert admission.is_granted
    run = trips.begin(admission)
    trips.end(run)
    with trips.registry.database.read() as session:
        (launch,), (row,) = list_launches(session), list_triggers(session)
    assert (row.key, row.kind, row.state) == ("prefect:f1", trigger, "started")
    assert (launch.state, launch.run_id, launch.outcome) == ("ended", run.id, "kept")


@pytest.mark.parametrize("trigger", ["person", "schedule", "drift", "webhook"])
def test_a_second_one_goes_into_the_training_under_way(trigger: str, trips: Desk) -> None:
    run = trips.begin(trips.come())

    admission = trips.come(trigger)

    assert (admission.is_granted, admission.outcome) == (False, "merge")
    assert run.id in admission.reason


def test_a_person_at_the_keyboard_hears_of_the_run_under_way_and_nothing_follows(trips: Desk) -> None:
    run = trips.begin(trips.come())
    with trips.registry.database.write() as session:
        session.get_one(Run, run.id).started_at = utc_now() - timedelta(hours=1)

    with pytest.raises(RunUnderWay, match=run.id):
        trips.come("person", deployed=False)

    trips.end(run)
    with trips.registry.database.read() as session:
        assert find_open(session, "trips") is None
        assert [decision.outcome for decision in list_decisions(session, kind="trigger")] == ["merge", "start"]


def test_a_click_long_after_a_training_began_has_one_of_its_own(trips: Desk) -> None:
    run = trips.begin(trips.come())
    with trips.registry.database.write() as session:
        session.get_one(Run, run.id).started_at = utc_now() - timedelta(hours=1)

    admission = trips.come("person", snapshot="abc")

    assert "another training follows" in admission.reason
    trips.end(run)
    with trips.registry.database.read() as session:
        launch = find_open(session, "trips")
    assert launch is not None
    assert trips.come("person", launch=launch.id).asked.snapshot == "abc"


def test_a_flow_run_that_waited_behind_a_later_training_is_merged_into_it(trips: Desk) -> None:
    run = trips.begin(trips.come())
    trips.end(run)

    waited, fresh = trips.come("schedule", ago=60), trips.come("webhook")

    assert (waited.outcome, waited.reason) == ("merge", f"run {run.id} began after this was asked, and has answered it")
    assert fresh.is_granted


def test_a_schedule_in_quiet_hours_waits_for_their_end(trips: Desk) -> None:
    now = utc_now()
    hours = f"{now - timedelta(hours=1):%H:%M}-{now + timedelta(hours=1):%H:%M}"

    admission = _held(trips, quiet_hours=hours).come("schedule")

    assert (admission.is_granted, admission.outcome) == (False, "wait")
    with trips.registry.database.read() as session:
        launch = find_open(session, "trips")
    assert launch is not None
    assert describe_launch(launch).startswith("waits to begin, not before")
    assert _held(trips, quiet_hours=hours).come("person").is_granted, "a person's wish takes the launch on"


def test_a_launch_says_what_its_flow_run_trains(trips: Desk) -> None:
    granted = trips.come("performance", reason="loss +12 %", as_of=datetime(2024, 1, 1, tzinfo=UTC))

    admission = trips.come("drift", reason="as an event said", launch=granted.asked.launch)

    assert admission.is_granted
    assert admission.asked == replace(granted.asked, launch=granted.asked.launch)
    assert (admission.asked.trigger, admission.asked.reason) == ("performance", "loss +12 %")


def test_a_launch_that_is_delivered_twice_trains_once(trips: Desk) -> None:
    granted = trips.come("drift")
    run = trips.begin(granted)
    second = trips.come("drift", launch=granted.asked.launch)
    trips.end(run)
    third = trips.come("drift", launch=granted.asked.launch)

    assert [(each.is_granted, each.outcome) for each in (second, third)] == [(False, "merge")] * 2
    assert "was begun by run" in second.reason
    assert "has ended: kept" in third.reason


def test_a_launch_whose_run_died_is_begun_again(trips: Desk) -> None:
    granted = trips.come("drift")
    trips.begin(granted, owner=_DEAD)

    assert trips.come("drift", launch=granted.asked.launch).is_granted


def test_the_same_flow_run_again_goes_on_and_a_retry_asks_anew(trips: Desk) -> None:
    flow_run = trips.flow_run()
    first = trips.admit(Asked("schedule"), flow_run)
    again = trips.admit(Asked("schedule"), flow_run)
    trips.end(trips.begin(first))
    retried = trips.admit(Asked("schedule"), replace(flow_run, attempt=2, asked_at=utc_now()))

    assert (again.is_granted, again.asked.launch) == (True, first.asked.launch)
    assert retried.is_granted
    assert retried.asked.launch != first.asked.launch


def test_a_launch_of_another_pipeline_is_refused(trips: Desk, tmp_path: Path) -> None:
    granted = trips.come("drift")
    hotel = Desk(trips.registry, make_pipeline(tmp_path / "hotel", None, define(name="hotel")), trips.home)

    with pytest.raises(ArgumentError, match="is one of 'trips', expected one of 'hotel'"):
        hotel.come("drift", launch=granted.asked.launch)


@pytest.mark.parametrize("deployed", [True, False])
def test_who_meets_another_run_after_all_leaves_nothing_behind_but_what_is_due(deployed: bool, trips: Desk) -> None:
    flow_run = trips.flow_run(deployed=deployed)
    admission = trips.admit(Asked("person"), flow_run)
    trips.begin()
    with pytest.raises(RunUnderWay) as met:
        trips.begin(admission)

    if deployed:
        assert leave(trips.registry, admission, flow_run, met.value).outcome == "merge"
    else:
        with pytest.raises(RunUnderWay):
            leave(trips.registry, admission, flow_run, met.value)

    with trips.registry.database.read() as session:
        (launch,) = list_launches(session)
    assert launch.state == ("waiting" if deployed else "dead")
    assert LaunchClosed(find_launch(session, launch.id)).launch.id == launch.id
