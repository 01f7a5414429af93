"""The desk: filed, ruled on, written down and granted in one transaction, whatever dies and however many come."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st
from sqlalchemy import URL
from sqlmodel import select

from base.database import DatabaseAway, DatabaseBusy
from base.errors import ArgumentError
from base.fingerprint import digest_document
from base.references import Trigger
from base.settings import Settings
from base.times import utc_now
from base.triggers_spec import TriggersSpec
from benchmarks.trigger_storm import KINDS, raise_storm
from monitoring import desk
from monitoring.desk import Taken, TriggerRequest, decide_waiting, take
from monitoring.rulings_again import rule_again
from registry.launches import find_open, list_launches, list_open
from registry.ledger import first_broken_link, list_decisions
from registry.ledger_replay import replay_decisions
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry, open_registry
from registry.tables import PipelineRow, PipelineVersion, Run
from registry.triggers import find_trigger, list_triggers, list_waiting, make_trigger
from tests.processes import start_process

FREE = TriggersSpec()
_DEAD = "nowhere:999999:1"


@pytest.fixture
def trips(any_registry: Registry) -> Registry:
    """A registry that knows one pipeline."""
    return _register(any_registry)


def _register(registry: Registry, **triggers: Any) -> Registry:
    with registry.database.write() as session:
        session.add(PipelineRow(name="trips", definition="trips.yaml"))
        session.flush()
        package = {"spec": {"triggers": triggers}}
        session.add(PipelineVersion(digest=digest_document(package), pipeline="trips", package=package))
    return registry


def _ask(registry: Registry, key: str, kind: Trigger = "drift", **more: Any) -> Taken:
    given = {name: more.pop(name) for name in ("spec", "carrier") if name in more}
    request = TriggerRequest(**{"pipeline": "trips", "kind": kind, "key": key, "reason": key, "actor": "test"} | more)
    return take(registry, request, now=utc_now(), **given)


def _begin(registry: Registry, launch: str | None, *, owner: str | None = None, as_of: str | None = None) -> Run:
    with registry.database.write() as session:
        version = session.exec(select(PipelineVersion)).one()
        run, _ = begin_run(
            session,
            version,
            parameters={"as_of": as_of},
            trigger="drift",
            owner=owner or this_process(),
            lease=timedelta(minutes=1) if owner is None else timedelta(0),
            launch=launch,
        )
    return run


def _end(registry: Registry, run: Run, status: str = "kept") -> None:
    with registry.database.write() as session:
        finish_run(session, session.get_one(Run, run.id), status=status, reason="")


def test_a_wish_is_filed_ruled_on_written_down_and_granted(trips: Registry) -> None:
    taken = _ask(trips, "k1", payload={"rows": 7}, evidence={"finding": "loss"})

    assert (taken.is_new, taken.outcome, taken.reason) == (True, "start", "k1")
    with trips.database.read() as session:
        row, launch = find_trigger(session, taken.trigger_id), find_open(session, "trips")
        (decision,) = list_decisions(session)
        assert launch is not None
        assert (row.state, row.launch, row.decision) == ("started", launch.id, decision.sequence)
        assert (launch.state, launch.trigger, taken.launch_id) == ("waiting", row.id, launch.id)
    assert (decision.kind, decision.outcome, decision.actor) == ("trigger", "start", "test")
    assert decision.evidence["rule"]["name"] == "arbiter"
    assert (decision.evidence["trigger"], decision.evidence["finding"]) == (row.id, "loss")
    assert [each.answer for each in replay_decisions(trips, arbitrate=rule_again)] == ["identical"]


def test_the_same_key_again_gives_the_same_answer_and_changes_nothing_but_a_count(trips: Registry) -> None:
    first = _ask(trips, "k1")
    again = _ask(trips, "k1", kind="webhook", reason="something else")

    assert (again.trigger_id, again.is_new, again.outcome, again.launch_id) == (
        first.trigger_id,
        False,
        "start",
        first.launch_id,
    )
    with trips.database.read() as session:
        assert [row.n_duplicates for row in list_triggers(session)] == [1]
        assert len(list_decisions(session)) == 1


def test_what_arrives_together_gives_one_training(trips: Registry) -> None:
    kinds: Sequence[Trigger] = ("schedule", "drift", "webhook", "person")
    first, *others = (_ask(trips, kind, kind) for kind in kinds)
    run = _begin(trips, first.launch_id)
    late = _ask(trips, "late", "webhook")
    _end(trips, run)

    assert [taken.outcome for taken in others] == ["merge"] * 3
    assert (late.outcome, late.into) == ("merge", run.id)
    with trips.database.read() as session:
        assert list_open(session) == []
        assert [launch.kind for launch in list_launches(session)] == ["person"]


def test_what_comes_too_late_for_a_training_has_one_of_its_own_afterwards(trips: Registry) -> None:
    spec = TriggersSpec(merge_within="0 seconds")
    run = _begin(trips, _ask(trips, "k1").launch_id)
    late = [_ask(trips, key, kind, spec=spec) for key, kind in (("k2", "webhook"), ("k3", "person"), ("k4", "code"))]  # type: ignore[arg-type]
    _end(trips, run)

    assert {taken.outcome for taken in late} == {"merge"}
    with trips.database.read() as session:
        (follower,) = list_open(session)
        assert len(list_launches(session)) == 2
    assert (follower.kind, follower.trigger) == ("person", late[1].trigger_id)


def test_a_flow_run_takes_on_what_was_granted_and_has_not_begun(trips: Registry) -> None:
    granted = _ask(trips, "k1", as_of=datetime(2024, 1, 1, tzinfo=UTC))
    carried = _ask(trips, "prefect:f1", "schedule", carrier="f1")

    assert (carried.outcome, carried.carries, carried.launch_id) == ("merge", True, granted.launch_id)
    with trips.database.read() as session:
        launch = find_open(session, "trips")
    assert launch is not None
    assert (launch.state, launch.flow_run, launch.as_of) == ("sent", "f1", None)


def test_a_launch_whose_run_died_makes_room(trips: Registry) -> None:
    dead = _ask(trips, "k1")
    _begin(trips, dead.launch_id, owner=_DEAD)

    again = _ask(trips, "k2")

    assert again.outcome == "start"
    with trips.database.read() as session:
        assert [(launch.id, launch.state) for launch in list_launches(session)][::-1] == [
            (dead.launch_id, "dead"),
            (again.launch_id, "waiting"),
        ]


def test_a_person_s_own_data_go_first_and_what_waited_is_ruled_on_afterwards(trips: Registry) -> None:
    waiting = _ask(trips, "k1")
    own = _ask(trips, "k2", "person", as_of=datetime(2024, 1, 1, tzinfo=UTC), is_exact=True, carrier="f1")
    run = _begin(trips, own.launch_id, as_of="2024-01-01")
    with trips.database.read() as session:
        assert [row.id for row in list_waiting(session)] == [waiting.trigger_id]
    _end(trips, run)
    (decided,) = decide_waiting(trips, utc_now())

    assert (decided.trigger_id, decided.outcome) == (waiting.trigger_id, "start")
    assert decide_waiting(trips, utc_now()) == []


def test_a_training_that_came_of_a_training_is_not_asked_for_by_it(trips: Registry) -> None:
    launch = _ask(trips, "k1").launch_id
    run = _begin(trips, launch)
    _end(trips, run)
    own = _ask(trips, "k2", "webhook", caused_by=run.id)
    by_launch = _ask(trips, "k3", "webhook", caused_by=launch)
    elsewhere = _ask(trips, "k4", "webhook", pipeline="hotel", caused_by=run.id, spec=FREE)
    back = _ask(trips, "k5", "webhook", caused_by=elsewhere.trigger_id)
    stranger = _ask(trips, "k6", "webhook", caused_by="a run of another system")

    assert [taken.outcome for taken in (own, by_launch, elsewhere, back, stranger)] == [
        "suppress",
        "suppress",
        "start",
        "suppress",
        "start",
    ]


def test_the_budget_is_of_the_registry_s_own_runs(any_registry: Registry) -> None:
    _register(any_registry, budget="2 per 30 days")
    for key in ("k1", "k2"):
        run = _begin(any_registry, _ask(any_registry, key).launch_id)
        _end(any_registry, run, "failed")

    taken = _ask(any_registry, "k3")

    assert taken.outcome == "suppress"
    assert "the budget of 2 per 30 days is spent (2 trainings)" in taken.reason
    assert _ask(any_registry, "k4", "person").outcome == "start"


def test_a_run_that_a_wrong_clock_dated_into_the_future_holds_nothing_back(trips: Registry) -> None:
    run = _begin(trips, None)
    _end(trips, run)
    with trips.database.write() as session:
        session.get_one(Run, run.id).started_at = utc_now() + timedelta(days=300)

    assert _ask(trips, "k1", spec=TriggersSpec(cooldown="7 days")).outcome == "start"


def test_an_unknown_pipeline_is_named(trips: Registry) -> None:
    with pytest.raises(ArgumentError, match="there is no pipeline 'tripz'; registered are trips; did you mean 'trips'"):
        _ask(trips, "k1", pipeline="tripz")


def test_what_was_filed_and_not_ruled_on_is_ruled_on_by_whoever_comes_by(trips: Registry) -> None:
    now = utc_now()
    with trips.database.write() as session:
        for key, priority in (("k1", 10), ("k2", 90)):
            session.add(
                make_trigger(
                    pipeline="trips",
                    kind="webhook",
                    key=key,
                    reason=key,
                    actor="test",
                    priority=priority,
                    occurred_at=now,
                    now=now,
                )
            )

    decided = decide_waiting(trips, now)

    assert [(taken.outcome, taken.is_new) for taken in decided] == [("start", False), ("merge", False)]
    with trips.database.read() as session:
        assert find_trigger(session, decided[0].trigger_id).key == "k2"
    assert _ask(trips, "k1").outcome == "merge"


@pytest.mark.parametrize("trouble", [DatabaseBusy, lambda url: DatabaseAway(url, "terminated")], ids=["busy", "away"])
def test_a_database_that_is_busy_or_away_is_asked_again_and_no_caller_hears_of_it(
    trouble: Callable[[URL], Exception], trips: Registry, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[int] = []
    find_situation = vars(desk)["find_situation"]

    def busy_at_first(*arguments: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) < 3:
            raise trouble(trips.database.url)
        return find_situation(*arguments, **options)

    monkeypatch.setattr(desk, "find_situation", busy_at_first)

    assert _ask(trips, "k1").outcome == "start"
    assert len(calls) == 3


@pytest.mark.parametrize("place", ["rule", "link_decision", "_find_launch", "_as_wish"])
def test_a_process_that_dies_at_the_desk_has_done_nothing_and_the_next_try_does_all(
    place: str, settings: Settings
) -> None:
    registry = _register(open_registry(settings))
    registry.database.close()

    def die_there() -> None:
        def die(*_: Any, **__: Any) -> None:
            os.kill(os.getpid(), signal.SIGKILL)

        vars(desk)[place] = die
        _ask(open_registry(settings), "k1")

    child = start_process(die_there)
    child.join(60)

    assert child.exitcode == -signal.SIGKILL
    with registry.database.read() as session:
        assert list_triggers(session) == []
        assert list_decisions(session) == []
    assert _ask(registry, "k1").is_new


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["ask", "ask", "carry", "begin", "die", "end", "fail", "wait"]),
        st.sampled_from(KINDS),
        st.booleans(),
    ),
    max_size=18,
)


@examples(max_examples=10)
@given(steps=_STEPS)
def test_whatever_comes_in_whatever_order_one_launch_is_open_and_nothing_is_lost(
    steps: list[tuple[str, Trigger, bool]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    registry = _register(open_registry(Settings(home=tmp_path_factory.mktemp("home"))))
    spec = TriggersSpec(cooldown="1 hour", merge_within="0 seconds")
    n_asked = 0
    for what, kind, flag in steps:
        with registry.database.read() as session:
            launch = find_open(session, "trips")
            run = None if launch is None or launch.run_id is None else session.get(Run, launch.run_id)
        is_begun = launch is not None and launch.state == "begun" and run is not None
        if what in ("ask", "carry"):
            n_asked += 1
            carrier = f"f{n_asked}" if what == "carry" else None
            taken = _ask(registry, f"k{n_asked}", kind, spec=spec, can_follow=flag, carrier=carrier)
            assert taken.reason
            assert kind != "person" or taken.outcome != "suppress"
        elif what == "wait":
            decide_waiting(registry, utc_now())
        elif launch is not None and not is_begun and what in ("begin", "die"):
            _begin(registry, launch.id, owner=_DEAD if what == "die" else None)
        elif is_begun and run is not None and run.under_way and what in ("end", "fail"):
            _end(registry, run, "kept" if what == "end" else "failed")
        with registry.database.read() as session:
            rows, open_launches = list_triggers(session, limit=None), list_open(session)
            decided = list_decisions(session, kind="trigger", limit=None)
            assert first_broken_link(session) is None
        assert len(open_launches) <= 1
        assert len(rows) == n_asked
        assert all(row.ruling and row.decision for row in rows if row.state != "waiting")
        assert len(decided) >= sum(row.state != "waiting" for row in rows)
    with registry.database.read() as session:
        launches = list_launches(session, limit=1000)
        rows = list_triggers(session, limit=None)
    assert {row.launch for row in rows} - {None} <= {launch.id for launch in launches}
    assert {row.state for row in rows if row.kind == "person"} <= {"waiting", "started", "merged"}
    assert {each.answer for each in replay_decisions(registry, arbitrate=rule_again)} <= {"identical"}
    registry.database.close()


@pytest.mark.slow
def test_a_storm_loses_nothing_and_starts_one_training_at_a_time(any_settings: Settings) -> None:
    storm = raise_storm(any_settings, n_triggers=1_000, n_processes=8)

    assert (storm.lost, storm.double_runs, storm.errors) == (0, 0, ())
    assert storm.is_chained
    assert 0 < storm.n_runs <= storm.n_launches
