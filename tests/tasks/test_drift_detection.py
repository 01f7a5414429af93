"""Each window is checked once, and asks at most once for a training."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlmodel import select

from base.pipeline import Pipeline
from base.settings import Settings
from monitoring.checking import CheckedWindow
from monitoring.cutting import DueLook, Look, list_windows
from registry.launches import list_launches
from registry.ledger import first_broken_link, list_decisions
from registry.pipelines import register_pipeline
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry, open_registry
from registry.tables import Decision, Launch, Run, WindowRow
from tasks import drift_detection, window_checks
from tasks.drift_detection import detect_drift
from tests.monitoring.traffic import serve
from tests.pipelines import Trained, define, make_pipeline, make_trips, train
from tests.processes import run_at_once, start_process

DELAY = timedelta(days=1)
_SECTIONS = define(
    extract={"source": "data.parquet", "label_delay": "1 day"},
    monitor={"window": "7 days", "min_rows": 50, "max_loss_increase": 1.0},
    triggers={"policy": "level"},
)


@dataclass(frozen=True)
class Home:
    """A champion of January that is served in February."""

    pipeline: Pipeline
    settings: Settings
    registry: Registry
    trained: Trained

    def serve(self, n_weeks: int, *, noise: float, start: str = "2013-02-01") -> None:
        """Serve weeks of traffic; with a *noise* above 0.5 the champion is mostly wrong."""
        trips = make_trips(24 * 7 * n_weeks, seed=5, noise=noise, start=start)
        serve(self.settings.home, self.registry, self.trained.manifest, trips)

    def detect(self, until: datetime) -> list[CheckedWindow]:
        """Check what is due."""
        return detect_drift(self.pipeline, self.registry, self.settings, until=until)

    def windows(self) -> list[WindowRow]:
        """Return what is recorded of windows."""
        with self.registry.database.read() as session:
            return list_windows(session, "trips")

    def decisions(self) -> list[Decision]:
        """Return what monitoring decided, oldest first."""
        with self.registry.database.read() as session:
            assert first_broken_link(session) is None
            return [decision for decision in reversed(list_decisions(session)) if decision.kind == "trigger"]

    def launches(self) -> list[Launch]:
        """Return the trainings that were granted."""
        with self.registry.database.read() as session:
            return list_launches(session)

    def run(self, as_of: datetime | None, *, status: str | None, owner: str | None = None) -> None:
        """Record a run, as if a training had begun; it has ended where there is a *status*."""
        version = register_pipeline(self.registry, self.pipeline)
        with self.registry.database.write() as session:
            run, _ = begin_run(
                session,
                version,
                parameters={"as_of": None if as_of is None else as_of.isoformat()},
                trigger="performance",
                owner=owner or this_process(),
                lease=timedelta(minutes=1),
            )
            if status is not None:
                finish_run(session, run, status=status, reason="a test wants it")


@pytest.fixture
def home(settings: Settings, registry: Registry, tmp_path: Path) -> Home:
    pipeline = make_pipeline(tmp_path / "trips", make_trips(600), _SECTIONS)
    trained = train(pipeline, settings, as_of=datetime(2013, 1, 27, tzinfo=UTC))
    return Home(pipeline, settings, registry, trained)


def _at(day: int) -> datetime:
    return datetime(2013, 2, day, tzinfo=UTC)


def test_a_healthy_window_asks_for_nothing(home: Home) -> None:
    home.serve(1, noise=0.1)

    (window,) = home.detect(_at(9))

    assert (window.conclusion.outcome, window.decision[0]) == ("healthy", "none")
    (row,) = home.windows()
    assert (row.outcome, row.verdict, row.is_quiet) == ("healthy", "quiet", True)
    assert row.findings["estimate"]["metric"] == "log_loss"
    assert home.decisions() == []


def test_a_bad_window_asks_once_for_a_training_as_of_its_labels(home: Home) -> None:
    home.serve(1, noise=0.9)

    (window,) = home.detect(_at(9))
    again = home.detect(_at(9))

    assert again == []
    assert window.conclusion.outcome == "performance"
    (launch,) = home.launches()
    assert (launch.kind, launch.as_of, launch.reason) == ("performance", _at(9), window.conclusion.reason)
    (decision,) = home.decisions()
    assert (decision.outcome, decision.actor) == ("start", "monitoring")
    assert decision.evidence["window"] == ["2013-02-01T00:00:00+00:00", "2013-02-08T00:00:00+00:00"]
    assert decision.evidence["page"] is not None


def test_windows_that_were_missed_are_checked_in_their_order(home: Home) -> None:
    home.serve(3, noise=0.1)

    checked = home.detect(_at(23))

    assert [window.measured.start for window in checked] == [_at(1), _at(8), _at(15)]
    assert [row.start for row in home.windows()] == [_at(1), _at(8), _at(15)]
    assert [window.page is not None for window in checked] == [False, False, True]


def test_a_model_without_a_champion_has_no_windows(settings: Settings, registry: Registry, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", None)

    assert detect_drift(pipeline, registry, settings, until=_at(9)) == []


@pytest.mark.parametrize(
    ("as_of", "status", "ruling"),
    [
        (None, None, "merge"),
        (_at(9), "kept", "suppress"),
        (_at(9), "promoted", "suppress"),
        (_at(9), "failed", "start"),
        (_at(9), "refused", "start"),
        (_at(2), "kept", "start"),
        (None, "kept", "suppress"),
    ],
    ids=["under way", "kept", "promoted", "failed", "refused", "trained before", "trained on all"],
)
def test_a_training_of_the_same_data_is_not_asked_for_twice(
    as_of: datetime | None, status: str | None, ruling: str, home: Home
) -> None:
    home.serve(1, noise=0.9)
    home.run(as_of, status=status)

    (window,) = home.detect(_at(9))

    assert window.decision[0] == ruling
    assert len(home.launches()) == (1 if ruling == "start" else 0)
    assert [decision.outcome for decision in home.decisions()] == [ruling]


def test_a_run_whose_process_died_holds_nothing_up(home: Home) -> None:
    home.serve(1, noise=0.9)
    host = this_process().rpartition(":")[0].rpartition(":")[0]
    home.run(_at(5), status=None, owner=f"{host}:999999:1")

    (window,) = home.detect(_at(9))

    assert window.decision[0] == "start"
    with home.registry.database.read() as session:
        assert session.exec(select(Run).where(Run.under_way == "trips")).first() is not None


def test_the_cooldown_counts_from_the_moment_of_the_data(home: Home) -> None:
    home.serve(1, noise=0.9)
    spec = home.pipeline.spec
    triggers = spec.triggers.model_copy(update={"cooldown": timedelta(days=14)})
    pipeline = home.pipeline.model_copy(update={"spec": spec.model_copy(update={"triggers": triggers})})

    (window,) = detect_drift(pipeline, home.registry, home.settings, until=_at(9))

    assert window.decision == ("suppress", "trained as of 2013-01-27 00:00, less than the cooldown of 2 weeks ago")


@pytest.mark.parametrize("place", ["take_within", "keep_asking"])
def test_a_monitor_that_dies_leaves_the_window_due_and_its_alarm_unasked_together(place: str, home: Home) -> None:
    home.serve(1, noise=0.9)

    def monitor() -> None:
        vars(window_checks)[place] = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
        home.detect(_at(9))

    child = start_process(monitor)
    child.join(60)

    assert child.exitcode == -signal.SIGKILL
    assert (home.windows(), home.decisions(), home.launches()) == ([], [], [])
    (window,) = home.detect(_at(9))
    assert window.decision[0] == "start"
    assert (len(home.windows()), len(home.launches())) == (1, 1)


def test_two_monitors_at_once_record_each_window_once(home: Home, tmp_path: Path) -> None:
    home.serve(2, noise=0.9)

    def monitor(number: int) -> list[str]:
        registry = open_registry(home.settings)
        checked = detect_drift(home.pipeline, registry, home.settings, until=_at(16))
        return [window.measured.start.isoformat() for window in checked]

    found = run_at_once(2, monitor)

    assert sorted(found[0] + found[1]) == [_at(1).isoformat(), _at(8).isoformat()]
    assert [row.start for row in home.windows()] == [_at(1), _at(8)]
    assert [decision.outcome for decision in home.decisions()] == ["start", "merge"]
    assert len(home.launches()) == 1


@pytest.mark.parametrize("look", ["both", "traffic", "labels"])
def test_a_look_that_was_taken_meanwhile_is_left_to_who_did_it(
    look: Look, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.serve(1, noise=0.9)
    home.detect(_at(9))
    due = iter([[DueLook((_at(1), _at(8)), look)], []])
    monkeypatch.setattr(drift_detection, "due_looks", lambda *_, **__: next(due))

    again = home.detect(_at(9))

    assert again == []
    assert len(home.windows()) == 1
    assert len(home.decisions()) == 1
