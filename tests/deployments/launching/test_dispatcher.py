"""Claims about the dispatcher: what was granted is sent once, whatever dies, and again if it never began."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import select

from base.pipeline import Pipeline
from base.triggers_spec import TriggersSpec
from deployments.launching.dispatcher import HOLD_SECONDS, Dispatcher
from deployments.launching.sender import Standing
from deployments.launching.sweeping import MOST_SENT
from monitoring.desk import TriggerRequest, decide_waiting, take
from registry.launches import BEGUN, DEAD, ENDED, SENT, WAITING, mark_begun
from registry.ledger import list_decisions
from registry.pipelines import register_pipeline
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry
from registry.tables import Launch, Run
from tests.deployments.launching.prefect_double import FlowRuns, ProcessDied

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
_PATIENCE = timedelta(minutes=10)
# No process has this number and start.
_DEAD = f"{this_process().rsplit(':', 2)[0]}:{2**22 - 7}:1"


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> datetime:
        return self.now

    def go_on(self, **duration: float) -> None:
        """Let time pass."""
        self.now += timedelta(**duration)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def flow_runs() -> FlowRuns:
    return FlowRuns()


def _ask(registry: Registry, key: str, now: datetime, pipeline: str = "trips") -> str:
    request = TriggerRequest(pipeline=pipeline, kind="webhook", key=key, reason="drifted", actor="upstream")
    launch = take(registry, request, spec=TriggersSpec(), now=now).launch_id
    assert launch is not None
    return launch


def _dispatcher(registry: Registry, flow_runs: FlowRuns, clock: Clock) -> Dispatcher:
    return Dispatcher(registry, flow_runs, decide=decide_waiting, patience=_PATIENCE, now=clock)


def _find(registry: Registry, launch: str) -> Launch:
    with registry.database.read() as session:
        return session.get_one(Launch, launch)


def _begin(registry: Registry, pipeline: Pipeline, launch: str, *, owner: str) -> str:
    version = register_pipeline(registry, pipeline)
    with registry.database.write() as session:
        run, _ = begin_run(session, version, parameters={}, trigger="webhook", owner=owner, lease=timedelta(seconds=60))
        mark_begun(session, launch, run.id, now=NOON)
        return run.id


def test_what_is_granted_is_sent_once_with_what_the_run_needs(
    any_registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(any_registry, "a", NOON)
    dispatcher = _dispatcher(any_registry, flow_runs, clock)

    sent = [dispatcher.tick() for _ in range(3)]

    assert [[one.id for one in each] for each in sent] == [[launch], [], []]
    assert (_find(any_registry, launch).state, _find(any_registry, launch).flow_run) == (SENT, "flow-run-1")
    assert list(flow_runs.by_key) == [f"{launch}:0"]


@pytest.mark.parametrize("moment", ["before it is sent", "before it is written down"])
def test_a_dispatcher_that_dies_leaves_one_flow_run_to_the_next(
    registry: Registry, flow_runs: FlowRuns, clock: Clock, moment: str
) -> None:
    launch = _ask(registry, "a", NOON)
    flow_runs.dies = moment
    with pytest.raises(ProcessDied):
        _dispatcher(registry, flow_runs, clock).tick()
    flow_runs.dies = None
    other = _dispatcher(registry, flow_runs, clock)

    assert other.tick() == []  # the dead one's hold has not run out
    clock.go_on(seconds=HOLD_SECONDS + 1)
    sent = other.tick()

    assert [one.id for one in sent] == [launch]
    assert len(flow_runs.by_key) == 1


def test_while_prefect_is_down_nothing_is_lost_and_nothing_is_sent_twice(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    flow_runs.is_down = True
    for _ in range(60):
        dispatcher.tick()
        clock.go_on(seconds=3)
    waiting = _find(registry, launch)
    flow_runs.is_down, flow_runs.loses_answer = False, True
    dispatcher.tick()
    clock.go_on(seconds=3)
    flow_runs.loses_answer = False
    dispatcher.tick()

    assert (waiting.state, waiting.n_sent) == (WAITING, 0)
    assert "it is down" in waiting.trouble
    assert (_find(registry, launch).state, len(flow_runs.by_key)) == (SENT, 1)


def test_a_launch_that_waits_for_the_end_of_quiet_hours_is_not_sent_before(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    spec = TriggersSpec.model_validate({"quiet_hours": "08:00-18:00"})
    request = TriggerRequest(pipeline="trips", kind="webhook", key="a", reason="drifted", actor="upstream")
    taken = take(registry, request, spec=spec, now=NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)

    early = dispatcher.tick()
    clock.go_on(hours=6, seconds=1)
    late = dispatcher.tick()

    assert (early, [one.id for one in late]) == ([], [taken.launch_id])


@pytest.mark.parametrize("standing", ["failed", "gone", "completed"])
def test_a_flow_run_that_never_began_is_sent_again_and_given_up_in_the_end(
    registry: Registry, flow_runs: FlowRuns, clock: Clock, standing: Standing
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    for _ in range(100):
        dispatcher.tick()
        for flow_run in flow_runs.by_key.values():
            flow_runs.move(flow_run, standing, message="no module named features")
        clock.go_on(seconds=5)

    found = _find(registry, launch)
    with registry.database.read() as session:
        decisions = [one for one in list_decisions(session) if one.outcome == "give up"]
    assert (found.state, found.open_for, len(flow_runs.by_key)) == (DEAD, None, MOST_SENT)
    assert len(decisions) == 1
    assert "no module named features" in decisions[0].reason
    assert _ask(registry, "b", clock.now) != launch  # the pipeline is free again


def test_what_a_person_cancels_in_prefect_is_not_sent_again(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    dispatcher.tick()
    flow_runs.move("flow-run-1", "cancelled")
    clock.go_on(seconds=30)

    dispatcher.tick()

    assert (_find(registry, launch).state, len(flow_runs.by_key)) == (DEAD, 1)


def test_a_flow_run_that_a_dead_worker_had_taken_is_cancelled_and_sent_again(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    dispatcher.tick()
    flow_runs.move("flow-run-1", "starting", since=NOON)
    clock.go_on(minutes=9)
    dispatcher.tick()
    before = len(flow_runs.by_key)
    clock.go_on(minutes=2)
    dispatcher.tick()
    clock.go_on(seconds=30)
    dispatcher.tick()

    assert (before, len(flow_runs.by_key)) == (1, 2)
    assert flow_runs.find("flow-run-1").standing == "cancelled"


def test_a_flow_run_that_waits_for_a_worker_is_left_where_it_is(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    for _ in range(20):
        dispatcher.tick()
        clock.go_on(hours=1)

    assert (_find(registry, launch).state, len(flow_runs.by_key)) == (SENT, 1)


def test_a_run_whose_process_died_is_sent_again_to_go_on_and_freed_in_the_end(
    any_registry: Registry, flow_runs: FlowRuns, clock: Clock, make_pipeline: Callable[[str], Pipeline]
) -> None:
    registry, pipeline = any_registry, make_pipeline("trips")
    register_pipeline(registry, pipeline)
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    runs = set()
    for _ in range(40):
        for sent in dispatcher.tick():
            runs.add(_begin(registry, pipeline, sent.id, owner=_DEAD))
        clock.go_on(seconds=20)

    with registry.database.read() as session:
        (run,) = session.exec(select(Run)).all()
    assert runs == {run.id}  # each time it was to go on where it broke
    assert (len(flow_runs.by_key), run.status, run.under_way) == (MOST_SENT, "failed", None)
    assert _find(registry, launch).open_for is None


def test_a_flow_run_that_died_before_the_run_began_and_could_not_say_so_is_sent_again(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    dispatcher.tick()
    flow_runs.move("flow-run-1", "under way", since=NOON)
    clock.go_on(minutes=9)
    dispatcher.tick()
    before = len(flow_runs.by_key)
    clock.go_on(minutes=2)
    dispatcher.tick()
    clock.go_on(seconds=30)
    dispatcher.tick()

    assert (before, len(flow_runs.by_key), _find(registry, launch).state) == (1, 2, SENT)


@pytest.mark.parametrize("standing", ["cancelling", "cancelled"])
def test_a_run_that_a_person_cancels_is_closed_and_not_sent_again(
    registry: Registry,
    flow_runs: FlowRuns,
    clock: Clock,
    make_pipeline: Callable[[str], Pipeline],
    standing: Standing,
) -> None:
    pipeline = make_pipeline("trips")
    register_pipeline(registry, pipeline)
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    dispatcher.tick()
    run_id = _begin(registry, pipeline, launch, owner=_DEAD)
    flow_runs.move("flow-run-1", standing)
    clock.go_on(seconds=20)

    dispatcher.tick()

    with registry.database.read() as session:
        run = session.get_one(Run, run_id)
        (said,) = [one.reason for one in list_decisions(session) if one.outcome == "give up"]
    assert (run.status, run.under_way, len(flow_runs.by_key)) == ("failed", None, 1)
    assert _find(registry, launch).open_for is None
    assert said == "cancelled in Prefect at step 'extract'"


def test_a_run_that_lives_is_left_alone_and_its_end_ends_the_launch(
    registry: Registry, flow_runs: FlowRuns, clock: Clock, make_pipeline: Callable[[str], Pipeline]
) -> None:
    pipeline = make_pipeline("trips")
    register_pipeline(registry, pipeline)
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    dispatcher.tick()
    run_id = _begin(registry, pipeline, launch, owner=this_process())
    for _ in range(5):
        clock.go_on(hours=1)
        dispatcher.tick()
    alive = _find(registry, launch).state
    with registry.database.write() as session:
        finish_run(session, session.get_one(Run, run_id), status="kept", reason="the champion stays")

    assert (alive, _find(registry, launch).state, len(flow_runs.by_key)) == (BEGUN, ENDED, 1)


def test_two_dispatchers_send_each_launch_once(registry: Registry, flow_runs: FlowRuns, clock: Clock) -> None:
    launches = {_ask(registry, "a", NOON, pipeline=f"trips_{number}") for number in range(6)}
    one, other = (_dispatcher(registry, flow_runs, clock) for _ in range(2))

    sent = [each.id for dispatcher in (one, other, one, other) for each in dispatcher.tick()]

    assert sorted(sent) == sorted(launches)
    assert len(flow_runs.by_key) == 6


def test_a_clock_that_is_set_back_does_not_stop_the_sweeps(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    dispatcher = _dispatcher(registry, flow_runs, clock)
    clock.go_on(days=1)
    dispatcher.tick()
    clock.go_on(days=-1, seconds=30)
    flow_runs.move("flow-run-1", "cancelled")
    dispatcher.tick()

    # It was sent in what is now the future.
    assert _find(registry, launch).state == DEAD


def test_a_hold_of_what_is_now_the_future_holds_nobody_up(
    registry: Registry, flow_runs: FlowRuns, clock: Clock
) -> None:
    launch = _ask(registry, "a", NOON)
    clock.go_on(days=1)
    flow_runs.dies = "before it is sent"
    with pytest.raises(ProcessDied):
        _dispatcher(registry, flow_runs, clock).tick()
    flow_runs.dies = None
    clock.go_on(days=-1)

    sent = _dispatcher(registry, flow_runs, clock).tick()

    assert [one.id for one in sent] == [launch]
