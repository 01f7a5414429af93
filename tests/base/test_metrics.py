"""Laws of the losses and metrics."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.metrics import LOSS_NAMES, Floats, explain_unmeasured, measure, row_losses

_CENTS = st.integers(-(10**8), 10**8).map(lambda cents: cents / 100)
_VALUES = st.lists(st.tuples(_CENTS, _CENTS), min_size=1, max_size=20)
_SCORED = st.lists(st.tuples(st.integers(0, 1), st.floats(0, 1)), min_size=1, max_size=20)


def _probabilities(scores: list[float]) -> Floats:
    return np.column_stack([1 - np.asarray(scores), scores])


@given(pairs=_VALUES)
def test_the_loss_of_a_regression_is_the_mean_of_its_rows(pairs: list[tuple[float, float]]) -> None:
    target, prediction = (np.asarray(values) for values in zip(*pairs, strict=True))

    found = measure("regression", target, prediction)
    assert found[LOSS_NAMES["regression"]] == row_losses("regression", target, prediction).mean()
    assert found["rmse"] >= found["mae"] * (1 - 1e-9)
    assert abs(found["mean_error"]) <= found["mae"] * (1 + 1e-9)


@given(scored=_SCORED, threshold=st.floats(0, 1))
def test_metrics_of_two_classes_agree_with_scikit_learn(scored: list[tuple[int, float]], threshold: float) -> None:
    from sklearn.metrics import accuracy_score, brier_score_loss, f1_score, roc_auc_score

    codes, scores = np.asarray([code for code, _ in scored]), [score for _, score in scored]
    called = np.asarray(scores) >= threshold

    found = measure("classification", codes, _probabilities(scores), threshold=threshold)
    assert found["accuracy"] == pytest.approx(accuracy_score(codes, called))
    assert found["brier"] == pytest.approx(brier_score_loss(codes, scores, pos_label=1))
    assert found["f1"] == pytest.approx(f1_score(codes, called, zero_division=0.0))
    assert found["log_loss"] == row_losses("classification", codes, _probabilities(scores)).mean()
    assert ("roc_auc" in found) == (0 < codes.sum() < len(codes))
    if "roc_auc" in found:
        assert found["roc_auc"] == pytest.approx(roc_auc_score(codes, scores))


@given(scored=_SCORED)
def test_no_row_has_an_infinite_loss_and_none_a_negative_one(scored: list[tuple[int, float]]) -> None:
    losses = row_losses(
        "classification", np.asarray([code for code, _ in scored]), _probabilities([score for _, score in scored])
    )

    assert (losses >= 0).all()
    assert losses.max() <= -math.log(1e-6) + 1e-9


def test_a_class_that_the_model_was_never_shown_counts_as_missed() -> None:
    found = measure("classification", np.asarray([0, 1, -1]), _probabilities([0.0, 1.0, 0.0]))

    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["log_loss"] == pytest.approx(-math.log(1e-6) / 3, rel=1e-3)
    assert found["positive_share"] == pytest.approx(1 / 3)
    assert found["brier"] == 0
    assert found["roc_auc"] == 1


def test_three_classes_are_measured_together_and_one_against_the_rest() -> None:
    found = measure("classification", np.asarray([0, 1, 2]), np.eye(3))

    perfect = {"log_loss": 0.0, "accuracy": 1.0, "brier": 0.0, "calibration_error": 0.0}
    assert found == perfect | {"macro_f1": 1.0, "macro_roc_auc": 1.0}


@given(scored=st.lists(st.tuples(st.integers(0, 2), st.lists(st.floats(0.01, 1), min_size=3, max_size=3)), min_size=3))
def test_metrics_of_three_classes_agree_with_scikit_learn(scored: list[tuple[int, list[float]]]) -> None:
    from sklearn.metrics import f1_score, roc_auc_score

    codes = np.asarray([code for code, _ in scored])
    raw = np.asarray([row for _, row in scored])
    answers = raw / raw.sum(axis=1, keepdims=True)

    found = measure("classification", codes, answers)

    occurring = sorted(set(codes.tolist()))
    f1 = f1_score(codes, answers.argmax(axis=1), labels=occurring, average="macro", zero_division=0.0)
    assert found["macro_f1"] == pytest.approx(f1)
    assert ("macro_roc_auc" in found) == (len(occurring) > 1)
    if len(occurring) == 3:
        assert found["macro_roc_auc"] == pytest.approx(roc_auc_score(codes, answers, multi_class="ovr"))


@pytest.mark.parametrize(("zeros", "is_measured"), [(0, True), (1, False)])
def test_a_percentage_of_nothing_is_not_measured(zeros: int, is_measured: bool) -> None:
    target = np.asarray([2.0, 4.0, 5.0])
    target[:zeros] = 0

    found = measure("regression", target, np.asarray([1.0, 4.0, 5.0]))

    assert ("mape" in found) == is_measured
    assert ("mape" in explain_unmeasured("regression", target, found)) != is_measured


def test_a_constant_target_has_no_share_of_its_variance_explained() -> None:
    assert "r2" not in measure("regression", np.ones(3), np.asarray([1.0, 2.0, 3.0]))
