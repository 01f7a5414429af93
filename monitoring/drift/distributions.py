"""The distribution of a quantity as bounded steps, and how far sorted values lie from it."""

from __future__ import annotations

import math
import sys

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

# A step holds a five-hundredth of the reference: finer than what 5,000 rows can tell (about a fiftieth).
MOST_STEPS = 512
# The outermost half per cent on each side is left out of distances and scales: one typing error among a thousand
# rows would stretch the unit in which all others are measured.
_LEVELS = (np.arange(400) + 0.5) / 400
_INNER = _LEVELS[(_LEVELS > 0.005) & (_LEVELS < 0.995)]
_LARGEST = 1e6
# A column of one value has no width; a twentieth of its size stands for it.
_WIDTH_OF_CONSTANT = 0.05

Numbers = npt.NDArray[np.float64]


class Steps(BaseModel):
    """Where an empirical distribution function stands: how many rows lie below a value, and how many up to it.

    Exact at each of ``values``, which are all distinct ones where there are at most 512, the smallest and the largest
    among them.
    """

    model_config = ConfigDict(frozen=True)

    values: tuple[float, ...]
    below: tuple[int, ...]
    upto: tuple[int, ...]

    @property
    def n(self) -> int:
        """How many rows there are."""
        return self.upto[-1]

    @property
    def is_exact(self) -> bool:
        """Whether every distinct value is a step."""
        return self.below == (0, *self.upto[:-1])

    def quantiles(self, levels: Numbers) -> Numbers:
        """The smallest steps up to which at least these shares of the rows lie."""
        places = np.searchsorted(np.asarray(self.upto), levels * self.n, side="left")
        return np.asarray(self.values)[places]

    @property
    def scale(self) -> float:
        """The standard deviation without the outermost rows; of a constant, a twentieth of its size, or one."""
        size = _size(np.asarray(self.values))
        inner = float((self.quantiles(_INNER) / size).std())
        if inner > 0:
            return inner * size
        counts = np.diff(np.asarray((0, *self.upto)))
        values = np.asarray(self.values) / size
        mean = float(np.average(values, weights=counts))
        whole = math.sqrt(float(np.average((values - mean) ** 2, weights=counts)))
        return (whole or _WIDTH_OF_CONSTANT * abs(mean)) * size or 1.0


def take_steps(ordered: Numbers) -> Steps:
    """Take the steps of sorted finite values, at least one.

    Examples
    --------
    >>> take_steps(np.array([1.0, 1.0, 4.0]))
    Steps(values=(1.0, 4.0), below=(0, 2), upto=(2, 3))
    """
    values = ordered[np.concatenate([[True], ordered[1:] != ordered[:-1]])]
    if len(values) > MOST_STEPS:
        places = np.linspace(0, len(ordered) - 1, MOST_STEPS).round().astype(np.int64)
        values = np.unique(ordered[places])
    below = np.searchsorted(ordered, values, side="left")
    upto = np.searchsorted(ordered, values, side="right")
    return Steps(values=tuple(values.tolist()), below=tuple(below.tolist()), upto=tuple(upto.tolist()))


def compare_by_kolmogorov(reference: Steps, ordered: Numbers) -> tuple[float, float]:
    """Test by the largest distance of two distribution functions whether sorted values come from the reference.

    The two-sample test of Smirnov (1939); looked at on the reference's steps only, and with ties its p-value
    is never too small (Noether 1963).

    Returns
    -------
    tuple of float
        The distance, and the p-value.
    """
    from scipy.stats import kstwo

    n, m = reference.n, len(ordered)
    values = np.asarray(reference.values, dtype=ordered.dtype)
    below = np.asarray(reference.below) / n - np.searchsorted(ordered, values, side="left") / m
    upto = np.asarray(reference.upto) / n - np.searchsorted(ordered, values, side="right") / m
    apart = float(max(np.abs(below).max(), np.abs(upto).max()))
    effective = max(1, round(n * m / (n + m)))
    return apart, float(np.clip(kstwo.sf(apart, effective), 0.0, 1.0))


def measure_distance(reference: Steps, ordered: Numbers) -> tuple[float, float]:
    """Measure how far sorted values lie from the reference, and how far their mean moved, in standard deviations.

    The first is the Wasserstein distance (Vallender 1974: the area between two quantile functions), less what it is
    on average between two samples of these sizes from one distribution (del Barrio, Giné & Matrán 1999: each
    point of the distribution function scatters as a share does).

    Returns
    -------
    tuple of float
        The distance, never negative, and the shift of the mean with its sign.
    """
    n, m = reference.n, len(ordered)
    before = reference.quantiles(_INNER)
    now = ordered[np.ceil(_INNER * m).astype(np.int64) - 1].astype(np.float64)
    size = _size(np.concatenate([before, now]))
    before, now = before / size, now / size
    # A scale of 1e-20 beside numbers of 1e300 would be nothing at all.
    scale = max(reference.scale / size, sys.float_info.min)
    found = float(np.abs(now - before).mean())
    middle = (_INNER[1:] + _INNER[:-1]) / 2
    scatter = float((np.sqrt(middle * (1 - middle)) * np.diff(before)).sum())
    chance = math.sqrt(2 / math.pi * (1 / n + 1 / m)) * scatter
    distance = math.sqrt(max(0.0, found**2 - chance**2)) / scale
    shift = float(now.mean() - before.mean()) / scale
    return min(distance, _LARGEST), float(np.clip(shift, -_LARGEST, _LARGEST))


def _size(values: Numbers) -> float:
    """The largest size, by which numbers are divided before they are squared or taken apart: 1e308 would overflow."""
    return float(np.abs(values).max()) or 1.0
