"""What served predictions were worth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.artifacts import ArtifactStore
from base.settings import Settings
from monitoring.performance import (
    PerformanceReport,
    encode_labels,
    measure_performance,
    read_answers,
    read_reference,
)
from registry.manifest import ModelManifest
from registry.store import open_registry
from tests.monitoring.performance.rows import Kind, as_served, describe_model, draw_rows
from tests.pipelines import make_pipeline, make_trips, train


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(home=tmp_path_factory.mktemp("performance") / "home")


@pytest.fixture(scope="module")
def manifest(home: Settings) -> ModelManifest:
    return train(make_pipeline(home.home.parent / "trips", make_trips()), home).manifest


@pytest.fixture(scope="module")
def store(home: Settings, manifest: ModelManifest) -> ArtifactStore:
    return open_registry(home).artifacts


@pytest.mark.parametrize(
    ("values", "classes", "expected"),
    [
        ([True, False, None], (False, True), [1, 0, -1]),
        ([1, 0, 1.0, 0.0, 2], (0, 1), [1, 0, 1, 0, -1]),
        ([1.0, 2], (1.0, 2.0), [0, 1]),
        (["1", "late", ""], ("1", "late"), [0, 1, -1]),
        ([True, 1], (0, 1), [-1, 1]),
        ([np.int64(1), np.float64(0), np.True_], (0, 1), [1, 0, -1]),
        ([], ("a", "b"), []),
    ],
)
def test_a_label_is_its_class_however_it_is_written(
    values: list[Any], classes: tuple[Any, ...], expected: list[int]
) -> None:
    assert encode_labels(pd.Series(values, dtype=object), classes).tolist() == expected


def _labelled(columns: dict[str, Any]) -> pd.DataFrame:
    return pd.DataFrame(columns).assign(is_labelled=True)


@pytest.mark.parametrize(
    ("found", "expected", "increase"),
    [
        (0.6, 0.5, pytest.approx(0.2)),
        (0.4, 0.5, pytest.approx(-0.2)),
        (0.5, 0.0, math.inf),
        (0.0, 0.0, 0.0),
        (math.nan, 0.5, None),
        (0.5, math.nan, None),
        (None, 0.5, None),
    ],
)
def test_the_increase_is_relative_to_what_was_expected(found: float | None, expected: float, increase: Any) -> None:
    metrics = {} if found is None else {"log_loss": found}
    report = PerformanceReport(n_labelled=10, metrics=metrics, loss="log_loss", expected=expected)

    assert report.increase == increase


def test_served_rows_are_measured_as_at_promotion(manifest: ModelManifest) -> None:
    served = _labelled({"prediction": [0.9, 0.2, 0.6], "value": [True, False, False]})

    report = measure_performance(served, manifest)

    assert report.n_labelled == 3
    assert report.metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.8, 0.4]).mean())
    assert report.expected == manifest.metrics["log_loss"]


def test_matured_rows_without_a_label_are_counted_and_left_out(manifest: ModelManifest) -> None:
    served = _labelled({"prediction": [0.9, 0.2, 0.6], "value": [True, None, False]})

    report = measure_performance(served.assign(is_labelled=[True, False, True]), manifest)

    assert (report.n_matured, report.n_labelled) == (3, 2)
    assert report.metrics["log_loss"] == pytest.approx(-np.log([0.9, 0.4]).mean())


def test_nothing_labelled_is_nothing_known(manifest: ModelManifest) -> None:
    report = measure_performance(_labelled({"prediction": [], "value": []}), manifest)

    assert (report.n_labelled, report.metrics, report.increase) == (0, {}, None)


def test_a_label_that_the_model_never_saw_is_as_wrong_as_can_be(manifest: ModelManifest) -> None:
    served = _labelled({"prediction": [0.9, 0.2], "value": [True, "diverted"]})

    report = measure_performance(served, manifest)

    assert report.metrics["log_loss"] > 5
    assert math.isfinite(report.metrics["log_loss"])


def test_rows_that_another_kind_of_version_served_are_left_out(manifest: ModelManifest) -> None:
    three = manifest.model_copy(update={"classes": ("a", "b", "c")})
    served = _labelled(
        {
            "prediction": [1.0, 0.3, 2.0, 0.0],
            "probabilities": [[0.1, 0.8, 0.1], None, np.array([0.1, 0.1, 0.8]), [0.7, 0.1, 0.1, 0.1]],
            "value": ["b", "b", "c", "a"],
        }
    )

    as_three = measure_performance(served, three)
    as_two = measure_performance(served, manifest.model_copy(update={"classes": ("a", "b")}))

    assert as_three.n_labelled == 2
    assert as_three.metrics["log_loss"] == pytest.approx(-np.log([0.8, 0.8]).mean())
    assert as_two.n_labelled == 1


def test_labels_that_are_no_numbers_are_left_out_of_a_regression(manifest: ModelManifest) -> None:
    regression = manifest.model_copy(update={"task": "regression", "classes": None, "metrics": {"mae": 1.0}})
    served = _labelled({"prediction": [1.0, 2.0, 3.0], "value": [2.0, "late", None]})

    report = measure_performance(served, regression)

    assert (report.n_labelled, report.metrics["mae"], report.increase) == (1, 1.0, 0.0)


def test_answers_are_read_as_they_were_given() -> None:
    two = read_answers(pd.DataFrame({"prediction": [0.25]}), ("no", "yes"))
    value = read_answers(pd.DataFrame({"prediction": [7.5]}), None)

    assert two.tolist() == [[0.75, 0.25]]
    assert value.tolist() == [7.5]


def test_the_window_is_held_against_the_reference_with_an_interval() -> None:
    model, reference = describe_model("regression"), draw_rows("regression", 2_000, seed=1)

    same = measure_performance(as_served(draw_rows("regression", 600, seed=2)), model, reference=reference)
    worse = measure_performance(as_served(draw_rows("regression", 600, seed=2, harder=1.5)), model, reference=reference)

    assert same.difference is not None
    assert worse.difference is not None
    assert same.difference[1] < 0 < same.difference[2]
    assert worse.difference[1] > 0
    assert (same.p_rise or 0) > 0.01 > (worse.p_rise or 1)


@pytest.mark.parametrize("kind", ["two classes", "three classes", "regression"])
def test_every_metric_lies_within_its_interval(kind: Kind) -> None:
    report = measure_performance(as_served(draw_rows(kind, 500, seed=3)), describe_model(kind))

    assert {"log_loss", "accuracy", "brier"} <= set(report.intervals) or {"mae", "rmse"} <= set(report.intervals)
    assert all(low <= report.metrics[name] <= high for name, (low, high) in report.intervals.items())
    assert type(report).model_validate_json(report.model_dump_json()) == report


def test_slices_are_those_of_the_reference_and_only_the_one_that_got_worse_is_told() -> None:
    model, reference = describe_model("regression"), draw_rows("regression", 3_000, seed=1)
    window = draw_rows("regression", 1_500, seed=2)
    served = as_served(window)
    hit = (served["city"] == "oslo").to_numpy()
    served.loc[hit, "prediction"] += 3.0

    report = measure_performance(served, model, reference=reference, slices=("city", "size"))

    by_name = {one.name: one for one in report.slices}
    assert {name for name, one in by_name.items() if one.p_rise < 0.001 and name.startswith("city")} == {"city = oslo"}
    assert sum(one.n_rows for one in report.slices if one.column == "size") == 1_500
    assert all(one.n_reference > 500 for one in report.slices)
    assert by_name["city = oslo"].loss > by_name["city = oslo"].expected + 1


def test_a_slice_that_cannot_be_measured_is_named_with_the_reason() -> None:
    served = as_served(draw_rows("two classes", 100, seed=1))

    report = measure_performance(served, describe_model("two classes"), slices=("owner", "colour", "city"))

    assert report.unmeasured["owner"].startswith("it is marked personal")
    assert report.unmeasured["colour"] == "it is not among the inputs that the served rows had"
    assert {one.column for one in report.slices} <= {"city"}


def test_a_handful_of_rows_is_measured_without_an_interval() -> None:
    reference = draw_rows("two classes", 500, seed=1)

    report = measure_performance(
        as_served(draw_rows("two classes", 4, seed=2)), describe_model("two classes"), reference=reference
    )

    assert report.n_labelled == 4
    assert (report.intervals, report.difference, report.p_rise) == ({}, None, None)


def test_the_reference_that_a_training_stores_is_read_back_with_its_losses(
    manifest: ModelManifest, store: ArtifactStore
) -> None:
    reference = read_reference(manifest, store)

    assert reference is not None
    assert reference.losses.mean() == pytest.approx(manifest.metrics["log_loss"], rel=0.02)
    assert list(reference.features.columns) == list(manifest.plan.features)
