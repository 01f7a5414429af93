"""Cuts by time, choice of columns, and what the estimators are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import DataRefused, UserCodeError
from base.pipeline import Pipeline, PrepareSpec
from base.references import TrainingData, ValidatedData
from base.user_code import UserCode
from registry.store import Registry
from tasks.feature_choice import choose_kinds
from tasks.frames import store_rows
from tasks.preparation import TARGET, encode_target, load_prepared, prepare_data, split_by_time
from tests.pipelines import define, make_pipeline, make_trips

moments = st.lists(st.integers(-3, 12), min_size=3, max_size=60).map(sorted)
shares = st.floats(0.01, 0.9)


@given(moments=moments, validation=shares, test=shares)
def test_a_split_covers_every_row_once_in_order(moments: list[int], validation: float, test: float) -> None:
    parts = split_by_time(np.array(moments), validation, test * (1 - validation))

    assert [part.start for part in parts] == [0, *(part.stop for part in parts[:-1])]
    assert parts[-1].stop == len(moments)
    assert all(part.n_rows > 0 for part in parts)


@given(moments=moments.filter(lambda moments: len(set(moments)) >= 3), validation=shares, test=shares)
def test_equal_moments_stay_on_one_side_of_a_cut(moments: list[int], validation: float, test: float) -> None:
    parts = split_by_time(np.array(moments), validation, test * (1 - validation))

    sides = [set(moments[part.start : part.stop]) for part in parts]
    assert max(sides[0]) < min(sides[1])
    assert max(sides[1]) < min(sides[2])


@pytest.mark.parametrize(
    ("moments", "expected"),
    [
        ([], [0, 0, 0]),
        ([5], [1, 0, 0]),
        ([5, 5], [1, 1, 0]),
        ([5] * 100, [70, 15, 15]),
        ([1] * 98 + [2, 3], [98, 1, 1]),
        ([1, 2] + [3] * 98, [1, 1, 98]),
        (list(range(100)), [70, 15, 15]),
    ],
    ids=["nothing", "one row", "two rows", "one moment", "a late start", "an early start", "hours"],
)
def test_weird_tables_are_split_as_well_as_can_be(moments: list[int], expected: list[int]) -> None:
    parts = split_by_time(np.array(moments, dtype=np.int64), 0.15, 0.15)

    assert [part.n_rows for part in parts] == expected


@pytest.mark.parametrize(
    ("column", "spec", "kind"),
    [
        ([1.0, 2.0], {}, "numeric"),
        ([1.0, 2.0], {"categorical": ("x",)}, "categorical"),
        (["a", "b"], {}, "categorical"),
        (["1", "2"], {"numeric": ("x",)}, "numeric"),
        (pd.array([True, None], dtype="boolean"), {}, "categorical"),
        (pd.to_datetime(pd.Series(["2013-01-01", None]), utc=True), {}, "is a moment"),
        (pd.to_datetime(pd.Series(["2013-01-01", None]), utc=True), {"numeric": ("x",)}, "numeric"),
        ([np.nan, np.nan], {}, "holds no value"),
        ([np.inf, -np.inf], {}, "holds no value"),
        ([1e300, None], {}, "holds no value"),
        ([None, None], {"categorical": ("x",)}, "holds no value"),
        ([[1], [2]], {}, "categorical"),
    ],
)
def test_a_column_is_taken_as_declared_or_as_it_looks(column: Any, spec: dict[str, Any], kind: str) -> None:
    frame = pd.DataFrame({"x": column})

    numeric, categorical, left_out = choose_kinds(frame, frame, PrepareSpec.model_validate(spec), "at")

    found = "numeric" if numeric else "categorical" if categorical else left_out["x"]
    assert found.startswith(kind)


def test_text_that_names_each_row_is_left_out() -> None:
    frame = pd.DataFrame({"plate": [f"X {number}" for number in range(50)]})

    assert choose_kinds(frame, frame, PrepareSpec(), None)[2] == {"plate": "has a value of its own in nearly every row"}


def test_classes_are_coded_in_order_and_rare_or_later_ones_are_unknown() -> None:
    target = pd.Series(["b", "a", "b", "a", "rare", "new"])

    codes, classes = encode_target(target, slice(0, 5), "classification")

    assert classes == ("a", "b")
    assert codes.tolist() == [1, 0, 1, 0, -1, -1]


@pytest.mark.parametrize(
    ("values", "classes"),
    [
        ([True, False] * 2, (False, True)),
        ([3, 1] * 2, (1, 3)),
        ([2.5, 1.0] * 2, (1.0, 2.5)),
        (["x", "é"] * 2, ("x", "é")),
    ],
)
def test_classes_keep_their_type(values: list[Any], classes: tuple[Any, ...]) -> None:
    _, found = encode_target(pd.Series(values), slice(0, 4), "classification")

    assert found == classes
    assert [type(value) for value in found or ()] == [type(value) for value in classes]


def test_the_same_rows_give_the_same_digest(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    once, again = (_prepare(make_pipeline(tmp_path / "trips", trips), trips, registry) for _ in range(2))
    chunks = pa.concat_tables([_table(trips.head(123)), _table(trips.tail(-123))])

    other = _prepare_table(make_pipeline(tmp_path / "trips", trips), chunks, registry)

    assert once == again == other


def test_prepared_rows_are_the_good_rows_in_their_order(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()

    data = _prepare(make_pipeline(tmp_path / "trips", trips), trips, registry)

    frame = load_prepared(data, registry.artifacts)
    assert frame["distance"].tolist() == trips["distance"].astype("float32").tolist()
    assert frame["hour"].tolist() == trips["at"].dt.hour.tolist()
    assert frame[TARGET].tolist() == trips["late"].astype(int).tolist()
    assert "late" not in data.inputs
    assert data.features == ("distance", "passengers", "hour", "company", "is_shared")


def test_a_column_that_only_newer_rows_have_is_left_out(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    trips.loc[: len(trips) * 0.71, "distance"] = np.nan

    data = _prepare(make_pipeline(tmp_path / "trips", trips), trips, registry)

    assert data.left_out["distance"] == "holds no value in the rows to learn from"


def test_integers_that_no_request_can_carry_are_left_out(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(serial=lambda rows: np.arange(len(rows)) + 2**60)

    data = _prepare(make_pipeline(tmp_path / "trips", trips, contract=None), trips, registry)

    assert "2^53" in data.left_out["serial"]
    assert "serial" not in data.inputs


REFUSED: list[tuple[str, dict[str, Any], str, type[Exception], str]] = [
    ("a reserved name", {}, f"frame.assign(**{{'{TARGET}': 1}})", DataRefused, "stores its own under it"),
    ("a name that is no text", {}, "frame.assign(hour=1).rename(columns={'hour': 3})", UserCodeError, "column named 3"),
    ("a declared column that is not there", {"numeric": ["distanze"]}, "frame", DataRefused, "did you mean 'distance'"),
    (
        "nothing to learn from",
        {"exclude": ["distance", "passengers", "company", "is_shared"]},
        "frame",
        DataRefused,
        "no column that can be a feature",
    ),
    ("no validation rows", {"split": {"validation": 0.001, "test": 0.97}}, "frame", DataRefused, "train part"),
]


@pytest.mark.parametrize(
    ("prepare", "body", "error", "words"), [row[1:] for row in REFUSED], ids=[r[0] for r in REFUSED]
)
def test_what_cannot_be_prepared_is_refused_by_name(
    prepare: dict[str, Any], body: str, error: type[Exception], words: str, registry: Registry, tmp_path: Path
) -> None:
    trips = make_trips()
    sections = define(prepare={"features": ["features:change"]} | prepare)
    pipeline = make_pipeline(tmp_path / "trips", trips, sections, features=f"def change(frame): return {body}\n")

    with pytest.raises(error, match=words):
        _prepare(pipeline, trips, registry)


def _prepare(pipeline: Pipeline, rows: pd.DataFrame, registry: Registry) -> TrainingData:
    return _prepare_table(pipeline, _table(rows), registry)


def _prepare_table(pipeline: Pipeline, rows: pa.Table, registry: Registry) -> TrainingData:
    good = store_rows(registry.artifacts, rows, time="at" if "at" in rows.column_names else None)
    report = good.segments[0].artifact
    validated = ValidatedData(good=good, n_rows=rows.num_rows, quarantined=None, reasons={}, report=report)
    return prepare_data(validated, pipeline, registry.artifacts, code=UserCode(pipeline.code))


def _table(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows.astype({"at": "datetime64[us, UTC]"}), preserve_index=False)
