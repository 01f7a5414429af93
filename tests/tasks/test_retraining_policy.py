"""Claims about when live traffic asks for a training: broken data never, a changed world when it is worth its price."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.settings import Settings
from monitoring.checking import CheckedWindow
from monitoring.cutting import list_windows
from registry.alarms import list_alarms
from registry.runs import StepKey, record_step
from registry.store import Registry, open_registry
from registry.tables import Run, WindowRow
from tasks.drift_detection import detect_drift
from tests.monitoring.traffic import serve
from tests.pipelines import define, make_pipeline, make_trips, train

pytestmark = pytest.mark.usefixtures("plain_pages")

START = datetime(2013, 3, 1, tzinfo=UTC)
WEEK = timedelta(days=7)
N_ROWS = 4 * 24 * 7

Serve = Callable[[pd.DataFrame], pd.DataFrame]


def _week(number: int, *, noise: float = 0.1) -> pd.DataFrame:
    """A week with a trip every quarter of an hour."""
    trips = make_trips(N_ROWS, seed=100 + number, noise=noise)
    moments = pd.date_range(START + number * WEEK, periods=N_ROWS, freq="15min", tz="UTC")
    return trips.assign(at=moments.as_unit("us"))


def _watch(
    tmp_path: Path,
    settings: Settings,
    registry: Registry,
    weeks: list[pd.DataFrame],
    *,
    n_trained: int = 1500,
    **triggers: Any,
) -> list[CheckedWindow]:
    """Train a champion, serve weeks, and let each be checked when it is over."""
    definition = define(monitor={"window": "7 days", "min_rows": 50}, triggers=triggers)
    pipeline = make_pipeline(tmp_path / "trips", make_trips(n_trained), definition)
    trained = train(pipeline, settings)
    with registry.database.write() as session:
        run = session.get_one(Run, trained.run_id)
        output = trained.judged.data.model_dump(mode="json")
        record_step(session, run=run, step="prepare", key=StepKey("", "", {}, ""), output=output, seconds=1.0)
    found = []
    for number, rows in enumerate(weeks):
        serve(settings.home, registry, trained.manifest, rows)
        found += detect_drift(pipeline, registry, settings, until=START + (number + 1) * WEEK)
    return found


def _asked(found: list[CheckedWindow]) -> list[bool]:
    return [window.taken is not None for window in found]


def test_a_world_that_turned_round_asks_when_a_fresh_model_would_have_paid(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number, noise=0.1 if number < 2 else 0.9) for number in range(6)]

    found = _watch(tmp_path, settings, registry, weeks, price=0.2)

    assert _asked(found[:3]) == [False] * 3  # in the first bad week nobody could have known better
    assert any(_asked(found[3:]))
    asked = next(window for window in found if window.taken is not None)
    assert asked.policy is not None
    assert (asked.policy.method, asked.conclusion.outcome) == ("paired", "performance")
    assert "a training would have spared" in asked.conclusion.reason
    with registry.database.read() as session:
        rows = list_windows(session, "trips")
        kinds = {alarm.kind for alarm in list_alarms(session, "trips")}
    assert rows[-1].findings["policy"]["decision"]["price"] == 0.2
    assert "performance" in kinds


def test_what_is_dear_is_asked_for_later(tmp_path: Path, settings: Settings, registry: Registry) -> None:
    weeks = [_week(number, noise=0.1 if number < 1 else 0.9) for number in range(5)]

    cheap = _asked(_watch(tmp_path / "cheap", settings, registry, weeks, price=0.1))
    other = Settings(home=tmp_path / "other")
    dear = _asked(_watch(tmp_path / "dear", other, open_registry(other), weeks, price=50))

    assert (any(cheap), any(dear)) == (True, False)


def _in_metres(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(distance=rows["distance"] * 1000)


def _without_distance(rows: pd.DataFrame) -> pd.DataFrame:
    return rows.assign(distance=rows["distance"].where(rows.index % 3 == 0))


@pytest.mark.parametrize(("spoil", "broken"), [(_in_metres, "distance"), (_without_distance, "distance")])
def test_broken_data_is_told_with_its_rows_and_asks_for_nothing(
    spoil: Serve, broken: str, tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number) for number in range(3)] + [spoil(_week(3))]

    found = _watch(tmp_path, settings, registry, weeks, price=0.02)

    last = found[-1]
    assert (last.conclusion.outcome, last.taken) == ("broken data", None)
    assert broken in last.conclusion.reason
    assert last.measured.facts.examples[broken]


def test_a_training_that_broken_data_has_kept_back_is_asked_for_in_the_next_week(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number, noise=0.1 if number < 2 else 0.9) for number in range(6)]
    undisturbed = Settings(home=tmp_path / "undisturbed")
    asking = _asked(_watch(tmp_path / "one", undisturbed, open_registry(undisturbed), weeks, price=0.2)).index(True)
    weeks[asking] = _in_metres(weeks[asking])

    found = _watch(tmp_path / "other", settings, registry, weeks, price=0.2)

    before, broken, after = found[asking - 1 : asking + 2]
    assert (broken.conclusion.outcome, broken.taken, broken.policy) == ("broken data", None, None)
    assert before.policy is not None
    assert after.policy is not None
    assert after.policy.decision.excess == pytest.approx(before.policy.state.excess + after.policy.decision.added)
    assert _asked(found)[: asking + 2] == [False] * (asking + 1) + [True]


def test_quiet_weeks_ask_for_nothing_and_are_remembered_as_usual(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    found = _watch(tmp_path, settings, registry, [_week(number) for number in range(5)], n_trained=3000, price=0.2)

    assert _asked(found) == [False] * 5
    with registry.database.read() as session:
        rows: list[WindowRow] = list_windows(session, "trips")
    assert all(row.is_quiet for row in rows)
    assert rows[-1].findings["estimate"]["value"] > 0


def test_a_week_without_labels_does_not_make_the_policy_forget(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number, noise=0.1 if number < 1 else 0.9) for number in range(6)]
    weeks[4] = weeks[4].assign(late=pd.Series([None] * N_ROWS, dtype="boolean"))

    found = _watch(tmp_path, settings, registry, weeks, price=50)

    before, without, after = (window.policy for window in found[3:])
    assert without is None
    assert before is not None
    assert after is not None
    assert before.state.excess > 0
    assert after.state.excess == pytest.approx(max(0.0, before.state.excess + after.decision.added))


def test_pages_of_quiet_windows_are_kept_until_the_next_look_only(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number) for number in range(3)] + [_in_metres(_week(3)), _week(4)]

    _watch(tmp_path, settings, registry, weeks, n_trained=3000, price=50)

    with registry.database.read() as session:
        rows = list_windows(session, "trips")
    assert [row.findings["page"] is not None for row in rows] == [False, False, False, True, True]


def test_a_policy_of_none_raises_alarms_and_asks_for_nothing(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number, noise=0.1 if number < 2 else 0.9) for number in range(5)]

    found = _watch(tmp_path, settings, registry, weeks, policy="none")

    assert _asked(found) == [False] * 5
    with registry.database.read() as session:
        assert "performance" in {alarm.kind for alarm in list_alarms(session, "trips")}


def test_the_sequential_policy_asks_while_its_alarm_stands(
    tmp_path: Path, settings: Settings, registry: Registry
) -> None:
    weeks = [_week(number, noise=0.1 if number < 2 else 0.9) for number in range(4)]

    found = _watch(tmp_path, settings, registry, weeks, policy="sequential")

    alarms = ["performance" in {alarm.kind for alarm in each.judged.judgement.alarms} for each in found]
    assert _asked(found) == alarms
    assert any(alarms)
    assert not any(alarms[:2])
