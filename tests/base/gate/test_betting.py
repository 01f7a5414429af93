"""Claims about bets: equal models are seldom taken for unequal, worse ones soon for worse, however often one looks."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.gate.betting import UNTRIED, bet_on_mean, bet_on_rates, pair_up

_differences = st.lists(st.floats(-1, 1), max_size=60)


@given(first=_differences, more=_differences)
def test_the_largest_fortune_never_shrinks_as_more_is_known(first: list[float], more: list[float]) -> None:
    before, after = bet_on_mean(first), bet_on_mean(first + more)

    assert after.largest >= before.largest >= 1.0
    assert after.value <= after.largest + 1e-12


@given(gains=st.lists(st.floats(-1, 0), min_size=1, max_size=60))
def test_a_model_that_never_loses_more_never_raises_an_alarm(gains: list[float]) -> None:
    assert bet_on_mean(gains).largest == pytest.approx(1.0)


def test_nothing_known_is_nothing_won() -> None:
    assert (bet_on_mean([]), bet_on_rates([])) == (UNTRIED, UNTRIED)


def _share_of_alarms(draw: np.random.Generator, *, difference: float, false_alarm: float, n_streams: int) -> float:
    # Right or wrong on 20 looks of 200 rows; only rows on which the two differ say anything.
    alarms = 0
    for _ in range(n_streams):
        old, new = draw.random((2, 20 * 200)) < np.array([[0.2], [0.2 + difference]])
        alarms += bet_on_mean(new.astype(float) - old).exceeds(false_alarm)
    return alarms / n_streams


def test_of_equal_models_at_most_one_in_twenty_is_called_worse_in_twenty_looks() -> None:
    share = _share_of_alarms(np.random.default_rng(1), difference=0.0, false_alarm=0.05, n_streams=400)

    assert share <= 0.05


def test_a_model_that_is_four_points_worse_is_called_so() -> None:
    share = _share_of_alarms(np.random.default_rng(2), difference=0.04, false_alarm=0.05, n_streams=50)

    assert share >= 0.95


@pytest.mark.parametrize("rate", [0.0, 0.001, 0.02, 0.3])
def test_equal_rates_of_failure_raise_no_more_alarms_than_allowed(rate: float) -> None:
    draw = np.random.default_rng(3)

    alarms = [
        bet_on_rates([(300, draw.binomial(300, rate), 15, draw.binomial(15, rate)) for _ in range(20)]).exceeds(0.05)
        for _ in range(300)
    ]

    assert np.mean(alarms) <= 0.05


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 100), st.integers(0, 30)).map(lambda n: (n[0], n[0], n[1], 0)), min_size=1, max_size=20
    )
)
def test_a_new_one_that_never_fails_is_never_accused(looks: list[tuple[int, int, int, int]]) -> None:
    assert bet_on_rates(looks).largest == pytest.approx(1.0, abs=1e-9)


def test_a_new_one_that_fails_every_request_is_found_within_the_first() -> None:
    assert bet_on_rates([(1000, 0, 10, 10)]).exceeds(0.001)


def test_rows_without_a_partner_wait() -> None:
    assert pair_up([0.1, 0.4, 0.9], [0.3, 0.1]).tolist() == pytest.approx([0.2, -0.3])
