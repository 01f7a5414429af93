"""Great Expectations judges counts, in this process and in one of its own."""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

import psutil
import pytest

from base.contract import ColumnRule, DataContract, ExpectationRule
from base.errors import DefinitionError
from base.expectations.asking import ExpectationsFailed, ExpectationsProcess, Question
from base.expectations.counted_suite import SuiteCounts
from base.expectations.suite_runs import judge_counts
from base.expectations.suites import compile_suite

_CONTRACT = DataContract(
    columns={
        "age": ColumnRule(type="integer", nullable=False, minimum=0, maximum=120),
        "city": ColumnRule(type="text", categories=("Rome", "Oslo"), max_length=9),
        "at": ColumnRule(type="time"),
    },
    unique=("at", ("age", "city")),
)
_COUNTS = SuiteCounts(
    n_rows=4,
    unexpected={
        "column_values.nonnull|age": 1,
        "column_values.nonnull|city": 1,
        "column_values.nonnull|at": 1,
        "column_values.between|age": 2,
        "column_values.in_set|city": 0,
        "column_values.value_length.between|city": 1,
        "column_values.unique|at": 2,
        "compound_columns.unique|age|city": 0,
    },
    examples={"column_values.between|age": ("-1", "200")},
)


def _question(min_rows: int = 5, **more: Any) -> Question:
    return Question(suite=compile_suite(_CONTRACT, name="people", min_rows=min_rows), counts=_COUNTS, **more)


def test_each_rule_is_judged_by_its_count() -> None:
    with ExpectationsProcess() as process:
        results = process.ask(_question()).results

    found = {
        (result.type.removeprefix("expect_"), result.arguments.get("column")): (result.success, result.n_unexpected)
        for result in results
    }
    assert found == {
        ("table_row_count_to_be_between", None): (False, 0),
        ("column_values_to_not_be_null", "age"): (False, 1),
        ("column_values_to_be_between", "age"): (False, 2),
        ("column_values_to_be_in_set", "city"): (True, 0),
        ("column_value_lengths_to_be_between", "city"): (False, 1),
        ("column_values_to_be_unique", "at"): (False, 2),
        ("compound_columns_to_be_unique", None): (True, 0),
    }
    assert next(result.examples for result in results if result.type.endswith("between")) == ()
    assert ("-1", "200") in [result.examples for result in results]


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same_answer_wherever_it_is_started(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "base.py").write_text("raise ImportError('not the package of that name')")
    monkeypatch.chdir(tmp_path)

    with _started() as process:
        assert process.ask(_question()) == ExpectationsProcess().ask(_question())


def test_an_expectation_that_is_not_known_is_refused_and_not_dropped() -> None:
    suite = {"name": "people", "expectations": [{"type": "expect_column_values_to_be_nice", "kwargs": {}}]}

    with pytest.raises(ExpectationsFailed, match="does not know expect_column_values_to_be_nice"):
        judge_counts(suite, _COUNTS)


def test_a_count_that_nobody_made_is_no_pass() -> None:
    question = _question().model_copy(update={"counts": SuiteCounts(n_rows=4, unexpected={})})

    with pytest.raises(ExpectationsFailed, match="could not judge expect_column_values_to_not_be_null"):
        ExpectationsProcess().ask(question)


@pytest.mark.slow
def test_a_process_of_its_own_tells_what_is_wrong_with_the_contract() -> None:
    rule = ExpectationRule(type="expect_column_medain_to_be_between", arguments={"column": "age"})

    with _started() as process, pytest.raises(DefinitionError, match="did you mean 'expect_column_median_to_be_betw"):
        process.ask(_question(named=(rule,)))


def test_a_child_that_is_killed_is_told() -> None:
    with _started() as process:
        os.kill(_child().pid, signal.SIGKILL)

        with pytest.raises(ExpectationsFailed, match="ended with code -9"):
            process.ask(_question())


def test_a_child_that_is_not_asked_is_closed() -> None:
    with _started():
        child = _child()

    assert not child.is_running()


def test_no_child_is_started_where_great_expectations_is_imported() -> None:
    import great_expectations  # noqa: F401

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
    return [child for child in children if "base.expectations.asking" in child.cmdline()]
