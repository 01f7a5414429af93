"""The contract as a suite, in this process and in one of its own."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import psutil
import pytest

from base.contract import ColumnRule, DataContract
from base.expectations import ExpectationsFailed, ExpectationsProcess, compile_suite, run_suite

_CONTRACT = DataContract(
    columns={
        "age": ColumnRule(type="integer", nullable=False, minimum=0, maximum=120),
        "city": ColumnRule(type="text", categories=("Rome", "Oslo")),
        "at": ColumnRule(type="time"),
    },
    unique=("at",),
)


@pytest.fixture
def people(tmp_path: Path) -> Path:
    frame = pd.DataFrame(
        {
            "age": pd.array([3, -1, None, 200], dtype="Int64"),
            "city": ["Rome", None, "Bonn", "Oslo"],
            "at": pd.to_datetime(pd.Series(["2013-01-01", "2013-01-01", None, "2013-01-02"]), utc=True),
        }
    )
    frame.to_parquet(tmp_path / "people.parquet")
    return tmp_path / "people.parquet"


def test_each_rule_is_judged_and_counted(people: Path) -> None:
    results = run_suite(compile_suite(_CONTRACT, name="people", min_rows=5), people)

    found = {(result.type.removeprefix("expect_"), result.arguments.get("column")): result for result in results}
    assert {name: (result.success, result.n_unexpected) for name, result in found.items()} == {
        ("table_row_count_to_be_between", None): (False, 0),
        ("column_values_to_not_be_null", "age"): (False, 1),
        ("column_values_to_be_between", "age"): (False, 2),
        ("column_values_to_be_in_set", "city"): (False, 1),
        ("column_values_to_be_unique", "at"): (False, 2),
    }
    assert not any(result.error for result in results)


def test_a_process_of_its_own_gives_the_same_results_wherever_it_is_started(
    people: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = compile_suite(_CONTRACT, name="people", min_rows=5)
    (people.parent / "base.py").write_text("raise ImportError('not the package of that name')")
    monkeypatch.chdir(people.parent)

    with _started() as process:
        assert process.run(suite, people) == run_suite(suite, people)


def test_long_identifiers_with_gaps_are_not_taken_for_duplicates(tmp_path: Path) -> None:
    file = tmp_path / "people.parquet"
    pd.DataFrame({"id": pd.array([2**53, 2**53 + 1, None], dtype="Int64")}).to_parquet(file)
    contract = DataContract(columns={"id": ColumnRule(type="integer")}, unique=("id",))

    results = run_suite(compile_suite(contract, name="people", min_rows=1), file)

    assert all(result.success for result in results)


def test_a_suite_without_columns_still_counts_the_rows(people: Path) -> None:
    suite = {"name": "people", "expectations": [_expectation("expect_table_row_count_to_be_between", min_value=4)]}

    assert [result.success for result in run_suite(suite, people)] == [True]


def test_an_expectation_that_is_not_known_is_refused_and_not_dropped(people: Path) -> None:
    suite = {"name": "people", "expectations": [_expectation("expect_column_values_to_be_nice", column="age")]}

    with pytest.raises(ExpectationsFailed, match="does not know expect_column_values_to_be_nice"):
        run_suite(suite, people)


def test_an_expectation_that_cannot_be_judged_says_why(people: Path) -> None:
    suite = {
        "name": "people",
        "expectations": [_expectation("expect_column_values_to_be_between", column="city", min_value=1)],
    }

    (result,) = run_suite(suite, people)

    assert not result.success
    assert result.error


def test_a_child_that_is_killed_is_told(people: Path) -> None:
    with _started() as process:
        os.kill(_child().pid, signal.SIGKILL)

        with pytest.raises(ExpectationsFailed, match="ended with code -9"):
            process.run(compile_suite(_CONTRACT, name="people", min_rows=1), people)


def test_a_child_that_is_not_asked_is_closed() -> None:
    with _started():
        child = _child()

    assert not child.is_running()


def test_no_child_is_started_where_great_expectations_is_imported(people: Path) -> None:
    run_suite(compile_suite(_CONTRACT, name="people", min_rows=1), people)

    with ExpectationsProcess():
        assert _children() == []


def _started() -> ExpectationsProcess:
    """Start a child, although Great Expectations may be imported here already."""
    process = ExpectationsProcess()
    imported = sys.modules.pop("great_expectations", None)
    try:
        process.start()
    finally:
        if imported is not None:
            sys.modules["great_expectations"] = imported
    return process


def _child() -> psutil.Process:
    (child,) = _children()
    return child


def _children() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [child for child in children if "base.expectations" in child.cmdline()]


def _expectation(kind: str, **arguments: Any) -> dict[str, Any]:
    return {"type": kind, "kwargs": arguments}
