"""Cuts by time, choice of columns, and what the estimators are given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from base.errors import DataRefused, UserCodeError
from base.pipeline import Pipeline, PrepareSpec
from base.references import TrainingData, ValidatedData
from base.user_code import UserCode
from features.independence import LooksAtOtherRows
from registry.store import Registry
from tasks.feature_choice import choose_kinds
from tasks.frames import store_rows
from tasks.preparation import encode_target, prepare_data
from tasks.prepared_rows import TARGET, load_part, load_prepared, load_trial
from tests.pipelines import CONTRACT, FEATURES, define, make_pipeline, make_trips


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
        (["low", "high"], {"ordinal": {"x": ("low", "high")}}, "numeric"),
        (["lwo", "hihg"], {"ordinal": {"x": ("low", "high")}}, "holds none of the values"),
        ([1.0, 2.0], {"one_hot": ("x",)}, "categorical"),
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
    (
        "a feature that is called like a sensitive column",
        {},
        "frame.assign(passengers=1)",
        DataRefused,
        "the contract marks it sensitive",
    ),
    ("a feature made of a sensitive column", {}, "frame.assign(x=frame['passengers'])", UserCodeError, "KeyError"),
    ("a mean over all rows", {}, "frame.assign(x=frame['distance'].mean())", LooksAtOtherRows, "column 'x' of row 0"),
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
    contract = CONTRACT | {"columns": CONTRACT["columns"] | {"passengers": {"type": "integer", "sensitive": True}}}
    code = f"def change(frame): return {body}\n"
    pipeline = make_pipeline(tmp_path / "trips", trips, sections, features=code, contract=contract)

    with pytest.raises(error, match=words):
        _prepare(pipeline, trips, registry)


_RATES = """
class CompanyRate:
    def fit(self, frame, target):
        self.overall = float(target.mean())
        self.rates = target.astype("float64").groupby(frame["company"]).mean()
        return self

    def transform(self, frame):
        return frame.assign(rate=frame["company"].map(self.rates).fillna(self.overall).astype("float64"))
"""


def test_a_fitted_feature_learns_from_the_rows_of_the_fit_alone(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    sections = define(prepare={"features": ["features:add_hour"], "fitted": ["features:CompanyRate"]})

    data = _prepare(make_pipeline(tmp_path / "trips", trips, sections, features=FEATURES + _RATES), trips, registry)

    for frame, stop in ((load_prepared(data, registry.artifacts), 340), (load_trial(data, registry.artifacts), 280)):
        learnt = trips.iloc[:stop]
        rates = learnt["late"].astype(float).groupby(learnt["company"]).mean()
        expected = trips["company"].map(rates).fillna(learnt["late"].mean())[: len(frame)]
        np.testing.assert_allclose(frame["rate"], expected.astype("float32"))
    assert (data.train.stop, data.validation.stop) == (280, 340)
    assert "rate" in data.numeric


def test_parts_of_good_rows_are_found_again_whatever_was_left_out(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(customer=lambda rows: [f"c{row % 350}" for row in range(len(rows))])
    split = {"groups": "customer", "gap": "2 hours"}
    sections = define(prepare={"features": ["features:add_hour"], "split": split, "exclude": ["customer"]})
    validated = _validated(_table(trips), registry)
    pipeline = make_pipeline(tmp_path / "trips", trips, sections, contract=None)

    data = prepare_data(validated, pipeline, registry.artifacts, code=UserCode(pipeline.code))

    frame = load_prepared(data, registry.artifacts)
    for part in (data.train, data.validation, data.test):
        raw = load_part(data, validated.good, part, registry.artifacts, columns=["distance", "late", "nowhere"])
        assert (
            raw["distance"].to_numpy().astype("float32").tolist() == frame["distance"][part.start : part.stop].tolist()
        )
        assert raw.column_names == ["distance", "late"]
    assert data.rows_left_out == {
        "whose target was not known when the next part began": 1,
        "of groups that the model learns from": 50,
    }
    assert data.learnt_until == trips["at"][338]
    assert data.watermark == trips["at"].iloc[-1]


def test_ranked_categories_are_quantities_in_their_order(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips()
    sections = define(prepare={"ordinal": {"company": ["green", "red"]}, "one_hot": ["is_shared"]})

    data = _prepare(make_pipeline(tmp_path / "trips", trips, sections), trips, registry)

    ranks = trips["company"].map({"green": 0.0, "red": 1.0})
    np.testing.assert_array_equal(load_prepared(data, registry.artifacts)["company"], ranks.astype("float32"))
    assert (data.categorical, data.one_hot) == (("is_shared",), ("is_shared",))


def _prepare(pipeline: Pipeline, rows: pd.DataFrame, registry: Registry) -> TrainingData:
    return _prepare_table(pipeline, _table(rows), registry)


def _prepare_table(pipeline: Pipeline, rows: pa.Table, registry: Registry) -> TrainingData:
    return prepare_data(_validated(rows, registry), pipeline, registry.artifacts, code=UserCode(pipeline.code))


def _validated(rows: pa.Table, registry: Registry) -> ValidatedData:
    good = store_rows(registry.artifacts, rows, time="at" if "at" in rows.column_names else None)
    report = good.segments[0].artifact
    return ValidatedData(good=good, n_rows=rows.num_rows, quarantined=None, reasons={}, report=report)


def _table(rows: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(rows.astype({"at": "datetime64[us, UTC]"}), preserve_index=False)
