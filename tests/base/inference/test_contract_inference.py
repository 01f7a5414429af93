"""A first contract: what it says, and what it leaves unsaid so that the world may grow."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st

from base.contract import ColumnRule, DataContract, ExpectationRule, RowRule
from base.definition import read_model, read_pipeline
from base.inference.contract_text import compose_contract, write_contract
from base.inference.contracts import infer_contract
from base.rows.tables import normalise

START = datetime(2024, 1, 1, tzinfo=UTC)


def _hours(steps: list[int]) -> pa.Table:
    return normalise(pa.table({"at": [START + timedelta(hours=step) for step in steps], "n": [1] * len(steps)}))


def _infer(values: Any, name: str = "column", **options: Any) -> ColumnRule:
    table = normalise(pa.table({name: values}))
    return infer_contract(table, **options).contract.columns[name]


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ([n % 20 for n in range(200)], {"type": "integer", "nullable": False, "minimum": 0, "maximum": 29}),
        ([n % 20 - 5.0 for n in range(200)], {"type": "number", "nullable": False, "minimum": -15, "maximum": 24}),
        ([*([n % 12 + 1 for n in range(300)]), None], {"type": "integer", "minimum": 1, "maximum": 12}),
        ([*range(1_000)], {"type": "integer", "nullable": False, "minimum": 0}),
        ([0.5] * 100, {"type": "number", "nullable": False}),
        ([None] * 100, {"type": "number"}),
        (["a", "b"] * 50, {"type": "text", "nullable": False, "max_length": 100}),
        (["a", "b"] * 500, {"type": "text", "nullable": False, "categories": ("a", "b")}),
        ([*(["a", "b"] * 500), "c"], {"type": "text", "nullable": False, "max_length": 100}),
        ([f"{n} {'x' * 100}" for n in range(1_000)], {"type": "text", "nullable": False, "max_length": 416}),
        ([True, False] * 50, {"type": "boolean", "nullable": False}),
        ([*range(99)], {"type": "integer"}),
    ],
    ids=[
        "count",
        "signed",
        "codes",
        "names rows",
        "constant",
        "empty",
        "few texts",
        "categories",
        "rare category",
        "long texts",
        "flag",
        "few rows",
    ],
)
def test_a_rule_says_only_what_rows_can_tell(values: list[object], rule: dict[str, Any]) -> None:
    assert _infer(values) == ColumnRule(**rule)


@pytest.mark.parametrize("name", ["customer_id", "year", "agent number", "zip", "yr"])
def test_numbers_that_name_things_have_no_maximum(name: str) -> None:
    assert _infer([n % 40 for n in range(400)], name) == ColumnRule(type="integer", nullable=False, minimum=0)


def test_a_value_far_off_alone_does_not_set_the_range() -> None:
    prices = np.random.default_rng(0).normal(100, 20, 5_000).clip(1)
    table = normalise(pa.table({"price": [*prices, 0, 5_400.0, -6.4]}))

    inferred = infer_contract(table)

    rule = inferred.contract.columns["price"]
    assert rule.minimum == 0
    assert 200 < (rule.maximum or 0) < 1_000
    assert "outside lie 2" in inferred.notes["price"]


def test_what_grows_with_time_and_what_is_predicted_has_no_range() -> None:
    n = 1_000
    table = normalise(
        pa.table(
            {
                "at": [START + timedelta(hours=step) for step in range(n)],
                "sold so far": [step // 3 for step in range(n)],
                "cnt": [step % 50 for step in range(n)],
            }
        )
    )

    contract = infer_contract(table, target="cnt", time="at").contract

    assert contract.columns["sold so far"] == ColumnRule(type="integer", nullable=False, minimum=0)
    assert contract.columns["cnt"] == ColumnRule(type="integer")
    assert contract.columns["at"] == ColumnRule(type="time", nullable=False, earliest="2023-01-01")


def test_categories_that_came_late_are_not_stable() -> None:
    n = 2_000
    table = normalise(
        pa.table(
            {
                "at": [START + timedelta(hours=step) for step in range(n)],
                "shop": ["old" if step < 1_500 or step % 2 else "new" for step in range(n)],
            }
        )
    )

    assert infer_contract(table, time="at").contract.columns["shop"].categories is None
    assert infer_contract(table).contract.columns["shop"].categories == ("new", "old")


def test_the_target_may_be_missing_and_the_time_may_not() -> None:
    contract = infer_contract(_hours([1, 2, 2]), target="n", time="at").contract

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
    assert infer_contract(_hours(steps), time="at").contract.unique == (("at",) if is_grid else ())


def test_what_rows_tell_together_is_told_as_advice() -> None:
    n = 1_200
    table = normalise(
        pa.table(
            {
                "at": [START + timedelta(days=number // 3) for number in range(n)],
                "store": [f"store {number % 3}" for number in range(n)],
                "delivered": [START + timedelta(days=number // 3, hours=number // 3 % 7) for number in range(n)],
                "sold": [number % 2 for number in range(n)],
            }
        )
    )

    advice = "\n".join(infer_contract(table, time="at").advice)

    assert "The rows come in the order of at" in advice
    assert "No two rows have the same at and store: unique: [[at, store]]" in advice
    assert "at is never later than delivered" in advice
    assert "'at <= delivered'" in advice


def test_rows_that_repeat_are_counted_and_the_way_to_set_them_aside_is_told() -> None:
    values = [*range(1_000), *range(100)]
    repeated = infer_contract(normalise(pa.table({"n": values})))
    numbered = infer_contract(normalise(pa.table({"row": range(1_100), "n": values, "m": values})))

    assert repeated.advice == ("100 rows repeat another one. To set them aside: distinct_rows: quarantine",)
    assert numbered.contract.unique == ("row",)
    assert numbered.advice == (
        "100 rows repeat another one but for row. To set them aside: unique: [[n, m]], unique_severity: quarantine",
    )


def test_personal_and_sensitive_columns_are_pointed_out_and_their_values_not_written_down() -> None:
    mails = [f"guest{number % 9}@example.org" for number in range(100)]
    table = normalise(pa.table({"contact": mails, "gender": ["f", "m"] * 50, "mileage": [*range(100)]}))

    notes = infer_contract(table).notes

    assert "an e-mail address" in notes["contact"]
    assert "personal: hash, or drop" in notes["contact"]
    assert "guest" not in notes["contact"]
    assert "sensitive: true" in notes["gender"]
    assert "sensitive" not in notes["mileage"]


@cases(max_examples=25)
@given(st.lists(st.none() | st.integers(-5, 5), min_size=1, max_size=150))
def test_rows_keep_the_contract_that_was_inferred_from_them(values: list[int | None]) -> None:
    table = normalise(pa.table({"n": pa.array(values, pa.int64())}))

    assert infer_contract(table).contract.find_faults(table.to_pylist()) == []


EVERYTHING = DataContract(
    columns={
        "at": ColumnRule(type="time", nullable=False, earliest="2013-01-01", latest="2030-01-01T06:00Z"),
        "on": ColumnRule(type="boolean", severity="warn"),
        "with: colon # and more": ColumnRule(type="number", minimum=-1e-7, maximum=0.1 + 0.2),
        "size": ColumnRule(type="text", categories=("S", "no", "a, b"), sensitive=True),
        "name": ColumnRule(type="text", personal="hash", max_length=9),
        "next\nline \x85": ColumnRule(type="integer", maximum=1e300),
    },
    unique=("at", ("size", "next\nline \x85")),
    unique_severity="quarantine",
    distinct_rows="warn",
    rules=(RowRule(name="a: b", expression='`with: colon # and more` > 0 or size == "S\'"', severity="refuse"),),
    expectations=(ExpectationRule(type="expect_column_median_to_be_between", arguments={"column": "next", "x": [1]}),),
)


def test_a_written_contract_is_read_back_equal(tmp_path: Path) -> None:
    write_contract(EVERYTHING, tmp_path / "contract.yaml", notes={"at": "seen\nlately"}, advice=["a:\nb"])

    assert read_model(tmp_path / "contract.yaml", DataContract) == EVERYTHING


def test_a_written_contract_has_a_line_for_each_column_with_what_was_seen(tmp_path: Path) -> None:
    inferred = infer_contract(_hours([*range(100)]), time="at")
    (tmp_path / "pipeline.yaml").write_text(
        "name: test\ntask: regression\ntarget: n\nextract: {source: rows.csv}\n"
        "validate_data: {contract: contract.yaml}\n"
    )

    write_contract(inferred.contract, tmp_path / "contract.yaml", notes=inferred.notes, advice=inferred.advice)

    lines = (tmp_path / "contract.yaml").read_text().splitlines()
    assert lines[0].startswith("# What every row must be")
    assert any(line.startswith("  n: {type: integer, nullable: false, minimum: 0}  ") for line in lines)
    assert any("# 2024-01-01T00:00 to 2024-01-05T03:00; 100 values" in line for line in lines)
    assert read_pipeline(tmp_path).contract == inferred.contract
    assert compose_contract(inferred.contract).count("#") < 10
