"""Windows of served traffic: when each is due, and what it calls for."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from base.settings import Settings
from monitoring.cutting import due_windows, list_windows
from monitoring.live_store import LiveStore
from monitoring.monitored_version import MonitoredVersion
from monitoring.windows import MeasuredWindow, measure_window
from registry.store import Registry, open_registry
from registry.tables import WindowRow
from tests.monitoring.traffic import serve
from tests.pipelines import Trained, define, make_pipeline, make_trips, train

DAY = timedelta(days=1)
WEEK = 7 * DAY


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Trained, Settings]:
    """A champion of January, and the home it lives in."""
    folder = tmp_path_factory.mktemp("windows")
    settings = Settings(home=folder / "home")
    return train(make_pipeline(folder / "trips", make_trips(600)), settings), settings


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A home whose log is empty."""
    return tmp_path / "served"


def _due(
    registry: Registry, home: Path, until: datetime, *, length: timedelta = WEEK, delay: timedelta = DAY
) -> list[str]:
    with registry.database.read() as session:
        windows = due_windows(session, home, "trips", window=length, until=until - delay)
    assert all(stop - start == length for start, stop in windows)
    return [f"{start:%m-%d}" for start, _ in windows]


def _at(month: int, day: int, hour: int = 0) -> datetime:
    return datetime(2013, month, day, hour, tzinfo=UTC)


def _record(registry: Registry, start: datetime, stop: datetime) -> None:
    with registry.database.write() as session:
        session.add(
            WindowRow(model="trips", start=start, stop=stop, n_rows=0, n_labelled=0, outcome="healthy", reason="")
        )


def test_a_window_is_due_when_its_labels_have_had_time_to_come(
    trained: tuple[Trained, Settings], home: Path, registry: Registry
) -> None:
    model, settings = trained
    serve(home, open_registry(settings), model.manifest, make_trips(24 * 20, start="2013-02-01T05:00"))

    assert _due(registry, home, _at(2, 1)) == []
    assert _due(registry, home, _at(2, 8)) == []
    assert _due(registry, home, _at(2, 8, 23)) == []
    assert _due(registry, home, _at(2, 9)) == ["02-01"]
    assert _due(registry, home, _at(2, 16)) == ["02-01", "02-08"]
    assert _due(registry, home, _at(2, 16), delay=timedelta(0)) == ["02-01", "02-08"]
    assert _due(registry, home, _at(12, 31)) == ["02-01", "02-08", "02-15"]


def test_no_window_is_due_twice(trained: tuple[Trained, Settings], home: Path, registry: Registry) -> None:
    model, settings = trained
    serve(home, open_registry(settings), model.manifest, make_trips(24 * 20, start="2013-02-01T05:00"))
    _record(registry, _at(2, 1), _at(2, 8))

    assert _due(registry, home, _at(2, 16)) == ["02-08"]
    _record(registry, _at(2, 8), _at(2, 15))
    assert _due(registry, home, _at(2, 16)) == []
    with registry.database.read() as session:
        assert [window.start for window in list_windows(session, "trips")] == [_at(2, 1), _at(2, 8)]


def test_windows_go_on_from_the_last_one_when_their_length_changes(
    trained: tuple[Trained, Settings], home: Path, registry: Registry
) -> None:
    model, settings = trained
    serve(home, open_registry(settings), model.manifest, make_trips(24 * 20, start="2013-02-01T05:00"))
    _record(registry, _at(2, 1), _at(2, 8))

    assert _due(registry, home, _at(2, 12), length=DAY) == ["02-08", "02-09", "02-10"]


def test_a_stretch_without_traffic_has_no_windows(
    trained: tuple[Trained, Settings], home: Path, registry: Registry
) -> None:
    model, settings = trained
    trips = pd.concat(
        [make_trips(1, start=start) for start in ("1970-01-01", "2013-02-01", "2013-02-03", "2013-05-30")]
    )
    serve(home, open_registry(settings), model.manifest, trips)

    found = _due(registry, home, _at(12, 31))

    assert len(found) == 3
    assert found[0] == "01-01"


def test_without_traffic_nothing_is_due(home: Path, registry: Registry) -> None:
    assert _due(registry, home, _at(12, 31)) == []


@given(
    hours=st.lists(st.integers(0, 24 * 60), min_size=1, max_size=8, unique=True),
    until=st.integers(0, 24 * 90),
    length=st.integers(1, 24 * 20),
    delay=st.integers(0, 24 * 5),
)
@hypothesis_settings(max_examples=25)
def test_due_windows_cover_each_row_that_is_old_enough_once(
    hours: list[int],
    until: int,
    length: int,
    delay: int,
    trained: tuple[Trained, Settings],
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    model, settings = trained
    home, registry = tmp_path_factory.mktemp("due"), open_registry(settings)
    trips = make_trips(len(hours)).assign(at=[_at(2, 1) + timedelta(hours=hour) for hour in hours])
    serve(home, registry, model.manifest, trips, labelled=False)
    now, delayed = _at(2, 1) + timedelta(hours=until), timedelta(hours=delay)

    with registry.database.read() as session:
        windows = due_windows(session, home, "trips", window=timedelta(hours=length), until=now - delayed)

    assert all(stop + delayed <= now for _, stop in windows)
    assert all(first[1] <= second[0] for first, second in pairwise(windows))
    assert all(trips["at"].between(start, stop, inclusive="left").any() for start, stop in windows)
    last = max((stop for _, stop in windows), default=None)
    old = trips["at"] < (last if last is not None else _at(1, 1))
    covered = [any(start <= moment < stop for start, stop in windows) for moment in trips["at"]]
    assert all(found for found, is_old in zip(covered, old, strict=True) if is_old)


def _measure(
    trained: tuple[Trained, Settings],
    home: Path,
    start: datetime,
    *,
    until: datetime | None = None,
    label_delay: timedelta | None = None,
) -> MeasuredWindow:
    model, settings = trained
    registry = open_registry(settings)
    version = MonitoredVersion(1, model.manifest, registry.artifacts)
    store = LiveStore(registry, Settings(home=home), "trips", now=start)
    return measure_window(
        version, store, start=start, stop=start + WEEK, min_rows=50, until=until, label_delay=label_delay
    )


def test_a_window_of_the_same_world_is_healthy(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    serve(home, open_registry(settings), model.manifest, make_trips(24 * 7, seed=5, start="2013-02-01"))

    report = _measure(trained, home, _at(2, 1))

    assert (report.n_rows, report.performance.n_labelled, report.performance.missing) == (168, 168, None)
    assert report.report is not None
    assert report.report.drifted == ()
    assert report.estimate is not None
    assert report.losses is not None
    assert report.losses.losses.mean() == pytest.approx(report.performance.metrics["log_loss"])


def test_a_world_that_turned_round_is_told_by_the_loss(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    turned = make_trips(24 * 7, seed=5, start="2013-02-01", noise=0.9)
    serve(home, open_registry(settings), model.manifest, turned)

    increase = _measure(trained, home, _at(2, 1)).performance.increase

    assert increase is not None
    assert increase > 1


def test_a_world_that_looks_different_is_told_by_its_features(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    moved = make_trips(24 * 7, seed=5, start="2013-02-01").assign(distance=500.0, company="red", passengers=9)
    serve(home, open_registry(settings), model.manifest, moved, labelled=False)

    report = _measure(trained, home, _at(2, 1))

    assert report.report is not None
    assert set(report.report.drifted) >= {"distance", "company", "passengers"}
    assert (report.performance.n_labelled, report.losses) == (0, None)


def test_labels_of_the_future_do_not_judge_a_window(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    trips = make_trips(24 * 7, seed=5, start="2013-02-01")
    serve(home, open_registry(settings), model.manifest, trips, label_delay=3 * DAY)

    early = _measure(trained, home, _at(2, 1), until=_at(2, 8), label_delay=DAY)
    due = _measure(trained, home, _at(2, 1), until=_at(2, 11), label_delay=3 * DAY)

    assert (early.performance.n_matured, early.performance.n_labelled) == (24 * 6 + 1, 24 * 4 + 1)
    assert (due.performance.n_matured, due.performance.n_labelled) == (168, 168)


def test_what_the_estimator_saw_stands_beside_the_row_it_saw_it_in(
    trained: tuple[Trained, Settings], home: Path
) -> None:
    """Also where an id was answered twice, and where only some rows have matured."""
    model, settings = trained
    trips = make_trips(24 * 7, seed=5, start="2013-02-01")
    serve(home, open_registry(settings), model.manifest, trips)
    serve(home, open_registry(settings), model.manifest, trips.iloc[10:20], labelled=False)

    found = _measure(trained, home, _at(2, 1), until=_at(2, 5), label_delay=DAY)

    assert found.n_rows == 178
    assert len(found.labelled) == found.labelled["id"].nunique() == 24 * 3 + 1
    assert found.features["distance"].tolist() == pytest.approx(found.labelled["distance"].tolist())


def test_labels_that_stay_away_are_told(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    trips = pd.concat([make_trips(24 * 14, seed=number, start="2013-02-01") for number in range(3)], ignore_index=True)
    trips["at"] += pd.to_timedelta(range(len(trips)), unit="us")
    is_away = trips["at"] >= pd.Timestamp(_at(2, 12))
    values = zip(trips[model.manifest.target].tolist(), is_away, strict=True)
    trips[model.manifest.target] = pd.Series([None if away else value for value, away in values], index=trips.index)
    serve(home, open_registry(settings), model.manifest, trips)

    before = _measure(trained, home, _at(2, 1))
    report = _measure(trained, home, _at(2, 8))

    assert before.performance.missing is None
    assert report.performance.missing is not None
    assert "0 of 72 matured rows have one on 2013-02-12 and 2 more days" in report.performance.missing
    assert (report.performance.n_labelled, report.performance.n_matured) == (4 * 72, 7 * 72)


def test_a_window_of_few_rows_says_nothing(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    serve(home, open_registry(settings), model.manifest, make_trips(20, start="2013-02-01"))

    report = _measure(trained, home, _at(2, 1))

    assert (report.n_rows, report.drift, report.estimate) == (20, None, None)


def test_rows_that_lack_an_input_are_checked_all_the_same(trained: tuple[Trained, Settings], home: Path) -> None:
    model, settings = trained
    lacking = make_trips(24 * 7, seed=5, start="2013-02-01").drop(columns="passengers")
    serve(home, open_registry(settings), model.manifest, lacking)

    report = _measure(trained, home, _at(2, 1))

    assert report.drift is not None
    assert report.drift.report.not_measured == {"passengers": "no value in the window"}


def test_predictions_and_labels_that_moved_are_told_beside_the_features(
    trained: tuple[Trained, Settings], home: Path
) -> None:
    model, settings = trained
    near = make_trips(24 * 7, seed=5, start="2013-02-01").assign(distance=3.0, late=False)
    serve(home, open_registry(settings), model.manifest, near)

    report = _measure(trained, home, _at(2, 1)).report

    assert report is not None
    prediction, label = report.find("prediction", "prediction"), report.find("late", "label")
    assert prediction is not None
    assert label is not None
    assert (prediction.direction, prediction.p_value < 1e-6) == ("down", True)
    assert (label.has_drifted, label.n_current, label.gone_categories) == (True, 168, ("True",))
    assert "distance" in report.drifted


def test_a_model_with_fitted_features_is_checked(tmp_path: Path) -> None:
    features = """
import pandas as pd

class Rank:
    def fit(self, frame, target):
        self.mean = float(frame["distance"].mean())
    def transform(self, frame):
        return frame.assign(beyond=frame["distance"] - self.mean)
"""
    settings = Settings(home=tmp_path / "home")
    definition = define(prepare={"features": [], "fitted": ["features:Rank"]})
    pipeline = make_pipeline(tmp_path / "trips", make_trips(600), definition, features=features)
    model = train(pipeline, settings)
    serve(settings.home, open_registry(settings), model.manifest, make_trips(24 * 7, seed=5, start="2013-02-01"))

    report = _measure((model, settings), settings.home, _at(2, 1))

    assert report.report is not None
    assert report.report.find("beyond") is not None
