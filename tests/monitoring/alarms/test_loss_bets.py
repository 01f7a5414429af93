"""Claims about bets on the loss: they win where it rises, and rarely where it does not."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from base.gate.betting import BETS
from monitoring.alarms.loss_bets import NO_FORTUNES, LossSample, bet_on_losses, total_fortune


def _windows_until(fortune: float, *, factor: float, seed: int, n_rows: int = 100, most: int = 400) -> int:
    draw = np.random.default_rng(seed)
    reference = draw.exponential(1.0, 20_000)
    fortunes = NO_FORTUNES
    for number in range(1, most + 1):
        sample = LossSample(factor * draw.exponential(1.0, n_rows), float(reference.mean()), reference)
        fortunes = bet_on_losses(sample, fortunes, tolerance=0.0)
        if total_fortune(fortunes) >= fortune:
            return number
    return most


def test_without_a_rise_it_takes_as_many_windows_as_the_budget_says_or_more() -> None:
    waits = [_windows_until(50, factor=1.0, seed=seed) for seed in range(20)]

    assert np.mean(waits) >= 50


def test_after_a_long_quiet_time_a_rise_is_found_as_soon_as_at_the_beginning() -> None:
    draw = np.random.default_rng(3)
    reference = draw.exponential(1.0, 20_000)
    fortunes = NO_FORTUNES
    for _ in range(200):
        fortunes = bet_on_losses(LossSample(draw.exponential(0.8, 100), 1.0, reference), fortunes)

    n_windows = 0
    while total_fortune(fortunes) < 1_000:
        fortunes = bet_on_losses(LossSample(draw.exponential(1.6, 100), 1.0, reference), fortunes)
        n_windows += 1

    assert n_windows <= 4


@given(st.lists(st.floats(0, 1e6), max_size=50), st.floats(0, 100), st.floats(0, 2))
def test_whatever_the_losses_are_the_fortunes_are_numbers(
    losses: list[float], expected: float, tolerance: float
) -> None:
    sample = LossSample(np.array(losses), expected)

    fortunes = NO_FORTUNES
    for _ in range(5):
        fortunes = bet_on_losses(sample, fortunes, tolerance=tolerance)

    assert len(fortunes) == len(BETS)
    assert all(0 <= fortune < float("inf") for fortune in fortunes)


def test_stretches_of_the_reference_tell_how_much_windows_differ() -> None:
    reference = np.repeat([1.0, 2.0, 3.0, 2.0, 1.0, 3.0], 100)

    sample = LossSample(np.ones(100), 2.0, reference)

    assert sample.reference_increases().tolist() == [-0.5, 0.0, 0.5, 0.0, -0.5, 0.5]
    assert LossSample(np.ones(200), 2.0, reference).reference_increases().tolist() == []
