"""Claims about watches: due when they should be, once for each thing that happened."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.sources.arrivals import Arrivals
from base.triggers_spec import TriggersSpec
from monitoring.watches.due import Seen, find_due

NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


def _seen(**more: Any) -> Seen:
    facts: dict[str, Any] = {
        "now": NOON,
        "champion": 3,
        "trained_at": NOON - timedelta(days=10),
        "snapshot": "ab12",
    }
    return Seen(**(facts | more))


@pytest.mark.parametrize(
    ("spec", "seen", "expected"),
    [
        ({}, {"arrivals": Arrivals(10**9, 10**9, NOON)}, []),
        ({"new_data": "1000 rows"}, {"arrivals": Arrivals(999)}, []),
        ({"new_data": "1000 rows"}, {"arrivals": Arrivals(1000)}, ["new_data"]),
        ({"new_data": "1000 rows"}, {"arrivals": Arrivals(why_not="cannot")}, []),
        ({"new_data": "1000 rows"}, {"arrivals": Arrivals(1000), "snapshot": None}, []),
        ({"new_data": "5 MB"}, {"arrivals": Arrivals(1, 5_000_000)}, ["new_data"]),
        ({"new_data": "5 MB"}, {"arrivals": Arrivals(10**9, None)}, []),
        ({"staleness": "11 days"}, {}, []),
        ({"staleness": "10 days"}, {}, ["staleness"]),
        ({"expect_data": "1 day"}, {"arrivals": Arrivals(0, 0, NOON - timedelta(days=1))}, []),
        ({"expect_data": "1 day"}, {"arrivals": Arrivals(0, 0, NOON - timedelta(days=2))}, ["missing_data"]),
        ({"expect_data": "1 day"}, {"arrivals": Arrivals(0, 0, None)}, []),
        ({"expect_labels": "1 day"}, {"last_labels": NOON - timedelta(days=2)}, ["missing_data"]),
        ({"expect_labels": "1 day"}, {"last_labels": None}, []),
        ({"on_change": True}, {"changed_to": "cd34"}, ["code"]),
        ({"on_change": False}, {"changed_to": "cd34"}, []),
        ({"staleness": "1 day", "new_data": "1 row"}, {"champion": None, "arrivals": Arrivals(9)}, []),
    ],
)
def test_a_watch_is_due_when_what_it_waits_for_has_come(
    spec: dict[str, Any], seen: dict[str, Any], expected: list[str]
) -> None:
    assert [due.kind for due in find_due(TriggersSpec.model_validate(spec), _seen(**seen))] == expected


@given(st.integers(1, 10_000), st.integers(1, 100_000), st.integers(1, 10_000))
def test_as_many_new_rows_again_ask_again_and_fewer_do_not(limit: int, n_rows: int, more: int) -> None:
    spec = TriggersSpec.model_validate({"new_data": f"{limit} rows"})

    keys = [{due.key for due in find_due(spec, _seen(arrivals=Arrivals(number)))} for number in (n_rows, n_rows + more)]

    assert (keys[0] == keys[1]) == (n_rows // limit == (n_rows + more) // limit)


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=30))
def test_a_silence_is_told_once_however_long_it_lasts(seconds: list[int]) -> None:
    spec = TriggersSpec(expect_data=timedelta(hours=1))
    last = NOON - timedelta(hours=2)

    keys = {
        due.key
        for each in seconds
        for due in find_due(spec, _seen(now=NOON + timedelta(seconds=each), arrivals=Arrivals(0, 0, last)))
    }

    assert len(keys) == 1
