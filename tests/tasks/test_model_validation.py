"""The gate: its interval, its three verdicts, its policies, its checks."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.judged import Evaluation, SliceMetrics, Verdict
from base.pipeline import PipelineSpec
from base.references import Trigger
from registry.store import Registry
from tasks.frames import store_frame
from tasks.model_validation import paired_interval, rows_that_would_tell, validate_model
from tests.pipelines import define

_gaps = st.lists(st.floats(-10, 10), min_size=1, max_size=200).map(np.array)


@pytest.mark.parametrize("n_rows", [60, 600])
def test_the_interval_covers_as_often_as_it_says(n_rows: int) -> None:
    draw = np.random.default_rng(0)
    # Losses are skewed: most rows differ little, few differ much.
    gaps = draw.exponential(1.0, (2_000, n_rows)) - 1.0

    covered = [low <= 0 <= high for _, (low, high), _ in (paired_interval(gap, confidence=0.9) for gap in gaps)]

    # Of 2,000 draws at 90 %, chance moves the share by 2 points at most; skew costs a little more.
    assert 0.87 < np.mean(covered) < 0.93


def test_the_interval_allows_for_neighbours_being_alike() -> None:
    draw = np.random.default_rng(0)
    storms = np.repeat(draw.normal(size=(500, 60)), 50, axis=1)

    blocks = [paired_interval(gap, confidence=0.95)[1] for gap in storms]
    rows = [_row_wise_interval(gap) for gap in storms]

    assert np.mean([low <= 0 <= high for low, high in blocks]) > 0.9
    assert np.mean([low <= 0 <= high for low, high in rows]) < 0.4
    assert np.median([high - low for low, high in blocks]) > 3 * np.median([high - low for low, high in rows])


@given(gap=_gaps)
def test_swapping_the_models_turns_the_interval_round(gap: npt.NDArray[np.float64]) -> None:
    mean, (low, high), n_blocks = paired_interval(gap, confidence=0.95)
    turned_mean, (turned_low, turned_high), turned_blocks = paired_interval(-gap, confidence=0.95)

    assert n_blocks == turned_blocks
    assert (turned_mean, turned_low, turned_high) == pytest.approx((-mean, -high, -low), nan_ok=True)


@given(gap=_gaps, confidence=st.floats(0.51, 0.99))
def test_the_interval_holds_its_mean_and_grows_with_the_confidence(
    gap: npt.NDArray[np.float64], confidence: float
) -> None:
    mean, (low, high), _ = paired_interval(gap, confidence=confidence)
    _, (wider_low, wider_high), _ = paired_interval(gap, confidence=confidence + 0.005)

    assert low <= mean <= high
    assert wider_low <= low <= high <= wider_high


@pytest.mark.parametrize("n_rows", [1, 4, 9])
def test_few_rows_have_an_interval_without_end(n_rows: int) -> None:
    assert paired_interval(np.zeros(n_rows), confidence=0.95)[1] == (-math.inf, math.inf)


@given(difference=st.floats(0.001, 1), factor=st.floats(1, 100), n_rows=st.integers(10, 10_000))
def test_as_many_rows_as_would_tell_bring_the_interval_to_zero(difference: float, factor: float, n_rows: int) -> None:
    half = difference * factor
    needed = rows_that_would_tell(difference, (difference - half, difference + half), n_rows)

    assert needed is not None
    assert needed >= n_rows
    assert half * math.sqrt(n_rows / needed) <= difference * 1.001


@pytest.mark.parametrize(("difference", "interval"), [(0.0, (-1.0, 1.0)), (0.5, (-math.inf, math.inf))])
def test_nobody_knows_how_many_rows_would_tell_nothing(difference: float, interval: tuple[float, float]) -> None:
    assert rows_that_would_tell(difference, interval, 100) is None


def _row_wise_interval(gap: npt.NDArray[np.float64]) -> tuple[float, float]:
    half = 1.96 * gap.std(ddof=1) / math.sqrt(len(gap))
    return float(gap.mean() - half), float(gap.mean() + half)


VERDICTS: list[tuple[str, float, float, dict[str, Any], Trigger, str, bool]] = [
    ("better", -0.2, 0.1, {}, "person", "better", True),
    ("better, whoever asked", -0.2, 0.1, {"cannot_tell": "champion"}, "drift", "better", True),
    ("worse", 0.2, 0.1, {}, "person", "worse", False),
    ("worse, though fresher", 0.2, 0.1, {"cannot_tell": "fresher"}, "performance", "worse", False),
    ("cannot tell", -0.001, 1.0, {}, "person", "cannot tell", False),
    ("a person keeps the champion", 0.0, 1.0, {"cannot_tell": "auto"}, "person", "cannot tell", False),
    ("so does a schedule", 0.0, 1.0, {"cannot_tell": "auto"}, "schedule", "cannot tell", False),
    ("so does a webhook", 0.0, 1.0, {"cannot_tell": "auto"}, "webhook", "cannot tell", False),
    ("drift prefers the fresher", 0.0, 1.0, {"cannot_tell": "auto"}, "drift", "cannot tell", True),
    ("so does a loss", 0.0, 1.0, {"cannot_tell": "auto"}, "performance", "cannot tell", True),
    ("the policy keeps the champion", 0.0, 1.0, {"cannot_tell": "champion"}, "performance", "cannot tell", False),
    ("the policy prefers the fresher", 0.0, 1.0, {"cannot_tell": "fresher"}, "person", "cannot tell", True),
    ("equal to the last digit", 0.0, 0.0, {}, "person", "cannot tell", False),
]


@pytest.mark.parametrize(
    ("shift", "noise", "gate", "trigger", "outcome", "promote"),
    [row[1:] for row in VERDICTS],
    ids=[row[0] for row in VERDICTS],
)
def test_a_planted_difference_is_judged(
    shift: float, noise: float, gate: dict[str, Any], trigger: Trigger, outcome: str, promote: bool, registry: Registry
) -> None:
    draw = np.random.default_rng(3)
    champion = draw.uniform(1, 2, 600)
    challenger = champion + shift + draw.permuted(np.linspace(-noise, noise, 600))

    verdict = _judge(registry, challenger, champion, gate=gate, trigger=trigger)

    assert (verdict.outcome, verdict.promote) == (outcome, promote)
    assert verdict.champion_revision == 7
    assert f"{np.mean(champion):.4f}" in verdict.reason


def test_too_few_rows_cannot_tell_and_are_written_down(registry: Registry) -> None:
    verdict = _judge(registry, np.zeros(7), np.full(7, 5.0), gate={}, trigger="person")

    assert (verdict.outcome, verdict.promote, verdict.interval) == ("cannot tell", False, None)
    assert "too few rows for an interval" in verdict.reason
    assert Verdict.model_validate_json(verdict.model_dump_json()) == verdict


@pytest.mark.parametrize(("loss", "outcome", "promote"), [(0.4, "first", True), (0.7, "refused", False)])
def test_a_first_model_must_beat_what_one_would_say_without_it(
    loss: float, outcome: str, promote: bool, registry: Registry
) -> None:
    verdict = _judge(registry, np.full(60, loss), None, gate={}, trigger="person")

    assert (verdict.outcome, verdict.promote) == (outcome, promote)
    assert [check.passed for check in verdict.checks] == [promote]
    assert "0.6900 without a model" in verdict.reason


@pytest.mark.parametrize(
    ("slices", "declared", "passes", "words"),
    [
        ({"red": (0.5, 1.0), "blue": (1.05, 1.0)}, ["company"], True, "company = blue: loss +5.0%"),
        ({"red": (0.5, 1.0), "blue": (1.2, 1.0)}, ["company"], False, "company = blue: loss +20.0%"),
        ({"red": (0.1, 0.0)}, ["company"], False, "company = red: loss +inf%"),
        ({"red": (0.0, 0.0)}, ["company"], True, "company = red: loss +0.0%"),
        ({"red": (0.5, 1.0)}, ["company", "origin"], False, "slice column 'origin'"),
        ({}, ["company"], False, "slice column 'company'"),
        ({}, [], False, "declares no slice"),
    ],
)
def test_no_slice_may_regress_where_a_limit_is_set(
    slices: dict[str, tuple[float, float]], declared: list[str], passes: bool, words: str, registry: Registry
) -> None:
    champion = np.random.default_rng(0).uniform(1, 2, 600)
    measured = tuple(
        SliceMetrics(column="company", value=value, n_rows=50, metrics={"challenger_loss": own, "champion_loss": other})
        for value, (own, other) in slices.items()
    )

    gate = {"max_slice_regression": 0.1}
    verdict = _judge(
        registry, champion - 0.5, champion, gate=gate, trigger="person", slices=measured, declared=declared
    )

    (check,) = verdict.checks
    assert (check.passed, verdict.promote) == (passes, passes)
    assert words in check.evidence
    assert verdict.outcome == ("better" if passes else "refused")


def _judge(
    registry: Registry,
    challenger: npt.NDArray[np.float64],
    champion: npt.NDArray[np.float64] | None,
    *,
    gate: dict[str, Any],
    trigger: Trigger,
    slices: tuple[SliceMetrics, ...] = (),
    declared: list[str] | None = None,
) -> Verdict:
    losses = {"challenger": challenger} | ({} if champion is None else {"champion": champion})
    stored = store_frame(registry.artifacts, pd.DataFrame(losses))
    evaluation = Evaluation(
        n_rows=len(challenger),
        metrics={"log_loss": float(challenger.mean())},
        baseline={"log_loss": 0.69},
        champion=None if champion is None else {"log_loss": float(champion.mean())},
        champion_version=None if champion is None else 3,
        slices=slices,
        losses=stored,
        report=stored,
    )
    spec = PipelineSpec.model_validate(define(validate_model=gate, evaluate={"slices": declared or []}))
    return validate_model(evaluation, spec, registry.artifacts, trigger=trigger, champion_revision=7)
