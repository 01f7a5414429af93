"""Claims about reading rows quickly: what is read is good, and nothing that is read differs from what was sent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.contract import ColumnRule, RowRule
from base.request_contract import RequestContract
from serving.scoring.row_reader import RowReader, values_of

CONTRACT = RequestContract(
    columns={
        "distance": ColumnRule(type="number", nullable=False, minimum=0),
        "passengers": ColumnRule(type="integer", maximum=8.5, severity="warn"),
        "tip": ColumnRule(type="number"),
        "company": ColumnRule(type="text", categories=("blue", "red"), max_length=3),
        "note": ColumnRule(type="text", max_length=5),
        "is_shared": ColumnRule(type="boolean"),
        "my column": ColumnRule(type="time", earliest=datetime(2013, 1, 1, tzinfo=UTC)),
    },
    rules=(
        RowRule(name="seats", expression="passengers <= 4 or not is_shared"),
        RowRule(name="far", expression="distance < 100", severity="warn"),
    ),
)
INPUTS = ["distance", "passengers", "tip", "company", "note", "is_shared", "my column", "from a view"]
READER = RowReader(CONTRACT, INPUTS)

VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.integers(),
    st.floats(),
    st.sampled_from([2**53, 2**53 + 1, -(2**53), 3.0, 1e300, "blue", "red", "green", "2013-05-01T08:00Z", "2012", ""]),
    st.text(max_size=7),
    st.lists(st.integers(), max_size=2),
    st.dictionaries(st.text(max_size=2), st.integers(), max_size=1),
)
ROWS = st.dictionaries(st.sampled_from([*INPUTS, "unknown"]), VALUES, max_size=8)


@given(rows=st.lists(ROWS, min_size=1, max_size=4))
def test_whatever_is_read_has_no_fault_and_no_warning_and_is_read_as_it_is(rows: list[dict[str, Any]]) -> None:
    read = READER.read(rows)

    if read is not None:
        assert CONTRACT.find_faults(rows) == []
        assert CONTRACT.find_warnings(rows) == []
        assert read == values_of(rows, INPUTS)


@given(
    distance=st.floats(0, 99),
    passengers=st.none() | st.integers(-3, 4),
    company=st.sampled_from([None, "red"]),
    note=st.none() | st.text(alphabet="äß€x", max_size=5),
    is_shared=st.none() | st.booleans(),
)
def test_ordinary_rows_are_read(
    distance: float, passengers: int | None, company: str | None, note: str | None, is_shared: bool | None
) -> None:
    row = {
        "distance": distance,
        "passengers": passengers,
        "company": company,
        "note": note,
        "is_shared": is_shared,
        "my column": "2013-05-01T08:00:00Z",
    }

    assert READER.read([row]) == values_of([row], INPUTS)


@pytest.mark.parametrize(
    "row",
    [
        {},
        {"distance": None},
        {"distance": -1},
        {"distance": "3"},
        {"distance": True},
        {"distance": 3, "passengers": 9},
        {"distance": 3, "passengers": True},
        {"distance": 3, "company": "green"},
        {"distance": 3, "company": "blue"},  # longer than the column's texts may be
        {"distance": 3, "note": "longer"},
        {"distance": 3, "is_shared": 1},
        {"distance": 3, "my column": "2012-12-31T23:59Z"},
        {"distance": 3, "my column": "yesterday"},
        {"distance": 3, "passengers": 5, "is_shared": True},
        {"distance": 100},
        {"distance": 3, "unknown": 1},
        {"distance": 3, "from a view": 1},
        {"distance": 2**53 + 1},
        {"distance": float("nan")},
        {"distance": float("inf")},
    ],
    ids=repr,
)
def test_whatever_has_a_fault_or_a_warning_goes_the_thorough_way(row: dict[str, Any]) -> None:
    assert READER.read([{"distance": 1.0}, row]) is None


def test_a_column_named_as_nothing_else_is_read() -> None:
    names = ["class", "f0", "__init__", "a b", "ü", "1"]
    contract = RequestContract(columns={name: ColumnRule(type="number") for name in names})
    row = {name: place for place, name in enumerate(names)}

    read = RowReader(contract, names).read(orjson.loads(orjson.dumps([row])))

    assert read == [(0.0, 1.0, 2.0, 3.0, 4.0, 5.0)]
