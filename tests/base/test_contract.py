"""Laws of the data contract."""

from __future__ import annotations

import json
import math
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from base.contract import ColumnRule, ColumnType, DataContract
from base.errors import ArgumentError

_KINDS = get_args(ColumnType)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=6,
)
_RULES = st.builds(ColumnRule, type=st.sampled_from(_KINDS), nullable=st.booleans())
_CONTRACTS = st.dictionaries(st.sampled_from("abcd"), _RULES, min_size=1).map(lambda rules: DataContract(columns=rules))
_ROWS = st.lists(st.dictionaries(st.sampled_from(["a", "b", "c", "d", "e", "A"]), _JSON), max_size=6)


@given(contract=_CONTRACTS, rows=_ROWS)
def test_rows_are_good_exactly_when_each_of_them_is(contract: DataContract, rows: list[dict[str, Any]]) -> None:
    faults = contract.find_faults(rows, most=10_000)

    for index, row in enumerate(rows):
        alone = contract.find_faults([row], most=10_000)
        assert [(fault.column, fault.found) for fault in faults if fault.row == index] == [
            (fault.column, fault.found) for fault in alone
        ]


@pytest.mark.slow
@given(contract=_CONTRACTS, rows=_ROWS)
def test_every_fault_names_a_row_what_was_found_and_what_was_expected(
    contract: DataContract, rows: list[dict[str, Any]]
) -> None:
    for fault in contract.find_faults(rows):
        assert fault.row in range(len(rows))
        assert fault.found
        assert fault.expected
        str(fault).encode()


@pytest.mark.slow
@given(contract=_CONTRACTS, rows=_ROWS, most=st.integers(1, 5))
def test_fewer_faults_are_the_first_of_all(contract: DataContract, rows: list[dict[str, Any]], most: int) -> None:
    assert contract.find_faults(rows, most=most) == contract.find_faults(rows, most=10_000)[:most]


@pytest.mark.slow
@given(contract=_CONTRACTS, rows=_ROWS)
def test_a_contract_reads_back_equal_and_judges_alike(contract: DataContract, rows: list[dict[str, Any]]) -> None:
    again = DataContract.model_validate(json.loads(contract.model_dump_json()))

    assert again == contract
    assert again.find_faults(rows) == contract.find_faults(rows)


@given(value=_JSON)
def test_only_null_is_left_out(value: object) -> None:
    rule = ColumnRule(type="text", nullable=False)

    assert (rule.find_fault(value) is None) == (isinstance(value, str))


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        ("number", [0, -1, 1.5, 2**53, 1e300], [True, "1", math.nan, math.inf, 2**53 + 1, [], {}]),
        ("integer", [0, -7, 3.0, -(2**53)], [1.5, False, "1", 2**60, 1e300, math.nan]),
        ("text", ["", "x", "😀\0"], [1, True, ["x"], "\ud800"]),
        ("boolean", [True, False], [0, 1, "true"]),
        (
            "time",
            ["2013-01-01", "2013-01-01T06:00Z", "2013-01-01 06:00:00.5+02:00"],
            ["soon", "2013-13-01", 1, "", "0001-01-01T00:00+05:00"],
        ),
    ],
)
def test_a_type_takes_its_values_and_no_others(kind: ColumnType, good: list[Any], bad: list[Any]) -> None:
    rule = ColumnRule(type=kind)

    assert [value for value in good if rule.find_fault(value)] == []
    assert [value for value in bad if not rule.find_fault(value)] == []


@pytest.mark.parametrize(
    ("rule", "value", "expected"),
    [
        (ColumnRule(type="number", minimum=0), -0.5, ("-0.5", "at least 0")),
        (ColumnRule(type="integer", maximum=9), 10, ("10", "at most 9")),
        (ColumnRule(type="number", nullable=False), None, ("null", "number")),
        (ColumnRule(type="text", categories=("a", "b")), "c", ("'c'", "one of 'a', 'b'")),
        (ColumnRule(type="number"), "x" * 100, (f"'{'x' * 39}… (text)", "number")),
    ],
)
def test_a_fault_says_what_was_found_and_expected(rule: ColumnRule, value: object, expected: tuple[str, str]) -> None:
    assert rule.find_fault(value) == expected


def _deep() -> list[Any]:
    nested: list[Any] = []
    for _ in range(100_000):
        nested = [nested]
    return nested


@pytest.mark.parametrize(
    "value",
    [_deep(), [[0] * 100_000] * 1000, {str(n): n for n in range(10_000)}, "x" * 10_000_000, 10**10_000],
    ids=["deep", "wide", "object", "text", "integer"],
)
def test_a_huge_value_is_described_shortly(value: object) -> None:
    (fault,) = DataContract(columns={"a": ColumnRule(type="boolean")}).find_faults([{"a": value}])

    assert len(fault.found) < 80


def test_a_request_of_unknown_columns_is_not_compared_for_ever() -> None:
    contract = DataContract(columns={f"column_{n}": ColumnRule(type="text") for n in range(50)})
    row = {f"colunm_{n}{'x' * 100_000 * (n % 2)}": 1 for n in range(2_000)}

    faults = contract.find_faults([row], most=20)
    assert len(faults) == 20
    assert max(len(str(fault)) for fault in faults) < 200


@pytest.mark.parametrize(
    "rule",
    [
        {"type": "text", "minimum": 0},
        {"type": "number", "categories": ["a"]},
        {"type": "text", "categories": []},
        {"type": "number", "minimum": 2, "maximum": 1},
        {"type": "number", "minimum": math.nan},
        {"type": "number", "maximum": math.inf},
        {"type": "float"},
        {"type": "text", "regex": "x"},
    ],
)
def test_a_rule_that_means_nothing_is_refused(rule: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        ColumnRule.model_validate(rule)


def test_a_contract_restricted_to_an_unknown_column_names_it() -> None:
    contract = DataContract(columns={"age": ColumnRule(type="number")})

    assert contract.restricted_to(["age"]) == contract
    with pytest.raises(ArgumentError, match=r"the contract has no column 'aeg'; did you mean 'age'\?"):
        contract.restricted_to(["aeg"])
