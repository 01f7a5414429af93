"""What is refused, what is set aside, and that Great Expectations and the masks count the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.contract import ColumnRule, DataContract
from base.errors import DataRefused
from base.expectations import ExpectationsProcess, compile_suite, run_suite
from base.pipeline import Pipeline
from base.references import ValidatedData
from base.rows import load_rows
from base.sources import normalise
from base.user_code import UserCode
from registry.store import Registry
from tasks.data_validation import REASON, find_violations, validate_data
from tasks.extraction import extract_data
from tasks.frames import load_frame
from tests.pipelines import CONTRACT, define, make_pipeline, make_trips

_NUMBERS = st.one_of(st.none(), st.floats(-20, 20), st.sampled_from([math.nan, math.inf, -math.inf, 0.0, -0.0, 5.0]))
_INTEGERS = st.one_of(st.none(), st.integers(-20, 20), st.just(2**60))
_TEXTS = st.one_of(st.none(), st.sampled_from(["a", "b", "A", "", " a", "é", "nan", "None"]))
_TRUTHS = st.one_of(st.none(), st.booleans())
_MOMENTS = st.one_of(st.none(), st.datetimes().map(lambda moment: moment.replace(year=2013)))
_BOUNDS = st.one_of(st.none(), st.sampled_from([-5.0, 0.0, 5.0]))


@st.composite
def _columns(draw: st.DrawFn) -> tuple[list[Any], pa.DataType, ColumnRule]:
    kind = draw(st.sampled_from(["number", "integer", "text", "boolean", "time"]))
    nullable = draw(st.booleans())
    types = {"number": pa.float64(), "integer": pa.int64(), "text": pa.string(), "boolean": pa.bool_()}
    arrow = types.get(kind, pa.timestamp("us", "UTC"))
    values = {"number": _NUMBERS, "integer": _INTEGERS, "text": _TEXTS, "boolean": _TRUTHS, "time": _MOMENTS}[kind]
    rule: dict[str, Any] = {"type": kind, "nullable": nullable}
    if kind in ("number", "integer"):
        low, high = draw(_BOUNDS), draw(_BOUNDS)
        rule |= {"minimum": low, "maximum": high} if low is None or high is None or low <= high else {"minimum": low}
    if kind == "text" and draw(st.booleans()):
        rule["categories"] = tuple(draw(st.sets(st.sampled_from(["a", "b", "", "nan"]), min_size=1)))
    return draw(st.lists(values, min_size=1, max_size=30)), arrow, ColumnRule.model_validate(rule)


@given(column=_columns())
@settings(max_examples=60)
def test_great_expectations_and_the_masks_count_the_same(
    column: tuple[list[Any], pa.DataType, ColumnRule], tmp_path_factory: pytest.TempPathFactory
) -> None:
    values, kind, rule = column
    table = normalise(pa.table({"x": pa.array(values, type=kind)}))
    file = tmp_path_factory.getbasetemp() / "column.parquet"
    pq.write_table(table, file)
    suite = compile_suite(DataContract(columns={"x": rule}), name="x", min_rows=1)

    judged = {result.type.removeprefix("expect_column_values_to_"): result for result in run_suite(suite, file)[1:]}
    masks = find_violations(table["x"].to_pandas(), rule)

    counts = {name: int(rows.sum()) for name, rows in masks.items()}
    outside = [rows for name, rows in masks.items() if name.startswith(("is below", "is above"))]
    expected = {"not_be_null": counts.get("is null"), "be_in_set": counts.get("is none of its categories")}
    expected["be_between"] = int(np.logical_or.reduce(outside).sum()) if outside else None
    assert {name: result.n_unexpected for name, result in judged.items()} == {
        name: count for name, count in expected.items() if count is not None
    }
    assert all(result.success == (result.n_unexpected == 0) for result in judged.values())


def test_bad_rows_are_set_aside_with_the_first_reason(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[3, "distance"] = -1.0
    trips.loc[4, "distance"] = -1.0
    trips.loc[4, "company"] = "mauve"
    trips.loc[5, "late"] = pd.NA
    trips.loc[6, "company"] = "mauve"

    validated = _validate(make_pipeline(tmp_path / "trips", trips), registry)

    assert validated.reasons == {
        "company is none of its categories": 2,
        "distance is below 0": 1,
        "late is null": 1,
    }
    assert validated.n_rows == len(trips) - 4
    assert validated.quarantined is not None
    aside = load_frame(registry.artifacts, validated.quarantined)
    assert aside["at"].tolist() == trips["at"].iloc[3:7].tolist()
    assert aside[REASON].str.split().str[0].tolist() == ["distance", "company", "late", "company"]
    good = load_rows(registry.artifacts, validated.good).to_pandas()
    assert good["at"].tolist() == trips["at"].drop(index=[3, 4, 5, 6]).tolist()


def test_good_rows_are_the_snapshot_itself(registry: Registry, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips())

    snapshot = extract_data(pipeline, registry.artifacts, code=UserCode(pipeline.code), as_of=None)
    validated = validate_data(snapshot, pipeline, registry.artifacts, ExpectationsProcess())

    assert validated.good == snapshot.rows
    assert (validated.quarantined, validated.reasons) == (None, {})


def test_targets_that_are_still_to_come_are_set_aside_and_are_no_fault(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[250:, "late"] = pd.NA

    validated = _validate(make_pipeline(tmp_path / "trips", trips), registry)

    assert validated.reasons == {"late is null": 150}
    assert validated.n_rows == 250


def test_too_few_targets_are_told_from_too_few_rows(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[50:, "late"] = pd.NA

    with pytest.raises(DataRefused, match="50 good rows; 350 more have no target yet"):
        _validate(make_pipeline(tmp_path / "trips", trips), registry)


def test_the_report_is_plain_json_whatever_the_values(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(extra=1)
    trips.loc[3, "distance"] = -math.inf

    validated = _validate(make_pipeline(tmp_path / "trips", trips), registry)

    report = json.loads(registry.artifacts.read_bytes(validated.report), parse_constant=pytest.fail)
    assert report["rows"] == len(trips)
    assert report["new_columns"] == ["extra"]
    assert report["quarantined"] == {"distance is below 0": 1}


def test_without_a_contract_only_target_and_time_are_judged(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[3, "at"] = pd.NaT
    trips.loc[4, "late"] = pd.NA

    validated = _validate(make_pipeline(tmp_path / "trips", trips, contract=None), registry)

    assert validated.reasons == {"at is null": 1, "late is null": 1}


def test_a_column_of_the_quarantines_own_name_is_no_trouble(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(**{REASON: "none"})
    trips.loc[3, "distance"] = -1.0

    validated = _validate(make_pipeline(tmp_path / "trips", trips), registry)

    assert validated.quarantined is not None
    assert load_frame(registry.artifacts, validated.quarantined)[REASON].tolist() == ["distance is below 0"]


@pytest.mark.parametrize(
    ("target", "task", "values", "words"),
    [
        ("late", "classification", pd.date_range("2013", periods=400, tz="UTC"), "found moments"),
        ("late", "classification", np.arange(400), "400 distinct values"),
        ("late", "regression", np.array([True, False] * 200), "values of type bool"),
        ("late", "regression", np.array([1.0, math.inf] * 200), "found infinity"),
        ("late", "regression", np.full(400, 2.5), "2.5 in every row"),
        ("lat", "classification", np.array([True, False] * 200), "did you mean 'late'"),
    ],
)
def test_a_target_that_is_none_is_refused(
    target: str, task: str, values: Any, words: str, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips().assign(late=values)
    pipeline = make_pipeline(tmp_path / "trips", trips, define(target=target, task=task), contract=None)

    with pytest.raises(DataRefused, match=words):
        _validate(pipeline, registry)


def test_every_broken_column_is_told_at_once(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().drop(columns="company").assign(distance="far", is_shared=1)

    with pytest.raises(DataRefused) as refused:
        _validate(make_pipeline(tmp_path / "trips", trips), registry)

    assert sorted(str(fault.column) for fault in refused.value.faults) == ["company", "distance", "is_shared"]


@pytest.mark.parametrize("name", sorted(CONTRACT["columns"].keys() - {"at", "late"}))
def test_a_nullable_column_may_be_null_everywhere(name: str, registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(**{name: None})

    validated = _validate(make_pipeline(tmp_path / "trips", trips), registry)

    assert validated.n_rows == len(trips)


def _validate(pipeline: Pipeline, registry: Registry) -> ValidatedData:
    snapshot = extract_data(pipeline, registry.artifacts, code=UserCode(pipeline.code), as_of=None)
    return validate_data(snapshot, pipeline, registry.artifacts, ExpectationsProcess())
