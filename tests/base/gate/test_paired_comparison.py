"""The paired comparison: its interval, its luck, its rows that would tell, and the tests of slices."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.gate.paired_comparison import (
    adjust_for_many,
    compare_pairs,
    probability_of_no_rise,
    rows_that_would_tell,
)

_gaps = st.lists(st.floats(-10, 10), min_size=1, max_size=200).map(np.array)


@pytest.mark.parametrize("n_rows", [60, 600])
def test_the_interval_covers_as_often_as_it_says(n_rows: int) -> None:
    draw = np.random.default_rng(0)
    # Losses are skewed: most rows differ little, few differ much.
    gaps = draw.exponential(1.0, (1_500, n_rows)) - 1.0

    covered = [found.low <= 0 <= found.high for found in (compare_pairs(gap, confidence=0.9) for gap in gaps)]

    # Of 1,500 draws at 90 %, chance moves the share by 2 points at most; skew costs a little more.
    assert 0.87 < np.mean(covered) < 0.93


def test_the_interval_allows_for_neighbours_being_alike() -> None:
    draw = np.random.default_rng(0)
    storms = np.repeat(draw.normal(size=(300, 60)), 50, axis=1)

    blocks = [compare_pairs(gap, confidence=0.95) for gap in storms]
    rows = [_row_wise_interval(gap) for gap in storms]

    assert np.mean([found.low <= 0 <= found.high for found in blocks]) > 0.9
    assert np.mean([low <= 0 <= high for low, high in rows]) < 0.4
    assert np.median([found.high - found.low for found in blocks]) > 3 * np.median([high - low for low, high in rows])


def test_blocks_that_are_still_alike_are_joined() -> None:
    draw = np.random.default_rng(1)
    weeks = np.repeat(draw.normal(size=(300, 10)), 60, axis=1)

    found = [compare_pairs(gap, confidence=0.95) for gap in weeks]

    assert np.mean([one.low <= 0 <= one.high for one in found]) > 0.85
    assert np.median([one.n_blocks for one in found]) < 30


@given(gap=_gaps, refits=st.lists(st.floats(0, 10), max_size=5))
def test_swapping_the_models_turns_the_interval_round(gap: npt.NDArray[np.float64], refits: list[float]) -> None:
    found = compare_pairs(gap, confidence=0.95, refits=refits)
    turned = compare_pairs(-gap, confidence=0.95, refits=refits)

    assert found.n_blocks == turned.n_blocks
    assert (turned.difference, turned.low, turned.high) == pytest.approx(
        (-found.difference, -found.high, -found.low), nan_ok=True
    )


@given(gap=_gaps, confidence=st.floats(0.51, 0.99))
def test_the_interval_holds_its_mean_and_grows_with_the_confidence(
    gap: npt.NDArray[np.float64], confidence: float
) -> None:
    found = compare_pairs(gap, confidence=confidence)
    wider = compare_pairs(gap, confidence=confidence + 0.005)

    assert found.low <= found.difference <= found.high
    assert wider.low <= found.low <= found.high <= wider.high


def test_equal_recipes_with_other_seeds_are_seldom_told_apart() -> None:
    draw = np.random.default_rng(2)
    n_trials, luck = 1_000, 0.1
    skill = draw.normal(0, luck, (n_trials, 5))
    told_by_rows, told = 0, 0
    for champion, challenger, *others in skill:
        gap = challenger - champion + draw.normal(0, 1, 600)
        told_by_rows += compare_pairs(gap, confidence=0.95).high < 0
        told += compare_pairs(gap, confidence=0.95, refits=[challenger, *others]).high < 0

    assert told_by_rows / n_trials > 0.2
    assert told / n_trials < 0.05


@pytest.mark.parametrize("n_rows", [0, 1, 4, 9])
def test_few_rows_have_an_interval_without_end(n_rows: int) -> None:
    found = compare_pairs(np.zeros(n_rows), confidence=0.95)

    assert (found.low, found.high, found.interval) == (-math.inf, math.inf, None)


@given(seed=st.integers(0, 1_000), difference=st.floats(0.001, 1), power=st.floats(0.51, 0.99))
def test_fewer_rows_tell_what_is_larger_and_more_rows_what_is_surer(seed: int, difference: float, power: float) -> None:
    found = compare_pairs(np.random.default_rng(seed).normal(size=300), confidence=0.95)

    rows = rows_that_would_tell(found, difference, power=power)
    fewer = rows_that_would_tell(found, 2 * difference, power=power)
    more = rows_that_would_tell(found, difference, power=power + 0.005)

    assert rows is not None
    assert fewer is not None
    assert more is not None
    assert fewer <= rows <= more
    # A quarter of the rows tells twice the difference.
    assert rows / 4 == pytest.approx(fewer, abs=1)


def test_as_many_rows_as_would_tell_do_so_as_often_as_the_power_says() -> None:
    draw = np.random.default_rng(3)
    found = compare_pairs(draw.normal(0, 1, 3_000), confidence=0.95)
    needed = rows_that_would_tell(found, 0.1, power=0.8)
    assert needed is not None

    told = [compare_pairs(draw.normal(-0.1, 1, needed), confidence=0.95).high < 0 for _ in range(500)]

    assert 0.76 < np.mean(told) < 0.95


@pytest.mark.parametrize(
    ("gap", "difference", "refits"),
    [
        (np.tile([1.0, -1.0], 50), 0.0, []),
        (np.zeros(4), 0.5, []),
        (np.zeros(100), 0.5, []),
        # The luck of the seed alone is wider than the difference.
        (np.random.default_rng(0).normal(size=100), 0.1, [1.0, 2.0, 3.0]),
    ],
)
def test_no_number_of_rows_tells_nothing_or_luck(
    gap: npt.NDArray[np.float64], difference: float, refits: list[float]
) -> None:
    found = compare_pairs(gap, confidence=0.95, refits=refits)

    assert rows_that_would_tell(found, difference, power=0.8) is None


@given(probabilities=st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_many_tests_are_adjusted_upwards_and_keep_their_order(probabilities: list[float]) -> None:
    holm = adjust_for_many(probabilities, correction="holm")
    hochberg = adjust_for_many(probabilities, correction="benjamini-hochberg")

    for adjusted in (holm, hochberg):
        assert all(before <= after + 1e-12 for before, after in zip(probabilities, adjusted, strict=True))
        assert all(0 <= after <= 1 for after in adjusted)
        order = np.argsort(probabilities, kind="stable")
        assert np.all(np.diff(np.array(adjusted)[order]) >= -1e-12)
    assert all(strict >= lenient - 1e-12 for strict, lenient in zip(holm, hochberg, strict=True))


def test_of_many_equal_slices_one_is_seldom_called_worse() -> None:
    draw = np.random.default_rng(4)
    alarms, naive = 0, 0
    for _ in range(200):
        found = [probability_of_no_rise(gap) for gap in draw.normal(size=(20, 150))]
        alarms += min(adjust_for_many(found, correction="holm")) < 0.05
        naive += min(found) < 0.05

    assert alarms / 200 < 0.1
    assert naive / 200 > 0.4


def _row_wise_interval(gap: npt.NDArray[np.float64]) -> tuple[float, float]:
    half = 1.96 * gap.std(ddof=1) / math.sqrt(len(gap))
    return float(gap.mean() - half), float(gap.mean() + half)
