"""A first contract: what it says, and what it leaves unsaid so that the world may grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.contract import ColumnRule, DataContract
from base.contract_inference import infer_contract, write_contract
from base.definition import read_pipeline
from base.tables import normalise

START = datetime(2024, 1, 1, tzinfo=UTC)


def _hours(steps: list[int]) -> pa.Table:
    return normalise(pa.table({"at": [START + timedelta(hours=step) for step in steps], "n": [1] * len(steps)}))


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([*range(100)], ColumnRule(type="integer", nullable=False, minimum=0)),
        ([*range(-1, 99)], ColumnRule(type="integer", nullable=False)),
        ([*range(99), None], ColumnRule(type="integer", minimum=0)),
        ([0.5] * 100, ColumnRule(type="number", nullable=False)),
        ([None] * 100, ColumnRule(type="number")),
        (["a", "b"] * 50, ColumnRule(type="text", nullable=False)),
        ([True, False] * 50, ColumnRule(type="boolean", nullable=False)),
        ([*range(99)], ColumnRule(type="integer")),
    ],
    ids=["count", "signed", "gap", "measure", "empty", "text", "flag", "few rows"],
)
def test_a_rule_says_only_what_rows_can_tell(values: list[object], rule: ColumnRule) -> None:
    table = normalise(pa.table({"column": values}))

    assert infer_contract(table).columns == {"column": rule}


def test_the_target_may_be_missing_and_the_time_may_not() -> None:
    contract = infer_contract(_hours([1, 2, 2]), target="n", time="at")

    assert (contract.columns["n"].nullable, contract.columns["at"].nullable) == (True, False)


@pytest.mark.parametrize(
    ("steps", "is_grid"),
    [
        ([*range(200)], True),
        ([*range(100), *range(105, 205)], True),
        ([*range(200)][::-1], True),
        ([*range(199), 0], False),
        ([step * step for step in range(200)], False),
        ([*range(50)], False),
    ],
    ids=["hours", "gap", "unordered", "double", "irregular", "few rows"],
)
def test_only_a_regular_grid_makes_moments_unique(steps: list[int], is_grid: bool) -> None:
    assert infer_contract(_hours(steps), time="at").unique == (("at",) if is_grid else ())


@given(st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=150))
def test_rows_keep_the_contract_that_was_inferred_from_them(values: list[int | None]) -> None:
    table = normalise(pa.table({"n": pa.array(values, pa.int64())}))

    assert infer_contract(table).find_faults(table.to_pylist()) == []


def test_a_written_contract_is_read_back_equal(tmp_path: Path) -> None:
    contract = DataContract(
        columns={
            "at": ColumnRule(type="time", nullable=False),
            "on": ColumnRule(type="boolean"),
            "with: colon # and more": ColumnRule(type="number", minimum=-1e-7, maximum=0.1 + 0.2),
            "size": ColumnRule(type="text", categories=("S", "no", "a, b")),
            "next\nline \x85": ColumnRule(type="integer", maximum=1e300),
        },
        unique=("at",),
    )

    (tmp_path / "pipeline.yaml").write_text(
        "name: test\ntask: regression\ntarget: at\nextract: {source: rows.csv}\n"
        "validate_data: {contract: contract.yaml}\n"
    )

    write_contract(contract, tmp_path / "contract.yaml")

    assert read_pipeline(tmp_path).contract == contract


def test_a_written_contract_has_a_line_for_each_column(tmp_path: Path) -> None:
    write_contract(infer_contract(_hours([*range(100)]), time="at"), tmp_path / "contract.yaml")

    lines = (tmp_path / "contract.yaml").read_text().splitlines()
    assert "  at: {type: time, nullable: false}" in lines
    assert "  n: {type: integer, nullable: false, minimum: 0}" in lines
    assert lines[0].startswith("# What every row must be")
