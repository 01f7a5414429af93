"""Two samples of losses compared: the window's rows against the reference's, with an interval for the difference."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.gate.paired_comparison import compare_pairs

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class LossDifference:
    """Mean loss of the window minus that of the reference, its interval, and how likely a rise as large is by chance.

    ``low`` and ``high`` are infinite, and ``p_rise`` is 1, with too few rows on a side.
    """

    difference: float
    low: float
    high: float
    p_rise: float


def compare_losses(current: Floats, reference: Floats, *, confidence: float) -> LossDifference:
    """Compare the means of two samples of losses, each in time order; rows that are neighbours may be alike.

    The variance of each mean is that of blocks of its rows (:func:`base.gate.paired_comparison.compare_pairs`); both
    add up, and Student's t with Welch's degrees of freedom gives the interval (Welch 1947).

    Parameters
    ----------
    current, reference : array of shape (n_rows,) and (n_reference_rows,)

    Examples
    --------
    >>> draw = np.random.default_rng(0)
    >>> found = compare_losses(draw.normal(1.5, 1, 400), draw.normal(1.0, 1, 4000), confidence=0.95)
    >>> found.low > 0, found.p_rise < 0.01
    (True, True)
    """
    from scipy.stats import t

    sides = [compare_pairs(losses, confidence=confidence) for losses in (current, reference)]
    gap = sides[0].difference - sides[1].difference
    variances = [side.rows_variance for side in sides]
    total = sum(variances)
    if not math.isfinite(total) or math.isnan(gap):
        return LossDifference(gap, -math.inf, math.inf, 1.0)
    if total == 0:
        return LossDifference(gap, gap, gap, 0.0 if gap > 0 else 1.0)
    shares = [variance**2 / side.degrees for variance, side in zip(variances, sides, strict=True)]
    degrees = total**2 / sum(shares)
    half = float(t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(total)
    return LossDifference(gap, gap - half, gap + half, float(t.sf(gap / math.sqrt(total), degrees)))
