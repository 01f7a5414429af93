"""Metrics as they are declared: of the user's own, by cost, by quantile; what cannot be measured is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.errors import DefinitionError
from base.evaluate_spec import MEASURED
from base.metrics import LOWER_IS_BETTER
from base.user_code import UserCode
from tasks.measured_metrics import MeasuredMetrics, measure_models
from tests.pipelines import FEATURES, define, make_pipeline
from tests.tasks.judged import judge

_CODE = (
    FEATURES
    + """
import numpy as np

def share_missed(target, prediction):
    return np.mean((target == "late") & (prediction == "early"))

def mean_score(target, prediction):
    return prediction.mean()

def spoils(target, prediction):
    target[:] = "late"
    return 0.0

def raises(target, prediction):
    raise KeyError("nothing")

def answers_nothing(target, prediction):
    return float("nan")
"""
)


def _measure(folder: Path, *, classes: tuple[Any, ...] = ("early", "late"), **evaluate: Any) -> MeasuredMetrics:
    """Measure 200 rows of which every second is late, and every fourth is called late."""
    pipeline = make_pipeline(folder / "trips", None, define(evaluate=evaluate), features=_CODE)
    target = np.arange(200) % 2
    features = pd.DataFrame({"score": np.where(np.arange(200) % 4 == 1, 0.8, 0.2)})
    raw = pd.DataFrame({"late": np.asarray(classes, dtype=object)[target]})
    rows = judge(features, target, lambda frame: frame["score"], champion=lambda frame: 0.0 * frame["score"], raw=raw)
    return measure_models(rows, pipeline.spec, classes, UserCode(pipeline.code))


def test_a_function_of_the_users_own_gets_the_classes_as_the_data_name_them(tmp_path: Path) -> None:
    metrics = [
        {"function": "features:share_missed", "lower_is_better": True},
        {"function": "features:mean_score", "name": "mean_score", "higher_is_better": True, "takes": "probabilities"},
        {"function": "sklearn.metrics.balanced_accuracy_score", "name": "balanced", "higher_is_better": True},
    ]

    found = _measure(tmp_path, metrics=metrics)

    assert found.metrics["share_missed"] == pytest.approx(0.25)
    assert found.metrics["mean_score"] == pytest.approx(0.35)
    assert found.metrics["balanced"] == pytest.approx(0.75)
    assert found.champion is not None
    assert found.champion["share_missed"] == pytest.approx(0.5)
    low, high = found.intervals["share_missed"]
    assert low <= 0.25 <= high
    assert found.differences["share_missed"][0] == pytest.approx(-0.25)
    assert {name: found.lower_is_better[name] for name in ("share_missed", "balanced")} == {
        "share_missed": True,
        "balanced": False,
    }


@pytest.mark.parametrize(
    ("function", "reason"),
    [
        ("features:raises", r"'features:raises' failed: KeyError: 'nothing' \(features.py, line \d+\)"),
        ("features:answers_nothing", "it answers nan, expected a finite number"),
        ("features:not_there", "is not in features.py"),
        ("sklearn.metrics.not_there", "is not in sklearn.metrics"),
    ],
)
def test_a_function_that_fails_ends_no_run_and_is_not_silent(function: str, reason: str, tmp_path: Path) -> None:
    import re

    found = _measure(tmp_path, metrics=[{"function": function, "lower_is_better": True, "name": "own"}])

    assert "own" not in found.metrics
    assert re.search(reason, found.missing["own"])
    assert "log_loss" in found.intervals


def test_a_function_that_writes_into_its_rows_spoils_nothing(tmp_path: Path) -> None:
    metrics = [
        {"function": "features:spoils", "lower_is_better": True},
        {"function": "features:share_missed", "lower_is_better": True},
    ]

    assert _measure(tmp_path, metrics=metrics).metrics["share_missed"] == pytest.approx(0.25)


def test_costs_are_by_class(tmp_path: Path) -> None:
    matrix = {"late": {"early": 10}, "early": {"late": 1}}

    found = _measure(tmp_path, costs={"matrix": matrix})

    assert found.metrics["cost"] == pytest.approx(2.5)
    assert found.champion is not None
    assert found.champion["cost"] == pytest.approx(5.0)
    assert found.differences["cost"][0] == pytest.approx(-2.5)


@pytest.mark.parametrize(
    ("matrix", "reason"),
    [
        ({"late": {"early": 10}}, "has no cost of 'early' predicted as 'late'"),
        ({"late": {"soon": 10}, "early": {"late": 1}}, "names class 'soon'; the data's are early, late"),
    ],
)
def test_a_matrix_that_does_not_fit_the_classes_is_said_to(matrix: Any, reason: str, tmp_path: Path) -> None:
    found = _measure(tmp_path, costs={"matrix": matrix})

    assert "cost" not in found.metrics
    assert reason in found.missing["cost"]


def test_no_draws_give_no_intervals(tmp_path: Path) -> None:
    found = _measure(tmp_path, draws=0)

    assert (found.intervals, found.differences) == ({}, {})


def test_values_have_quantiles_and_costs_of_their_own(tmp_path: Path) -> None:
    evaluate = {"quantiles": [0.9], "costs": {"over": 1, "under": 3}}
    definition = define(task="regression", target="distance", train={}, evaluate=evaluate)
    pipeline = make_pipeline(tmp_path / "trips", None, definition)
    features = pd.DataFrame({"said": np.where(np.arange(100) % 2, 12.0, 9.0)})
    rows = judge(features, np.full(100, 10.0), lambda frame: frame["said"], task="regression")

    found = measure_models(rows, pipeline.spec, None, UserCode(pipeline.code))

    assert found.metrics["cost"] == pytest.approx(2.5)
    assert found.metrics["pinball_0.9"] == pytest.approx(0.55)
    assert found.metrics["mape"] == pytest.approx(0.15)
    assert found.missing == {"r2": "the target is the same in all rows"}
    assert found.lower_is_better["pinball_0.9"]


@pytest.mark.parametrize(
    ("evaluate", "words"),
    [
        ({"metrics": ["features:cost"]}, "say which way is better"),
        ({"metrics": [{"function": "nonsense", "lower_is_better": True}]}, "expected module:function"),
        ({"metrics": [{"function": "features:f1", "lower_is_better": True}]}, "which Everfit measures itself"),
        ({"quantiles": [0.5]}, "evaluate.quantiles is for values"),
        ({"quantiles": [1.5]}, "less than 1"),
        ({"costs": {"over": 1, "under": 2}}, "are for values"),
        ({"costs": {"over": 1}}, "expected both over and under"),
        ({"costs": {}}, "expected either matrix"),
        ({"draws": 10}, "expected at least 100"),
        ({"fairness": ["region", "region"]}, "expected each once"),
        ({"slises": ["company"]}, "slises"),
    ],
)
def test_a_definition_that_means_nothing_is_refused(evaluate: Any, words: str, tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=words):
        make_pipeline(tmp_path / "trips", None, define(evaluate=evaluate))


def test_a_declared_evaluation_is_read_again_from_its_document(tmp_path: Path) -> None:
    evaluate = {
        "metrics": [{"function": "features:share_missed", "higher_is_better": False}],
        "costs": {"matrix": {True: {False: 5}, False: {True: 1}}},
    }
    spec = make_pipeline(tmp_path / "trips", None, define(evaluate=evaluate)).spec

    assert type(spec).model_validate(spec.model_dump(mode="json")) == spec
    assert spec.evaluate.costs is not None
    assert spec.evaluate.costs.matrix == {"true": {"false": 5}, "false": {"true": 1}}


def test_the_names_that_are_taken_are_those_that_are_measured() -> None:
    assert set(LOWER_IS_BETTER) | {"positive_share", "mean_error"} == set(MEASURED)
