"""How long one row takes alone: what the model costs, and not what else the machine was doing."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

_WARM_UPS = 2
_MOST_ROWS = 20
_PASSES = 7
_SECONDS = 0.8


@dataclass(frozen=True)
class RowTimes:
    """Quantiles over rows, in milliseconds; each row's time is its best of *n_passes*."""

    n_rows: int
    n_passes: int
    p50_ms: float | None = None
    p95_ms: float | None = None


def time_rows(
    answer: Callable[[list[dict[str, Any]]], object],
    rows: Sequence[dict[str, Any]],
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> RowTimes:
    """Time the answers to rows one by one, in several passes after a warm-up, within about a second.

    A neighbour on the same machine makes some answers slower and none faster, so a row's best time is what the
    row costs; the quantiles over rows then tell how much rows differ. Few rows are timed of a model that is slow.

    Parameters
    ----------
    answer : callable
        Answers a list of one row.
    clock : callable, default=time.perf_counter
        In seconds.

    Examples
    --------
    >>> found = time_rows(lambda rows: None, [{"hour": 1}, {"hour": 2}])
    >>> found.n_rows, found.n_passes
    (2, 7)
    """
    if not rows:
        return RowTimes(0, 0)
    usual = min(_time(answer, rows[0], clock) for _ in range(_WARM_UPS))
    affordable = int(_SECONDS / usual) if usual > 0 else _MOST_ROWS * _PASSES
    n_rows = max(1, min(_MOST_ROWS, len(rows), affordable // _PASSES))
    chosen = [rows[number * len(rows) // n_rows] for number in range(n_rows)]
    best: list[float] = []
    n_passes, give_up = 0, clock() + 2 * _SECONDS
    while n_passes < _PASSES and (n_passes == 0 or clock() < give_up):
        taken = [_time(answer, row, clock) for row in chosen]
        best = [min(pair) for pair in zip(best, taken, strict=True)] if best else taken
        n_passes += 1
    best.sort()
    return RowTimes(n_rows, n_passes, _quantile(best, 0.5), _quantile(best, 0.95))


def _time(answer: Callable[[list[dict[str, Any]]], object], row: dict[str, Any], clock: Callable[[], float]) -> float:
    started = clock()
    answer([row])
    return clock() - started


def _quantile(taken: Sequence[float], share: float) -> float:
    """Take a quantile of sorted seconds, in milliseconds."""
    return 1e3 * taken[min(int(share * len(taken)), len(taken) - 1)]
