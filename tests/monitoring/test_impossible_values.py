"""Claims about impossible values: what the signature rules out is counted, and shown by its rows."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from base.contract_rules import ColumnRule
from base.request_contract import RequestContract
from monitoring.impossible_values import find_examples, find_impossible
from tests.monitoring.alarms.findings import report

_MOMENTS = pd.to_datetime(pd.Series(["2013-01-01", "1970-01-01", None]), utc=True)


@pytest.mark.parametrize(
    ("rule", "values", "is_impossible"),
    [
        (
            {"type": "number", "minimum": 0, "maximum": 9},
            [-1.0, 0.0, 9.0, 9.5, None],
            [True, False, False, True, False],
        ),
        ({"type": "integer", "maximum": 4}, [5.0, 4.0], [True, False]),
        ({"type": "text", "categories": ("a", "b")}, ["a", "c", None], [False, True, False]),
        ({"type": "text", "max_length": 2}, ["ab", "abc", None], [False, True, False]),
        ({"type": "time", "earliest": "2000-01-01"}, _MOMENTS, [False, True, False]),
        ({"type": "time", "latest": "2000-01-01"}, _MOMENTS, [True, False, False]),
    ],
)
def test_what_is_out_of_range_or_no_allowed_category_is_impossible(
    rule: dict[str, Any], values: Any, is_impossible: list[bool]
) -> None:
    contract = RequestContract(columns={"column": ColumnRule(**rule)})

    found = find_impossible(pd.DataFrame({"column": values}), contract)

    assert found["column"].tolist() == is_impossible


@pytest.mark.parametrize(
    ("rule", "values"),
    [
        ({"type": "number", "minimum": 0}, [1.0, 2.0]),
        ({"type": "number", "minimum": 0, "nullable": False}, [1.0, None]),
        ({"type": "text", "categories": ("a",), "personal": "hash"}, ["8f3a", "9bc1"]),
        ({"type": "number", "minimum": 0}, [None, None]),
    ],
    ids=["in range", "missing", "personal", "all missing"],
)
def test_what_is_possible_missing_or_personal_is_left_out(rule: dict[str, Any], values: list[Any]) -> None:
    contract = RequestContract(columns={"column": ColumnRule(**rule)})

    assert find_impossible(pd.DataFrame({"column": values}, dtype=object), contract) == {}


def test_no_rows_are_no_fault() -> None:
    contract = RequestContract(columns={"fare": ColumnRule(type="number", minimum=0), "city": ColumnRule(type="text")})

    assert find_impossible(pd.DataFrame({"fare": pd.Series(dtype=float)}), contract) == {}


def test_an_impossible_value_is_shown_by_a_few_of_its_rows() -> None:
    ids = pd.Series([f"row-{number}" for number in range(20)])
    contract = RequestContract(columns={"fare": ColumnRule(type="number", minimum=0)})
    features = pd.DataFrame({"fare": [-1.0 if number % 2 else 1.0 for number in range(20)]})

    found = find_examples(report(), features, ids, find_impossible(features, contract))

    assert found == {"fare": ("row-1", "row-3", "row-5", "row-7", "row-9")}
