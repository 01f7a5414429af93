"""The pipeline's own quiet history: how far its columns move from window to window when nothing is the matter."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

FEWEST_WINDOWS = 6
"""With fewer quiet windows nobody knows yet what is usual here."""

RATE = "rate"
"""Under this name a window keeps how many rows came an hour."""

# As many windows of the same hour or weekday, and the others are not looked at.
_FEWEST_OF_A_PHASE = 8
# Older ones tell of a model and of a traffic that are long gone.
MOST_WINDOWS = 200
# Where a column never moved at all, the first small movement would be infinitely unusual.
_SMALLEST_SPREAD = 0.15

_DAY, _WEEK = timedelta(days=1), timedelta(weeks=1)


@dataclass(frozen=True)
class QuietWindow:
    """What was measured in a window that called for nothing: each statistic under its name.

    ``version`` is the one whose reference it was held against.
    """

    start: datetime
    length: timedelta
    values: Mapping[str, float]
    version: int | None = None


@dataclass(frozen=True)
class QuietHistory:
    """The quiet windows of a pipeline, oldest first."""

    windows: tuple[QuietWindow, ...] = ()

    def before(self, moment: datetime) -> QuietHistory:
        """The windows that began before a moment: whenever a window is judged, later ones have no say."""
        return QuietHistory(tuple(window for window in self.windows if window.start < moment))

    def without(self, start: datetime) -> QuietHistory:
        """All but the window that began then."""
        return QuietHistory(tuple(window for window in self.windows if window.start != start))

    def with_window(self, window: QuietWindow) -> QuietHistory:
        """All, and one more in its place."""
        return QuietHistory(tuple(sorted((*self.without(window.start).windows, window), key=lambda each: each.start)))

    def past_values(self, name: str, *, before: datetime) -> Floats:
        """Return what a statistic was in the quiet windows before a moment, oldest first."""
        found = [window.values[name] for window in self._before(before) if name in window.values]
        return np.array(found, dtype=np.float64)

    def past_rates(self, *, start: datetime, length: timedelta) -> Floats:
        """Return how many rows an hour came in quiet windows of the same hour or weekday, where there are enough.

        Nights and Sundays are quiet by themselves: an hour at noon that has as few rows as one at night has too few.
        Windows of less than a day are compared with those of the same hour, of less than a week with those of the same
        weekday, longer ones with all.
        """
        recent = [window for window in self._before(start) if RATE in window.values]
        phase = _phase(start, length)
        alike = [window for window in recent if phase is not None and _phase(window.start, length) == phase]
        chosen = alike if len(alike) >= _FEWEST_OF_A_PHASE else recent
        return np.array([window.values[RATE] for window in chosen], dtype=np.float64)

    def _before(self, moment: datetime) -> list[QuietWindow]:
        return list(self.before(moment).windows[-MOST_WINDOWS:])


def chance_of_effect(effect: float, past: Sequence[float] | Floats, *, floor: float = 0.1) -> float | None:
    """Return the chance that a quiet window shows an effect as large as this one, judged by past quiet windows.

    Where a past window showed at least as much, its rank answers, with no assumption but that windows are exchangeable
    (a conformal p-value: Vovk, Gammerman & Shafer 2005). Beyond the largest one ranks say nothing, and a budget of one
    alarm among thousands of windows lies there: the logarithms of the effects are continued by Student's predictive
    distribution, which knows how few they are.

    Parameters
    ----------
    effect : float
        Without unit, at least 0.
    past : array of shape (n_windows,)
    floor : float
        What is worth a word; effects below are much the same to everyone, and their logarithms are taken so.

    Returns
    -------
    float or None
        None with fewer than six past windows.

    Examples
    --------
    >>> quiet = [0.05, 0.06, 0.04, 0.05, 0.07, 0.05, 0.06, 0.04]
    >>> round(chance_of_effect(0.06, quiet), 2)
    0.44
    >>> chance_of_effect(0.5, quiet) < 1e-4
    True
    >>> chance_of_effect(0.5, quiet[:3]) is None
    True
    """
    found = np.asarray(past, dtype=np.float64)
    if len(found) < FEWEST_WINDOWS:
        return None
    return _chance_above(math.log(effect + floor), np.log(found + floor), _SMALLEST_SPREAD)


def chance_of_so_few(rate: float, past: Sequence[float] | Floats) -> float | None:
    """Return the chance that a quiet window has as few rows an hour as this one; None with fewer than six windows.

    Examples
    --------
    >>> chance_of_so_few(3.0, [100.0, 110.0, 95.0, 102.0, 99.0, 104.0, 97.0]) < 1e-3
    True
    """
    found = np.asarray(past, dtype=np.float64)
    if len(found) < FEWEST_WINDOWS:
        return None
    return _chance_above(-math.log(rate + 1e-9), -np.log(found + 1e-9), _SMALLEST_SPREAD)


def largest_usual(past: Sequence[float] | Floats, level: float) -> float | None:
    """Return what a statistic exceeds in a quiet window with the chance *level*; None with fewer than six windows.

    Examples
    --------
    >>> 0.06 < largest_usual([0.01, -0.02, 0.03, 0.0, 0.02, -0.01, 0.01], 0.01) < 0.08
    True
    """
    from scipy.special import stdtrit

    found = np.asarray(past, dtype=np.float64)
    n = len(found)
    if n < FEWEST_WINDOWS:
        return None
    spread = float(found.std(ddof=1)) * math.sqrt(1 + 1 / n)
    return max(float(found.mean()) + float(stdtrit(n - 1, 1 - level)) * spread, float(found.max()))


def _chance_above(value: float, past: Floats, smallest_spread: float) -> float:
    from scipy.special import stdtr

    n = len(past)
    n_above = int((past >= value).sum())
    if n_above:
        return (1 + n_above) / (n + 1)
    spread = max(float(past.std(ddof=1)), smallest_spread) * math.sqrt(1 + 1 / n)
    # The lower tail of the mirrored distance: 1 - cdf would lose everything below 1e-16.
    return min(float(stdtr(n - 1, -(value - float(past.mean())) / spread)), 1 / (n + 1))


def _phase(start: datetime, length: timedelta) -> int | None:
    if length < _DAY:
        return start.hour
    return start.weekday() if length < _WEEK else None
