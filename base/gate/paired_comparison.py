"""The paired comparison: how much two models' losses differ on the same rows, and how sure one can be of it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_MOST_BLOCKS = 30
_FEWEST_BLOCKS = 6
_FEWEST_ROWS_PER_BLOCK = 5
# One-sided 5 % of a correlation of independent block means: beyond it, blocks are still alike and are joined.
_ALIKE = 1.645
# Of the upper limit of the variance by which needed rows are counted.
_SURENESS = 0.7


@dataclass(frozen=True)
class PairedComparison:
    """The mean difference of paired losses with its interval, and what the interval's width is made of.

    ``rows_variance`` is the variance of the mean by the chance of which rows came, ``luck_variance`` that by the
    chance of which seed the fits drew; ``correlation`` is that of the blocks' means from one to the next. ``low`` and
    ``high`` are infinite with too few rows for an interval.
    """

    difference: float
    low: float
    high: float
    confidence: float
    n_rows: int
    n_blocks: int
    rows_variance: float = math.inf
    luck_variance: float = 0.0
    degrees: float = 0.0
    correlation: float = 0.0

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval, or None where there are too few rows for one: a document cannot hold infinity."""
        return (self.low, self.high) if math.isfinite(self.low) and math.isfinite(self.high) else None


def compare_pairs(gap: Floats, *, confidence: float, refits: Sequence[float] = ()) -> PairedComparison:
    """Estimate the mean of paired differences with an interval that allows for rows being alike, and for luck.

    *Rows.* The time-ordered rows are cut into up to 30 blocks whose means vary as much as days and hours do
    (batch means; Law & Kelton, *Simulation Modeling and Analysis*). Blocks that are still alike (their means'
    correlation from one to the next is above what chance gives) are joined by two, down to six.

    *Luck.* Another seed gives another model. *refits* are the mean losses, on these rows, of the challenger's recipe
    fitted with several seeds, the challenger's own among them; their variance counts twice: the champion is one such
    draw, and what will be deployed is another.

    Both variances add up; Student's t with Welch and Satterthwaite's degrees of freedom gives the interval.

    Parameters
    ----------
    gap : array of shape (n_rows,)
        Loss of one model minus loss of the other, in time order.
    refits : sequence of float
        Empty, or one: only the two models as they are.

    Examples
    --------
    >>> found = compare_pairs(np.full(100, -0.5), confidence=0.95)
    >>> found.difference, found.interval, found.n_blocks
    (-0.5, (-0.5, -0.5), 20)
    >>> lucky = compare_pairs(np.full(100, -0.5), confidence=0.95, refits=[1.0, 1.4, 1.2, 0.9])
    >>> lucky.low < -1 and lucky.high > 0
    True
    """
    from scipy.stats import t

    n_rows = len(gap)
    mean = float(gap.mean()) if n_rows else math.nan
    blocks = _block_means(gap)
    if blocks is None:
        return PairedComparison(mean, -math.inf, math.inf, confidence, n_rows, min(n_rows // _FEWEST_ROWS_PER_BLOCK, 1))
    rows, luck = float(blocks.var(ddof=1)) / len(blocks), 0.0
    degrees = float(len(blocks) - 1)
    if len(refits) > 1:
        luck = 2 * float(np.var(refits, ddof=1))
        degrees = _join_degrees(rows, degrees, luck, len(refits) - 1)
    half = float(t.ppf((1 + confidence) / 2, degrees)) * math.sqrt(rows + luck)
    return PairedComparison(
        difference=mean,
        low=mean - half,
        high=mean + half,
        confidence=confidence,
        n_rows=n_rows,
        n_blocks=len(blocks),
        rows_variance=rows,
        luck_variance=luck,
        degrees=degrees,
        correlation=_correlate_neighbours(blocks),
    )


def rows_that_would_tell(comparison: PairedComparison, difference: float, *, power: float) -> int | None:
    """Estimate how many rows in all would show a difference of this size, with this probability.

    The rows' part of the interval shrinks with the root of their number, the part of luck does not. None where no
    number of rows would tell, or nobody knows.

    Examples
    --------
    >>> few = compare_pairs(np.tile([1.0, -1.0, 0.2], 100), confidence=0.95)
    >>> rows_that_would_tell(few, 0.5, power=0.8) < rows_that_would_tell(few, 0.1, power=0.8)
    True
    """
    from scipy.stats import chi2, t

    if difference == 0 or comparison.interval is None or not comparison.rows_variance:
        return None
    quantiles = t.ppf([(1 + comparison.confidence) / 2, power], comparison.degrees)
    allowed = (difference / float(quantiles.sum())) ** 2 - comparison.luck_variance
    if allowed <= 0:
        return None
    # What blocks have in common does not shrink with longer blocks: the variance of a longer sample's mean is larger
    # by twice the correlation of neighbours. A variance that thirty blocks tell may be too low by chance; its upper
    # limit keeps the power as declared (Browne 1995).
    spare = comparison.n_blocks - 1
    sureness = spare / float(chi2.ppf(1 - _SURENESS, spare))
    variance = comparison.rows_variance * (1 + 2 * max(comparison.correlation, 0.0)) * sureness
    return math.ceil(round(comparison.n_rows * variance / allowed, 6))


def probability_of_no_rise(gap: Floats) -> float:
    """Test, on one side, that the mean of time-ordered differences is above zero; small means that it is.

    Returns
    -------
    float
        The p-value; 1 with too few rows to test.

    Examples
    --------
    >>> probability_of_no_rise(np.tile([0.9, 1.1], 50)) < 0.001, probability_of_no_rise(np.ones(4))
    (True, 1.0)
    """
    from scipy.stats import t

    blocks = _block_means(gap)
    if blocks is None:
        return 1.0
    mean, spread = float(gap.mean()), float(blocks.std(ddof=1))
    if spread == 0:
        return 0.0 if mean > 0 else 1.0
    return float(t.sf(mean / spread * math.sqrt(len(blocks)), len(blocks) - 1))


def adjust_for_many(probabilities: Sequence[float], *, correction: str) -> list[float]:
    """Adjust the p-values of several tests so that each can be held against the level of one.

    ``holm`` (Holm 1979) bounds the chance of one false alarm among all tests, ``benjamini-hochberg`` (1995) the share
    of false ones among the alarms.

    Examples
    --------
    >>> adjust_for_many([0.01, 0.04, 0.03], correction="holm")
    [0.03, 0.06, 0.06]
    >>> adjust_for_many([0.01, 0.04, 0.03], correction="benjamini-hochberg")
    [0.03, 0.04, 0.04]
    """
    if correction == "benjamini-hochberg":
        from scipy.stats import false_discovery_control

        return [float(value) for value in false_discovery_control(probabilities)] if len(probabilities) else []
    order = np.argsort(probabilities, kind="stable")
    adjusted, largest = [1.0] * len(order), 0.0
    for place, index in enumerate(order):
        largest = min(1.0, max(largest, (len(order) - place) * probabilities[index]))
        adjusted[index] = largest
    return adjusted


def _block_means(gap: Floats) -> Floats | None:
    """Return the means of as many blocks as are not alike, or None with too few rows for two."""
    n_blocks = min(_MOST_BLOCKS, len(gap) // _FEWEST_ROWS_PER_BLOCK)
    if n_blocks < 2:
        return None
    while True:
        means = np.array([block.mean() for block in np.array_split(gap, n_blocks)])
        if n_blocks < 2 * _FEWEST_BLOCKS or not _are_alike(means):
            return means
        n_blocks //= 2


def _are_alike(means: Floats) -> bool:
    return _correlate_neighbours(means) > _ALIKE / math.sqrt(len(means))


def _correlate_neighbours(means: Floats) -> float:
    around = means - means.mean()
    spread = float(around @ around)
    return float(around[1:] @ around[:-1]) / spread if spread > 0 else 0.0


def _join_degrees(one: float, degrees: float, other: float, other_degrees: float) -> float:
    if one + other == 0:
        return degrees
    return (one + other) ** 2 / (one**2 / degrees + other**2 / other_degrees)
