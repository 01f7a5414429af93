"""Row rules: one expression, the same answer in DuckDB and in Python, and every other language refused."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st
from pydantic import ValidationError

from base.contract import ColumnRule, DataContract, RowRule
from base.json_values import ColumnType
from base.rows.duck import open_duckdb
from base.validation.row_expressions import compile_expression

TYPES: dict[str, ColumnType] = {
    "a": "number",
    "b": "integer",
    "name": "text",
    "is on": "boolean",
    "start": "time",
    "end": "time",
}
_DUCK_TYPES = {"number": "DOUBLE", "integer": "BIGINT", "text": "VARCHAR", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ"}
_NUMBERS = st.sampled_from(["a", "b", "0", "1", "-2.5", "3", "1e3", "null"])
_ARITHMETIC = st.recursive(
    _NUMBERS, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from("+-*/"), inner), max_leaves=4
)
_TEXTS = st.sampled_from(["name", "'x'", '"it\'s"', "null"])
_TIMES = st.sampled_from(["start", "end", "'2020-01-01'", "'2020-06-01T12:00+02:00'"])
_SIGN = st.sampled_from(["==", "!=", "<", "<=", ">", ">="])
_COMPARISONS = st.one_of(
    st.builds("{} {} {}".format, _ARITHMETIC, _SIGN, _ARITHMETIC),
    st.builds("{} {} {} {} {}".format, _NUMBERS, _SIGN, _ARITHMETIC, _SIGN, _NUMBERS),
    st.builds("name {} {}".format, _SIGN, _TEXTS),
    st.builds("start {} {}".format, _SIGN, _TIMES),
    st.builds("{} is {}null".format, _ARITHMETIC | _TEXTS, st.sampled_from(["", "not "])),
    st.builds("b {} (1, 2, {})".format, st.sampled_from(["in", "not in"]), _NUMBERS),
    st.sampled_from(["`is on`", "true", "`is on` == false"]),
)
_CONDITIONS = st.recursive(
    _COMPARISONS,
    lambda inner: (
        st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner)
        | st.builds("(not ({}))".format, inner)
    ),
    max_leaves=4,
)
_ROWS = st.fixed_dictionaries(
    {
        "a": st.none() | st.integers(-3, 3).map(lambda n: n / 2),
        "b": st.none() | st.integers(-3, 3),
        "name": st.none() | st.sampled_from(["x", "it's", "", "é"]),
        "is on": st.none() | st.booleans(),
        "start": st.none() | st.sampled_from(["2020-01-01T00:00:00+00:00", "2020-06-01T10:00:00Z"]),
        "end": st.none() | st.just("2021-01-01"),
    }
)


@pytest.mark.slow
@cases(max_examples=60)
@given(text=_CONDITIONS, rows=st.lists(_ROWS, min_size=1, max_size=8))
def test_sql_and_python_judge_every_row_alike(text: str, rows: list[dict[str, Any]]) -> None:
    expression = compile_expression(text, TYPES)
    columns = ", ".join(f'CAST(? AS {_DUCK_TYPES[kind]}) AS "{name}"' for name, kind in TYPES.items())
    union = " UNION ALL ".join(f"SELECT {index} AS number, {columns}" for index in range(len(rows)))

    with open_duckdb() as connection:
        values = [row[name] for row in rows for name in TYPES]
        query = f"SELECT {expression.sql} FROM ({union}) ORDER BY number"
        in_sql = [answer for (answer,) in connection.execute(query, values).fetchall()]

    assert [expression.evaluate(row) for row in rows] == in_sql


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a > ", "'a >', character 1: expected an expression"),
        ("a = 1", "character 3: expected an expression such as 'a + b > 0' (== compares)"),
        ("c > 1", "character 1: found 'c', expected a column"),
        ("nome == 'x'", "character 1: found 'nome', expected a column; did you mean 'name'?"),
        ("b + 1 > name", "character 9: found a text, expected a number"),
        ("name + 1 > 2", "character 1: found a text, expected a number to compute with"),
        ("a", "found a number, expected a condition"),
        ("len(name) > 3", "character 1: found a function call"),
        ("__import__('os').system('x')", "found a function call"),
        ("name.upper() == 'X'", "found a function call"),
        ("a ** 9 > 1", "found the operation pow"),
        ("a if b else 1", "found ifexp"),
        ("[a for a in b]", "found listcomp"),
        ("(lambda: 1)() > 0", "found a function call"),
        ("start > 'soon'", "character 9: found 'soon', expected a moment"),
        ("`is on` and `no` > 1", "character 13: found 'no', expected a column"),
        ("é > 1", "character 1"),
        ("a is b", "character 6: found a value, expected null"),
        ("b in name", "expected a list of values"),
        ("a > 1e999", "expected a finite number"),
        ("not " * 60 + "`is on`", "nested deeper"),
        ("(" * 300 + "a" + ")" * 300 + " > 1", "expected"),
        ("a > 1 or " * 400 + "a > 1", "3,605 characters, expected at most 2,000"),
    ],
)
def test_what_is_no_rule_is_refused_with_its_place(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=re.escape(told)):
        compile_expression(text, TYPES)


CONTRACT = DataContract(
    columns={"adults": ColumnRule(type="integer"), "children": ColumnRule(type="integer")},
    rules=[
        RowRule(name="guests", expression="adults + children > 0"),
        RowRule(name="few", expression="adults < 10", severity="warn"),
    ],
)


@pytest.mark.parametrize(
    ("row", "faults", "warnings"),
    [
        ({"adults": 1, "children": 0}, [], []),
        (
            {"adults": 0, "children": 0},
            ["row 0: found adults 0, children 0, expected adults + children > 0 (rule 'guests')"],
            [],
        ),
        ({"adults": 0, "children": None}, [], []),
        ({"adults": 0}, [], []),
        ({"adults": 20, "children": 0}, [], ["row 0: found adults 20, expected adults < 10 (rule 'few')"]),
        ({"adults": "two", "children": 0}, ["row 0, column 'adults': found 'two' (text), expected integer"], []),
    ],
    ids=["kept", "broken", "null", "left out", "warning", "wrong type"],
)
def test_a_row_breaks_a_rule_only_by_a_plain_no(row: dict[str, Any], faults: list[str], warnings: list[str]) -> None:
    assert [str(fault) for fault in CONTRACT.find_faults([row])] == faults
    assert [str(fault) for fault in CONTRACT.find_warnings([row])] == warnings


def test_a_rule_is_kept_where_all_its_columns_are() -> None:
    assert [rule.name for rule in CONTRACT.restricted_to(["adults"]).rules] == ["few"]


@pytest.mark.parametrize(
    "part",
    [
        {"rules": [{"name": "x", "expression": "adults > 'two'"}]},
        {"rules": [{"name": "x", "expression": "1 > 0"}]},
        {"rules": [{"name": "x", "expression": "adults > 0"}] * 2},
        {"unique": [["adults", "adults"]]},
        {"unique": [[]]},
        {"unique": "adlts"},
        {"expectations": [{"type": "median"}]},
        {"distinct_rows": "sometimes"},
    ],
)
def test_a_part_that_means_nothing_is_refused(part: dict[str, Any]) -> None:
    columns = {"adults": {"type": "integer"}}

    with pytest.raises(ValidationError):
        DataContract.model_validate({"columns": columns} | part)


def test_one_unique_column_needs_no_list() -> None:
    columns = {"adults": {"type": "integer"}, "day": {"type": "time"}}

    assert DataContract.model_validate({"columns": columns, "unique": "day"}).keys == (("day",),)
    assert DataContract.model_validate({"columns": columns, "unique": ["day", ["day", "adults"]]}).keys == (
        ("day",),
        ("day", "adults"),
    )
