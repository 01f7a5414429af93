"""Claims about hindsight: no schedule is cheaper than the one that dynamic programming finds."""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st

from tasks.backtest.oracle import foresee

Floats = npt.NDArray[np.float64]


def _cost(losses: Floats, available: list[int], price: float, chosen: tuple[int, ...]) -> float:
    total, model = price * len(chosen), 0
    for stretch in range(losses.shape[1]):
        for successor in chosen:
            if available[successor] == stretch:
                model = successor
        total += float(losses[model, stretch])
    return total


@given(
    losses=st.lists(st.lists(st.floats(0, 1), min_size=6, max_size=6), min_size=1, max_size=4),
    starts=st.lists(st.integers(0, 5), min_size=3, max_size=3),
    price=st.floats(0.01, 1),
)
def test_no_schedule_is_cheaper(losses: list[list[float]], starts: list[int], price: float) -> None:
    table = np.array(losses)
    available = [0, *sorted(starts)][: len(losses)]

    found = foresee(table, available, price)

    later = range(1, len(losses))
    every = [chosen for size in range(len(losses)) for chosen in itertools.combinations(later, size)]
    assert found.cost <= min(_cost(table, available, price, chosen) for chosen in every) + 1e-9
    assert abs(found.cost - _cost(table, available, price, found.chosen)) < 1e-9


def test_what_costs_more_than_it_spares_is_never_chosen() -> None:
    losses = np.array([[0.5] * 4, [0.4] * 4])

    assert foresee(losses, [0, 0], price=0.41).chosen == ()
    assert foresee(losses, [0, 0], price=0.39).chosen == (1,)
