"""Estimates without labels: near the truth where nothing has changed, and untrusted where they cannot know."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.metrics import LOSS_NAMES, measure
from monitoring.performance import (
    EstimateScore,
    ScoredEstimate,
    estimate_performance,
    explain_trust,
    learn_expectation,
    pair_with_truth,
    score_estimates,
)
from monitoring.performance.confidence import actual_losses, fit_calibration, fit_confidence
from tests.monitoring.performance.rows import Kind, as_served, describe_model, draw_rows

KINDS: tuple[Kind, ...] = ("two classes", "three classes", "regression")


@pytest.mark.parametrize("kind", KINDS)
def test_estimates_of_quiet_windows_cover_the_truth_about_as_often_as_they_claim(kind: Kind) -> None:
    manifest, reference = describe_model(kind), draw_rows(kind, 2_000, seed=1)
    expectation, covered = learn_expectation(manifest, reference), 0

    for seed in range(12):
        window = draw_rows(kind, 400, seed=100 + seed)
        estimate = estimate_performance(
            as_served(window), manifest, reference, features=window.features, expectation=expectation
        )
        scored = pair_with_truth(estimate, float(window.losses.mean()))
        assert estimate.is_trusted, estimate.why_not
        covered += scored is not None and scored.is_covered

    assert covered >= 10


@pytest.mark.parametrize("kind", ["two classes", "regression"])
def test_harder_rows_are_expected_to_lose_more(kind: Kind) -> None:
    manifest, reference = describe_model(kind), draw_rows(kind, 3_000, seed=1)
    window = draw_rows(kind, 3_000, seed=2)
    size = window.features["size"].to_numpy()
    hard = (np.abs(size - 0.5) < 0.2) if kind == "two classes" else size > 0.7
    rows = dataclasses.replace(
        window,
        features=window.features[hard].reset_index(drop=True),
        target=window.target[hard],
        answers=window.answers[hard],
        losses=window.losses[hard],
    )

    estimate = estimate_performance(as_served(rows), manifest, reference, features=rows.features)

    assert estimate.increase is not None
    assert estimate.increase > 0.1
    assert estimate.value == pytest.approx(rows.losses.mean(), rel=0.15)


def test_a_changed_meaning_of_the_same_rows_is_not_seen_by_any_estimate() -> None:
    manifest, reference = describe_model("regression"), draw_rows("regression", 2_000, seed=1)
    window = draw_rows("regression", 500, seed=2, harder=3.0)

    estimate = estimate_performance(as_served(window), manifest, reference, features=window.features)

    # The reason why an estimate is an early warning and never asks for a training.
    assert estimate.is_trusted
    assert estimate.interval is not None
    assert estimate.interval[1] < window.losses.mean()


@pytest.mark.parametrize("kind", KINDS)
def test_rows_unlike_the_reference_are_named_as_the_reason_for_no_trust(kind: Kind) -> None:
    manifest, reference = describe_model(kind), draw_rows(kind, 1_000, seed=1)
    window = draw_rows(kind, 300, seed=2)
    moved = window.features.assign(size=window.features["size"] + 5, city="lima")

    estimate = estimate_performance(as_served(window), manifest, reference, features=moved)

    assert not estimate.is_trusted
    assert estimate.outside == 1.0
    assert estimate.separability > 0.99
    assert "outside the reference" in explain_trust(estimate)


@pytest.mark.parametrize(
    ("n_reference", "n_window", "reason"),
    [
        (200, 500, "the reference has 200 rows, expected at least 300"),
        (1_000, 12, "the window has 12 rows, expected at least 30"),
        (1_000, 0, "the window has 0 rows, expected at least 30"),
    ],
)
def test_too_few_rows_give_no_estimate_and_the_reason(n_reference: int, n_window: int, reason: str) -> None:
    reference, window = draw_rows("two classes", n_reference, seed=1), draw_rows("two classes", n_window, seed=2)

    estimate = estimate_performance(
        as_served(window), describe_model("two classes"), reference, features=window.features
    )

    assert (estimate.is_trusted, estimate.interval, estimate.why_not) == (False, None, (reason,))


def test_a_reference_of_before_gives_no_estimate() -> None:
    window = draw_rows("three classes", 100, seed=2)

    estimate = estimate_performance(as_served(window), describe_model("three classes"), None, features=window.features)

    assert estimate.why_not == ("the reference does not tell target and answers",)


def test_estimates_that_were_wrong_are_not_trusted_again_and_their_interval_is_wider() -> None:
    manifest, reference = describe_model("regression"), draw_rows("regression", 1_000, seed=1)
    window = draw_rows("regression", 300, seed=2)
    wrong = [ScoredEstimate(value=1.0, low=0.8, high=1.2, truth=1.5)] * 5

    naive = estimate_performance(as_served(window), manifest, reference, features=window.features)
    warned = estimate_performance(
        as_served(window), manifest, reference, features=window.features, past=score_estimates(wrong)
    )

    assert naive.is_trusted
    assert not warned.is_trusted
    assert any("5 of 5 past windows" in reason for reason in warned.why_not)
    assert warned.widened == pytest.approx(2.5)
    assert naive.interval is not None
    assert warned.interval is not None
    assert warned.interval[1] - warned.interval[0] > naive.interval[1] - naive.interval[0]


def test_a_proven_estimate_is_trusted_also_where_every_window_looks_new() -> None:
    manifest, reference = describe_model("two classes"), draw_rows("two classes", 1_000, seed=1)
    window = draw_rows("two classes", 300, seed=2)
    later = window.features.assign(age=window.features["age"] + 50)
    right = score_estimates([ScoredEstimate(value=0.5, low=0.45, high=0.55, truth=0.51)] * 5)

    unproven = estimate_performance(as_served(window), manifest, reference, features=later)
    proven = estimate_performance(as_served(window), manifest, reference, features=later, past=right)

    assert (unproven.is_trusted, proven.is_trusted) == (False, True)


def test_nothing_past_is_nothing_known() -> None:
    assert score_estimates([]) == EstimateScore(n_windows=0)


@settings(max_examples=30, deadline=None)
@given(
    truths=st.lists(st.floats(0.1, 2.0), min_size=5, max_size=30),
    half=st.floats(0.01, 0.5),
)
def test_a_widened_interval_would_have_covered_as_many_windows_as_it_claims(truths: list[float], half: float) -> None:
    past = [ScoredEstimate(value=1.0, low=1 - half, high=1 + half, truth=truth) for truth in truths]

    score = score_estimates(past, confidence=0.9)

    within = sum(abs(truth - 1.0) <= score.widening * half * (1 + 1e-9) for truth in truths)
    assert within >= 0.9 * len(truths) or score.reason is not None
    assert score.widening >= 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(["two classes", "three classes"]))
def test_the_mean_of_row_metrics_is_the_metric_of_the_gate(seed: int, kind: Kind) -> None:
    rows = draw_rows(kind, 200, seed=seed)

    by_row = actual_losses(rows.target, rows.answers, threshold=0.5)

    whole = measure("classification", rows.target, rows.answers)
    assert {name: values.mean() for name, values in by_row.items()} == pytest.approx(
        {name: whole[name] for name in by_row}
    )


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), tilt=st.floats(0.3, 3.0))
def test_calibrated_probabilities_keep_their_order_and_their_mean(seed: int, tilt: float) -> None:
    draw = np.random.default_rng(seed)
    told = draw.random(1_500)
    happened = draw.random(1_500) < told**tilt

    calibrated = fit_calibration(told, happened)(told)

    order = np.argsort(told)
    assert (np.diff(calibrated[order]) >= -1e-9).all()
    assert calibrated.mean() == pytest.approx(happened.mean(), abs=0.02)


def test_a_model_that_is_too_sure_is_seen_through() -> None:
    honest = draw_rows("two classes", 4_000, seed=3)
    sure = 1 / (1 + (honest.answers[:, ::-1] / honest.answers) ** 3)

    expected = fit_confidence(honest.target, sure).expect(sure, threshold=0.5)

    truth = measure("classification", honest.target, sure)
    assert expected["log_loss"].mean() == pytest.approx(truth["log_loss"], rel=0.03)
    assert expected["accuracy"].mean() == pytest.approx(truth["accuracy"], rel=0.03)
    assert np.log(sure.max(axis=1)).mean() > -0.6 * truth["log_loss"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_window_gives_the_same_document(kind: Kind) -> None:
    manifest, reference = describe_model(kind), draw_rows(kind, 500, seed=1)
    window = draw_rows(kind, 100, seed=2)

    first, second = (
        estimate_performance(as_served(window), manifest, reference, features=window.features) for _ in range(2)
    )

    assert first.model_dump_json() == second.model_dump_json()
    assert first.metric == LOSS_NAMES[manifest.task]
    assert type(first).model_validate_json(first.model_dump_json()) == first


def test_rows_of_a_version_with_other_classes_are_left_out() -> None:
    reference, window = draw_rows("two classes", 500, seed=1), draw_rows("two classes", 100, seed=2)
    others = pd.Series([[0.2, 0.3, 0.5]] * 40 + [None] * 60, dtype=object)
    served = as_served(window).assign(probabilities=others)

    estimate = estimate_performance(served, describe_model("two classes"), reference, features=window.features)

    assert estimate.n_rows == 60
