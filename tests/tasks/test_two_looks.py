"""Claims about labels that come weeks late: traffic is told at once, the loss when it is known, each exactly once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.pipeline import Pipeline
from base.settings import Settings
from monitoring.checking import CheckedWindow, check_labels, check_traffic
from monitoring.cutting import list_windows
from monitoring.live_store import LiveStore
from monitoring.monitored_version import MonitoredVersion
from registry.alarms import list_alarms
from registry.launches import list_launches
from registry.runs import StepKey, record_step
from registry.store import Registry, open_registry
from registry.tables import Launch, Run, WindowRow
from tasks import window_checks
from tasks.drift_detection import detect_drift
from tests.monitoring.traffic import serve
from tests.pipelines import Trained, define, make_pipeline, make_trips, train
from tests.processes import run_at_once, start_process

pytestmark = pytest.mark.usefixtures("plain_pages")

START = datetime(2013, 4, 1, tzinfo=UTC)
WEEK, DELAY = timedelta(days=7), timedelta(days=28)
N_ROWS = 4 * 24 * 7


@dataclass(frozen=True)
class Home:
    """A champion whose labels come four weeks after its answers."""

    pipeline: Pipeline
    settings: Settings
    registry: Registry
    trained: Trained

    def serve(self, *weeks: pd.DataFrame, labelled: bool = True) -> None:
        """Serve weeks, one after the other; their labels become known four weeks later."""
        for number, rows in enumerate(weeks):
            moments = pd.date_range(START + number * WEEK, periods=N_ROWS, freq="15min", tz="UTC").as_unit("us")
            trips = rows.assign(at=moments)
            manifest = self.trained.manifest
            serve(self.settings.home, self.registry, manifest, trips, labelled=labelled, label_delay=DELAY)

    def look(self, until: datetime) -> list[CheckedWindow]:
        """Take all looks that are due."""
        return detect_drift(self.pipeline, self.registry, self.settings, until=until)

    def windows(self) -> list[WindowRow]:
        """Return what is recorded of windows."""
        with self.registry.database.read() as session:
            return list_windows(session, "trips")

    def launches(self) -> list[Launch]:
        """Return the trainings that were granted."""
        with self.registry.database.read() as session:
            return list_launches(session)

    def alarms(self) -> list[tuple[str, int]]:
        """Return the kinds of alarm that were raised, oldest first, each with how many windows showed it."""
        with self.registry.database.read() as session:
            return [(alarm.kind, alarm.n_windows) for alarm in reversed(list_alarms(session, "trips"))]


def _week(number: int, *, noise: float = 0.1) -> pd.DataFrame:
    return make_trips(N_ROWS, seed=100 + number, noise=noise)


def _in_metres(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(distance=rows["distance"] * 1000)


def _elsewhere(rows: pd.DataFrame) -> pd.DataFrame:
    draw, n_rows = np.random.default_rng(0), len(rows)
    return rows.assign(
        distance=draw.normal(60.0, 9.0, n_rows),
        passengers=draw.choice([1, 4, 5], n_rows, p=[0.02, 0.08, 0.9]),
        company=draw.choice(["red", "blue"], n_rows, p=[0.95, 0.05]),
        is_shared=draw.random(n_rows) < 0.9,
    )


Make = Callable[..., Home]


@pytest.fixture
def make_home(settings: Settings, registry: Registry, tmp_path: Path) -> Make:
    def make(**triggers: Any) -> Home:
        definition = define(
            extract={"source": "data.parquet", "label_delay": "28 days"},
            prepare={"features": ["features:add_hour"], "split": {"gap": "1 day"}},
            monitor={"window": "7 days", "min_rows": 50, "max_loss_increase": 1.0},
            triggers=triggers or {"policy": "level"},
        )
        pipeline = make_pipeline(tmp_path / "trips", make_trips(3000, start="2012-10-01"), definition)
        trained = train(pipeline, settings, as_of=datetime(2013, 3, 27, tzinfo=UTC))
        return Home(pipeline, settings, registry, trained)

    return make


def test_a_unit_that_changed_is_told_when_the_window_is_over_and_its_loss_four_weeks_later(make_home: Make) -> None:
    """Each alarm is counted once, though its window is looked at twice."""
    home = make_home()
    home.serve(*map(_week, range(3)), _in_metres(_week(3)))
    for number in range(3):
        home.look(START + (number + 1) * WEEK)

    (told,) = home.look(START + 4 * WEEK)

    assert (told.look, told.conclusion.outcome, told.taken) == ("traffic", "broken data", None)
    assert "distance" in told.conclusion.reason
    assert told.conclusion.reason.endswith("labels due on 2013-05-27 00:00 UTC")
    assert told.measured.facts.examples["distance"]
    assert ("broken data", 1) in home.alarms()
    first = home.windows()[-1]
    assert (first.labels_checked_at, first.n_labelled, first.findings["labels_due"]) == (
        None,
        0,
        "2013-05-27T00:00:00+00:00",
    )

    *earlier, last = home.look(START + 4 * WEEK + DELAY)

    assert [one.look for one in earlier] == ["labels"] * 3
    assert (last.look, last.conclusion.outcome, last.taken) == ("labels", "broken data", None)
    assert last.judged.triage.evidence == told.judged.triage.evidence
    second = home.windows()[-1]
    assert (second.n_labelled, second.checked_at) == (N_ROWS, first.checked_at)
    assert second.labels_checked_at is not None
    assert second.findings["first_look"]["outcome"] == "broken data"
    assert second.findings["page"] == first.findings["page"]
    assert ("broken data", 1) in home.alarms()


def test_a_world_that_turned_round_asks_when_its_labels_have_matured_and_not_before(make_home: Make) -> None:
    home = make_home()
    home.serve(_week(0, noise=0.9))

    (first,) = home.look(START + WEEK)
    nothing = home.look(START + WEEK + DELAY - timedelta(days=1))
    (second,) = home.look(START + WEEK + DELAY)
    again = home.look(START + WEEK + DELAY)

    assert (first.look, first.taken) == ("traffic", None)
    assert (nothing, again) == ([], [])
    assert (second.look, second.conclusion.outcome, second.decision[0]) == ("labels", "performance", "start")
    (launch,) = home.launches()
    assert launch.as_of == START + WEEK + DELAY
    assert len(home.windows()) == 1


def test_columns_that_moved_ask_where_labels_were_due_and_none_came(make_home: Make) -> None:
    home = make_home()
    home.serve(*(_elsewhere(_week(number)) for number in range(2)), labelled=False)

    first = home.look(START + 2 * WEEK)
    second = home.look(START + 2 * WEEK + DELAY)

    assert [(one.look, one.conclusion.outcome, one.taken) for one in first] == [("traffic", "drift", None)] * 2
    assert [(one.look, one.conclusion.outcome) for one in second] == [("labels", "drift")] * 2
    assert second[0].decision[0] == "start"


def test_looks_are_taken_in_the_order_of_windows_whoever_comes_late(make_home: Make) -> None:
    home = make_home()
    home.serve(*map(_week, range(7)))

    weekly = [[(one.look, one.measured.start) for one in home.look(START + number * WEEK)] for number in (1, 2, 6)]
    late = [(one.look, one.measured.start) for one in home.look(START + 11 * WEEK)]

    assert weekly[0] == [("traffic", START)]
    assert weekly[1] == [("traffic", START + WEEK)]
    assert weekly[2] == [("labels", START), ("labels", START + WEEK)] + [
        ("traffic", START + number * WEEK) for number in (2, 3, 4, 5)
    ]
    assert late == [("labels", START + number * WEEK) for number in (2, 3, 4, 5)] + [("both", START + 6 * WEEK)]
    assert all(row.labels_checked_at is not None and row.is_quiet for row in home.windows())


def test_estimates_and_the_policy_wait_for_labels_and_forget_nothing_meanwhile(make_home: Make) -> None:
    home = make_home(price=50)
    with home.registry.database.write() as session:
        run = session.get_one(Run, home.trained.run_id)
        output = home.trained.judged.data.model_dump(mode="json")
        record_step(session, run=run, step="prepare", key=StepKey("", "", {}, ""), output=output, seconds=1.0)
    home.serve(*(_week(number, noise=0.9) for number in range(3)))
    for number in range(3):
        home.look(START + (number + 1) * WEEK)
    store = LiveStore(home.registry, home.settings, "trips", now=START)
    version = MonitoredVersion(1, home.trained.manifest, home.registry.artifacts)
    assert store.past_estimates(version) is None
    assert store.policy_state().last is None

    looks = [home.look(START + DELAY + (number + 1) * WEEK) for number in range(3)]

    policies = [one.policy for (one,) in looks]
    excesses = [policy.state.excess for policy in policies if policy is not None]
    assert len(excesses) == 3
    assert excesses == sorted(excesses)
    assert excesses[-1] > 0
    score = store.past_estimates(version)
    assert score is not None
    assert score.n_windows == 3


def test_the_loss_of_a_version_that_was_replaced_is_told_and_asks_for_nothing(make_home: Make) -> None:
    home = make_home()
    home.serve(_week(0, noise=0.9))
    store = LiveStore(home.registry, home.settings, "trips", now=START)
    old, new = (MonitoredVersion(n, home.trained.manifest, home.registry.artifacts) for n in (1, 2))
    first = check_traffic(home.pipeline, old, store, (START, START + WEEK))

    def look(champion: MonitoredVersion) -> CheckedWindow:
        until = START + WEEK + DELAY
        judgement = first.judged.judgement
        return check_labels(home.pipeline, old, store, first.measured, judgement, until=until, champion=champion)

    own, others = look(old), look(new)

    assert (own.conclusion.outcome, own.conclusion.asks) == ("performance", "performance")
    assert (others.conclusion.outcome, others.conclusion.asks) == ("performance", None)
    assert others.conclusion.reason.endswith("version 2 has taken its place")
    assert others.measured.performance == own.measured.performance


@pytest.mark.parametrize("place", ["take_within", "keep_asking"])
def test_a_monitor_that_dies_between_looks_leaves_the_second_to_the_next_one(place: str, make_home: Make) -> None:
    home = make_home()
    home.serve(_week(0, noise=0.9))
    home.look(START + WEEK)
    (before,) = home.windows()

    def monitor() -> None:
        vars(window_checks)[place] = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        home.look(START + WEEK + DELAY)

    child = start_process(monitor)
    child.join(60)

    assert child.exitcode == -signal.SIGKILL
    assert (home.windows(), home.launches()) == ([before], [])
    (window,) = home.look(START + WEEK + DELAY)
    assert (window.look, window.decision[0]) == ("labels", "start")
    assert (len(home.windows()), len(home.launches())) == (1, 1)


def test_two_monitors_at_once_take_each_look_once(make_home: Make) -> None:
    home = make_home()
    home.serve(*(_week(number, noise=0.9) for number in range(2)))

    def monitor(_number: int) -> list[str]:
        registry = open_registry(home.settings)
        checked = [
            one
            for until in (START + 2 * WEEK, START + 2 * WEEK + DELAY)
            for one in detect_drift(home.pipeline, registry, home.settings, until=until)
        ]
        return [f"{one.look} {one.measured.start:%m-%d}" for one in checked]

    found = run_at_once(2, monitor)

    assert sorted(found[0] + found[1]) == ["labels 04-01", "labels 04-08", "traffic 04-01", "traffic 04-08"]
    assert len(home.windows()) == 2
    assert len(home.launches()) == 1
    assert ("performance", 2) in home.alarms()
