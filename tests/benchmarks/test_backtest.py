"""Claims about the benchmark of backtests: its pipeline is one, and its figures say what they were measured against."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from base.definition import read_pipeline
from benchmarks import backtest_engine
from benchmarks.backtest import PERIODS, all_policies
from benchmarks.backtest_engine import report_engine, write_pipeline
from benchmarks.policy_replay import DEFAULT
from tasks.backtest.policies import choose_policies


@pytest.fixture
def bookings(tmp_path: Path) -> Path:
    """Rows like the shared data set's: in the order of time, with what would give the target away."""
    draw = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "row_seq": np.arange(900),
            "event_time": pd.date_range("2016-01-01", periods=900, freq="h"),
            "hotel": draw.choice(["City", "Resort"], 900),
            "adr": draw.gamma(4.0, 25.0, 900),
            "is_canceled": draw.integers(0, 2, 900),
            "assigned_room_type": "A",
        }
    )
    frame["reservation_status"] = np.where(frame["is_canceled"] == 1, "Canceled", "Check-Out")
    frame["reservation_status_date"] = frame["event_time"]
    frame.to_parquet(tmp_path / "source.parquet")
    write_pipeline(tmp_path / "source.parquet", tmp_path / "bookings", n_rows=300)
    return tmp_path / "bookings"


def test_the_slice_spans_all_of_the_time_and_holds_no_leak(bookings: Path) -> None:
    rows = pq.read_table(bookings / "data.parquet").to_pandas()

    assert len(rows) == 300
    assert {"reservation_status", "reservation_status_date", "assigned_room_type", "row_seq"}.isdisjoint(rows.columns)
    assert rows["event_time"].is_monotonic_increasing
    assert rows["event_time"].max() - rows["event_time"].min() == pd.Timedelta(hours=899)


def test_the_definition_compares_eight_policies(bookings: Path) -> None:
    assert len(choose_policies(read_pipeline(bookings / "pipeline.yaml"))) == 8


def _ran(cpu: float, n_fits: int) -> dict[str, Any]:
    decided = {"never": [{"asked": None}], "every window": [{"asked": "schedule"}]}
    sizes = {"n_rows": 45_000, "n_windows": 100, "n_policies": 8, "n_trainings": 230}
    return {"seconds": cpu / 2, "cpu": cpu, "n_fits": n_fits, "decisions": decided, **sizes}


def test_the_saving_is_of_computing_and_not_of_waiting() -> None:
    figures = {each.name: each for each in report_engine([_ran(200.0, 150)], [_ran(700.0, 600)])}

    assert figures["seconds_45k"].value == 100
    assert figures["compute_saving"].value == 3.5
    assert "700 s" in figures["compute_saving"].against
    assert "600" in figures["fits"].against


def test_runs_that_decide_differently_are_no_measurement(bookings: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = _ran(700.0, 600)
    other["decisions"] = {**other["decisions"], "never": [{"asked": "person"}]}
    ran = iter([_ran(200.0, 150), other])
    (bookings.parent / "source.parquet").rename(bookings.parent / "hotel_bookings.parquet")
    monkeypatch.setattr(backtest_engine, "find_data", lambda: bookings.parent)
    monkeypatch.setattr(backtest_engine, "_run", lambda *_: next(ran))

    with pytest.raises(RuntimeError, match="decide differently: never"):
        backtest_engine.measure_engine(1)


def test_the_default_stands_beside_every_fixed_period_and_the_field() -> None:
    names = set(all_policies())

    assert {f"every {period}" for period in PERIODS[1:]} | {"always", "never", DEFAULT} <= names
    assert sum("errors" in name or "Evidently" in name for name in names) == 4
