"""Laws of the block bootstrap, and of metrics that are measured on resamples without copying a row."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.bootstrap import cut_blocks, draw_weights, interval_of
from base.calibration import calibration_bins, calibration_error
from base.metrics import Floats, Task, measure
from base.resampled_metrics import resample_metrics

_SEEDS = st.integers(0, 2**16)


def _answers(task: Task, n_classes: int, n_rows: int, seed: int) -> tuple[Floats, Floats]:
    draw = np.random.default_rng(seed)
    if task == "regression":
        return draw.normal(20, 5, n_rows).round(1), draw.normal(20, 5, n_rows)
    # Rounded, so that scores are tied.
    raw = draw.random((n_rows, n_classes)).round(2) + 0.01
    return draw.integers(0, n_classes, n_rows).astype(np.float64), raw / raw.sum(axis=1, keepdims=True)


@pytest.mark.parametrize(("task", "n_classes"), [("regression", 0), ("classification", 2), ("classification", 4)])
@settings(max_examples=15, deadline=None)
@given(n_rows=st.integers(20, 400), seed=_SEEDS)
def test_a_resample_of_every_block_once_is_what_was_measured(
    task: Task, n_classes: int, n_rows: int, seed: int
) -> None:
    target, answers = _answers(task, n_classes, n_rows, seed)
    blocks = cut_blocks(n_rows)

    found = resample_metrics(
        task, target, answers, blocks, np.ones((1, blocks.n_cells)), threshold=0.4, quantiles=(0.9,), costs=target
    )

    measured = measure(task, target, answers, threshold=0.4, quantiles=(0.9,), costs=target)
    assert found.keys() == measured.keys()
    for name, value in measured.items():
        assert found[name][0] == pytest.approx(value, abs=1e-9), name


@settings(max_examples=15, deadline=None)
@given(seed=_SEEDS)
def test_a_resample_is_measured_as_its_rows_would_be_if_they_were_copied(seed: int) -> None:
    target, answers = _answers("classification", 2, 300, seed)
    blocks = cut_blocks(300)
    weights = draw_weights(blocks, 3, seed=seed)

    found = resample_metrics("classification", target, answers, blocks, weights)

    for draw in range(3):
        rows = np.repeat(np.arange(300), weights[draw].astype(int)[blocks.cell])
        copied = measure("classification", target[rows], answers[rows])
        # Its bins are those of all rows, since what is asked is how much that error would have varied.
        for name in copied.keys() - {"calibration_error"}:
            assert found[name][draw] == pytest.approx(copied[name], abs=1e-9), name


def test_ranks_beyond_four_thousand_are_merged_and_the_area_stays() -> None:
    draw = np.random.default_rng(0)
    score = draw.random(30_000)
    target = (draw.random(30_000) < score**2).astype(np.float64)
    answers = np.column_stack([1 - score, score])
    blocks = cut_blocks(30_000)

    found = resample_metrics("classification", target, answers, blocks, np.ones((1, blocks.n_cells)))

    measured = measure("classification", target, answers)
    assert found["roc_auc"][0] == pytest.approx(measured["roc_auc"], abs=1e-5)
    assert found["average_precision"][0] == pytest.approx(measured["average_precision"], abs=2e-4)


@given(n_rows=st.integers(10, 5_000), seed=_SEEDS)
@settings(max_examples=30, deadline=None)
def test_each_resample_is_made_of_as_many_cells_as_there_are(n_rows: int, seed: int) -> None:
    blocks = cut_blocks(n_rows)

    weights = draw_weights(blocks, 5, seed=seed)

    assert (weights.sum(axis=1) == blocks.n_cells).all()
    assert (np.diff(blocks.cell) >= 0).all()
    assert set(blocks.cell) == set(range(blocks.n_cells))


def test_intervals_cover_the_truth_as_often_as_they_say_where_neighbours_are_alike() -> None:
    draw = np.random.default_rng(7)
    covered = {"blocks": 0, "rows": 0}
    n_trials, n_rows = 200, 600
    for trial in range(n_trials):
        # An autoregression of 0.8: a row is much like the one before.
        noise = draw.normal(size=n_rows + 100)
        errors = np.zeros(n_rows + 100)
        for row in range(1, n_rows + 100):
            errors[row] = 0.8 * errors[row - 1] + noise[row]
        errors = errors[100:]
        blocks = cut_blocks(n_rows)
        weights = draw_weights(blocks, 400, seed=trial)
        means = resample_metrics("regression", np.zeros(n_rows), errors, blocks, weights)["mean_error"]
        bounds = interval_of(means, float(errors.mean()), n_blocks=blocks.n_blocks, confidence=0.95)
        assert bounds is not None
        covered["blocks"] += bounds[0] <= 0 <= bounds[1]
        covered["rows"] += abs(errors.mean()) <= 1.96 * errors.std() / np.sqrt(n_rows)

    assert covered["blocks"] / n_trials >= 0.87
    assert covered["rows"] / n_trials < 0.6


def test_a_metric_that_means_nothing_in_many_resamples_has_no_interval() -> None:
    draws = np.linspace(0, 1, 1_000)
    draws[:100] = np.nan

    assert interval_of(draws, 0.5, n_blocks=30, confidence=0.95) is None
    assert interval_of(draws, float("nan"), n_blocks=30, confidence=0.95) is None


def test_too_few_rows_for_blocks_are_told() -> None:
    with pytest.raises(ValueError, match=r"9 rows are too few for intervals; 10 are needed"):
        cut_blocks(9)


@given(seed=_SEEDS, n_rows=st.integers(1, 500), n_levels=st.integers(1, 50))
@settings(max_examples=30, deadline=None)
def test_bins_of_calibration_follow_the_scores_and_are_alike_in_size(seed: int, n_rows: int, n_levels: int) -> None:
    score = np.random.default_rng(seed).integers(0, n_levels, n_rows) / n_levels

    bins = calibration_bins(score)

    order = np.argsort(score, kind="stable")
    assert (np.diff(bins[order]) >= 0).all()
    assert all(len(set(bins[score == level])) == 1 for level in set(score))
    largest_tie = max(np.unique(score, return_counts=True)[1])
    assert np.bincount(bins).max() <= n_rows / 10 + 1 + largest_tie


def test_a_calibrated_score_has_a_small_error_and_a_boastful_one_a_large() -> None:
    draw = np.random.default_rng(0)
    chance = draw.random(20_000)
    happened = draw.random(20_000) < chance

    assert calibration_error(chance, happened) < 0.02
    assert calibration_error(np.where(chance > 0.5, 0.99, 0.01), happened) == pytest.approx(0.24, abs=0.02)
