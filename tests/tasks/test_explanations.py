"""Importance and partial dependence of formulas whose answers are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from base.evaluate_spec import EvaluateSpec
from base.metrics import Floats
from tasks.explanations import explain_model
from tests.tasks.judged import judge


def _features(n_rows: int = 600) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "noise": draw.normal(size=n_rows),
            "height": draw.normal(size=n_rows),
            "colour": pd.Categorical(draw.choice(["red", "blue"], n_rows)),
        }
    )


def _value(rows: pd.DataFrame) -> pd.Series:
    return 3 * rows["height"] + (rows["colour"] == "red")


def test_what_the_model_does_not_look_at_has_no_importance_and_the_rest_is_in_order() -> None:
    features = _features()
    rows = judge(features, _value(features), _value, task="regression")

    found = explain_model(rows, "regression", EvaluateSpec(), None, {})

    assert list(found.importance) == ["height", "colour", "noise"]
    assert found.importance["noise"] == (0.0, 0.0)
    # Of two standard normal values, the mean distance is 2 / sqrt(pi).
    assert found.importance["height"][0] == pytest.approx(3 * 2 / np.sqrt(np.pi), rel=0.1)
    assert found.importance["colour"][0] == pytest.approx(0.5, rel=0.2)


def test_partial_dependence_follows_the_formula() -> None:
    features = _features()
    rows = judge(features, _value(features), _value, task="regression")

    curves = explain_model(rows, "regression", EvaluateSpec(), None, {}).curves

    slope = np.diff(curves["height"]["answers"][0]) / np.diff(curves["height"]["values"])
    assert slope == pytest.approx(np.full(len(slope), 3.0))
    by_colour = dict(zip(curves["colour"]["values"], curves["colour"]["answers"][0], strict=True))
    assert by_colour["red"] - by_colour["blue"] == pytest.approx(1.0)
    assert np.ptp(curves["noise"]["answers"][0]) == pytest.approx(0, abs=1e-9)


def test_of_two_classes_the_second_ones_probability_is_drawn() -> None:
    features = _features()

    def probability(rows: pd.DataFrame) -> Floats:
        return np.where(rows["colour"] == "red", 0.9, 0.2)

    rows = judge(features, (features["colour"] == "red").astype(int), probability)

    found = explain_model(rows, "classification", EvaluateSpec(), (False, True), {})

    curve = found.curves["colour"]
    assert dict(zip(curve["values"], curve["answers"][0], strict=True)) == pytest.approx({"red": 0.9, "blue": 0.2})
    assert curve["classes"] == ["True"]
    assert sum(curve["shares"]) == pytest.approx(1.0)


def test_values_of_a_personal_feature_are_not_shown_and_its_importance_is() -> None:
    features = _features()
    rows = judge(features, _value(features), _value, task="regression")

    found = explain_model(rows, "regression", EvaluateSpec(), None, {}, personal=frozenset({"height"}))

    assert "height" in found.importance
    assert "height" not in found.curves


def test_nothing_is_explained_where_nobody_asks() -> None:
    features = _features()
    rows = judge(features, _value(features), _value, task="regression")

    found = explain_model(rows, "regression", EvaluateSpec(importance=False), None, {})

    assert (found.importance, found.curves) == ({}, {})
