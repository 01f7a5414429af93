"""Claims about the budget: what one window may use up, however many windows, columns and bursts there are."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.monitor_spec import AlarmBudget, MonitorSpec
from monitoring.alarms.budget import adapt, count_windows, split_budget
from monitoring.alarms.multiplicity import adjust_family


@given(st.floats(0.01, 10), st.floats(13, 10_000))
def test_the_windows_of_a_quarter_use_up_the_budget_and_no_more(number: float, windows: float) -> None:
    levels = split_budget(AlarmBudget(number, "quarter"), windows)

    assert (levels.columns + levels.labels + levels.loss) * windows <= number * 1.000001


def test_shorter_windows_have_a_stricter_level() -> None:
    hourly, weekly = (
        split_budget(AlarmBudget(1, "quarter"), count_windows(MonitorSpec(window=window)))
        for window in ("1 hour", "7 days")
    )

    assert hourly.columns == pytest.approx(weekly.columns / 168)


def test_a_window_of_rows_is_counted_by_how_long_the_last_ones_lasted() -> None:
    spec = MonitorSpec(window="5000 rows")

    assert count_windows(spec, [timedelta(days=3), timedelta(days=1), timedelta(days=2)]) == pytest.approx(
        45.66, abs=0.01
    )
    assert count_windows(spec) > count_windows(spec, [timedelta(days=1)])


@given(st.lists(st.floats(0, 1), min_size=1, max_size=40))
def test_an_adjusted_p_value_is_never_smaller_and_keeps_the_order(p_values: list[float]) -> None:
    family = {str(number): p for number, p in enumerate(p_values)}

    adjusted = adjust_family(family)

    assert all(adjusted[name] >= family[name] for name in family)
    assert min(adjusted.values()) == pytest.approx(min(1.0, min(p_values) * len(p_values)))
    ordered = sorted(family, key=lambda name: family[name])
    assert [adjusted[name] for name in ordered] == sorted(adjusted.values())


def test_the_chance_that_any_of_many_equal_columns_is_called_is_the_level() -> None:
    draw = np.random.default_rng(0)

    called = sum(
        min(adjust_family({str(n): p for n, p in enumerate(draw.random(50))}).values()) <= 0.05 for _ in range(2_000)
    )

    assert 60 <= called <= 140


def test_bursts_that_no_history_knows_come_as_often_as_the_budget_allows() -> None:
    """Every tenth window shows something new of any size: after the first ones the level is strict enough."""
    draw = np.random.default_rng(0)
    level, strictness, n_alarms, n_windows = 0.01, 0.0, 0, 5_000
    for _ in range(n_windows):
        p_value = 10 ** -draw.exponential(3.0) if draw.random() < 0.1 else 1.0
        is_false = p_value <= level * 10**-strictness
        n_alarms += is_false
        strictness = adapt(strictness, level, is_false=is_false)

    assert n_alarms / n_windows == pytest.approx(level, rel=0.3)
