"""Claims about section `monitor`: what people write is what is meant, and it reads back equal."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base.monitor_spec import AlarmBudget, Confirmation, MonitorSpec, RowCount


def test_a_definition_of_before_means_what_it_meant() -> None:
    spec = MonitorSpec.model_validate(
        {"window": "7 days", "min_rows": 200, "max_drifted_share": 0.5, "max_loss_increase": 0.1}
    )

    assert spec == MonitorSpec()
    assert (spec.window, spec.period) == (timedelta(days=7), timedelta(days=7))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ({"window": "5000 rows"}, {"window": RowCount(5000)}),
        ({"window": "10_000 rows"}, {"window": RowCount(10_000)}),
        ({"window": "1 row"}, {"window": RowCount(1)}),
        ({"window": "12 hours"}, {"window": timedelta(hours=12)}),
        ({"false_alarms": "at most 2 per year"}, {"false_alarms": AlarmBudget(2, "year")}),
        ({"false_alarms": "0.5 a month"}, {"false_alarms": AlarmBudget(0.5, "month")}),
        ({"confirm": "2 of 3"}, {"confirm": Confirmation(2, 3)}),
        ({"mute": "windspeed"}, {"mute": ("windspeed",)}),
    ],
)
def test_what_people_write_is_what_is_meant(written: dict[str, Any], meant: dict[str, Any]) -> None:
    spec = MonitorSpec.model_validate(written)

    assert {name: getattr(spec, name) for name in meant} == meant


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ({"window": "0 rows"}, "expected greater than 0"),
        ({"window": "soon"}, "expected a duration such as '7 days' or '12 hours' or '5000 rows', got 'soon'"),
        ({"window": 5}, "got 5"),
        ({"false_alarms": "0 per quarter"}, "such as '1 per quarter', got '0 per quarter'"),
        ({"false_alarms": 1}, "such as '1 per quarter', got 1"),
        ({"confirm": "3 of 2"}, "such as '2 of 3', got '3 of 2'"),
        ({"thresholds": {"age": 0.0}}, "expected an effect above 0 for column 'age'"),
        ({"every": "0 days"}, "greater than"),
        ({"windows": "7 days"}, "Extra inputs"),
    ],
)
def test_what_means_nothing_is_refused_with_what_was_expected(written: dict[str, Any], told: str) -> None:
    with pytest.raises(ValidationError, match=told):
        MonitorSpec.model_validate(written)


def test_a_window_of_rows_is_looked_for_every_hour_unless_told() -> None:
    assert MonitorSpec(window="5000 rows").period == timedelta(hours=1)
    assert MonitorSpec(window="5000 rows", every="6 hours").period == timedelta(hours=6)


@given(
    window=st.one_of(
        st.integers(1, 10**9).map(RowCount), st.timedeltas(min_value=timedelta(seconds=1), max_value=timedelta(400))
    ),
    number=st.floats(0.01, 1000).map(lambda value: round(value, 2)),
    period=st.sampled_from(["day", "week", "month", "quarter", "year"]),
    among=st.integers(1, 20),
)
def test_a_section_reads_back_equal(window: Any, number: float, period: str, among: int) -> None:
    spec = MonitorSpec(
        window=window, false_alarms=AlarmBudget(number, period), confirm=Confirmation((among + 1) // 2, among)
    )

    assert MonitorSpec.model_validate_json(spec.model_dump_json()) == spec
    assert MonitorSpec.model_validate(spec.model_dump()) == spec
