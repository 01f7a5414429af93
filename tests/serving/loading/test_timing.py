"""Claims about timing: a busy machine does not make a model slow, and a slow row does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.loading.timing import time_rows

ROWS = [{"number": number} for number in range(32)]


class Machine:
    """A clock that only answers move forward, and a model whose answers a neighbour may delay."""

    def __init__(self, seconds: Callable[[int], float], delays: Callable[[int], float] = lambda _call: 0.0) -> None:
        self.now = 0.0
        self.calls = 0
        self._seconds, self._delays = seconds, delays

    def answer(self, rows: list[dict[str, Any]]) -> None:
        (row,) = rows
        self.now += self._seconds(row["number"]) + self._delays(self.calls)
        self.calls += 1

    def clock(self) -> float:
        return self.now


@given(slowed=st.lists(st.booleans(), min_size=7, max_size=7).filter(lambda each: not all(each)))
def test_whatever_a_neighbour_delays_a_row_that_had_one_quiet_pass_is_as_fast_as_it_is(slowed: list[bool]) -> None:
    n_rows, warm_ups = 20, 2
    machine = Machine(
        lambda _row: 0.002,
        lambda call: 0.05 if call >= warm_ups and slowed[min((call - warm_ups) // n_rows, 6)] else 0.0,
    )

    found = time_rows(machine.answer, ROWS, clock=machine.clock)

    # The budget may end the passes of a machine that is slow from the beginning on.
    if not all(slowed[: found.n_passes]):
        assert found.p95_ms == pytest.approx(2.0)


def test_rows_that_take_longer_every_time_are_seen() -> None:
    machine = Machine(lambda row: 0.03 if row >= 28 else 0.002)

    found = time_rows(machine.answer, ROWS, clock=machine.clock)

    assert found.p50_ms == pytest.approx(2.0)
    assert found.p95_ms == pytest.approx(30.0)


def test_a_first_answer_that_is_slow_does_not_count() -> None:
    machine = Machine(lambda _row: 0.002, lambda call: 3.0 if call == 0 else 0.0)

    found = time_rows(machine.answer, ROWS, clock=machine.clock)

    assert (found.n_rows, found.n_passes) == (20, 7)
    assert found.p95_ms == pytest.approx(2.0)


@pytest.mark.parametrize(("seconds", "n_rows", "n_passes"), [(0.001, 20, 7), (0.02, 5, 7), (0.5, 1, 4), (9.0, 1, 1)])
def test_a_slow_model_is_timed_on_fewer_rows_and_keeps_to_its_seconds(
    seconds: float, n_rows: int, n_passes: int
) -> None:
    machine = Machine(lambda _row: seconds)

    found = time_rows(machine.answer, ROWS, clock=machine.clock)

    assert (found.n_rows, found.n_passes) == (n_rows, n_passes)
    assert found.p95_ms == pytest.approx(1e3 * seconds)


def test_without_rows_nothing_is_claimed() -> None:
    assert time_rows(lambda _rows: None, []).p95_ms is None
