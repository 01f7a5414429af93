"""What is refused, what is set aside, and that Great Expectations and the masks count the same."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import DataRefused
from base.expectations.asking import ExpectationsProcess
from base.pipeline import Pipeline
from base.references import ValidatedData
from base.rows.reading import load_rows
from base.user_code import UserCode
from registry.store import Registry
from tasks.data_validation import REASON, validate_data
from tasks.extraction import extract_data
from tasks.frames import load_frame
from tests.pipelines import CONTRACT, define, make_pipeline, make_trips


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
