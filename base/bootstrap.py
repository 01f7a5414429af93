"""Block bootstrap in time: how much would a metric have been another one on other rows like these?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

MOST_BLOCKS = 30
"""More add little to the interval and make blocks too short to hold a day (Schmeiser 1982, *Batch size effects in the
analysis of simulation output*: 10 to 30 batches)."""

_FEWEST_ROWS_PER_BLOCK = 5
_CELLS_PER_BLOCK = 8
_FEWEST_DRAWS_FOR_PERCENTILES = 200


@dataclass(frozen=True)
class Blocks:
    """Rows in time order, cut into cells; a block is as many consecutive cells, and begins at any of them.

    ``cell`` is the cell of each row, of shape (n_rows,).
    """

    n_blocks: int
    cells_per_block: int
    cell: npt.NDArray[np.intp]

    @property
    def n_cells(self) -> int:
        """How many cells there are."""
        return self.n_blocks * self.cells_per_block

    def sum_cells(self, values: npt.NDArray[np.generic]) -> Floats:
        """Add up a value of each row within each cell.

        Examples
        --------
        >>> float(cut_blocks(20).sum_cells(np.ones(20)).sum())
        20.0
        """
        sums: Floats = np.bincount(self.cell, weights=values.astype(np.float64), minlength=self.n_cells)  # type: ignore[assignment]
        return sums


def cut_blocks(n_rows: int) -> Blocks:
    """Cut rows into up to 30 blocks of at least 5 rows, each of up to 8 cells.

    Raises
    ------
    ValueError
        If there are not rows enough for two blocks.

    Examples
    --------
    >>> cut_blocks(100_000).n_blocks, cut_blocks(60).n_blocks
    (30, 12)
    """
    n_blocks = min(MOST_BLOCKS, n_rows // _FEWEST_ROWS_PER_BLOCK)
    if n_blocks < 2:
        raise ValueError(f"{n_rows} rows are too few for intervals; {2 * _FEWEST_ROWS_PER_BLOCK} are needed")
    cells_per_block = min(_CELLS_PER_BLOCK, n_rows // n_blocks)
    cell = np.arange(n_rows) * (n_blocks * cells_per_block) // n_rows
    return Blocks(n_blocks, cells_per_block, cell.astype(np.intp))


def draw_weights(blocks: Blocks, n_draws: int, *, seed: int) -> Floats:
    """Draw how often each cell is in each resample.

    A resample is made of as many blocks as the rows have, each of consecutive rows and beginning anywhere, the end
    joined to the beginning: the moving block bootstrap (Künsch 1989, *The jackknife and the bootstrap for general
    stationary observations*) in its circular form (Politis & Romano 1992). Single rows would be drawn as if neighbours
    were not alike, and give intervals several times too narrow.

    Returns
    -------
    array of shape (n_draws, n_cells)
        Each row sums to the number of cells.

    Examples
    --------
    >>> weights = draw_weights(cut_blocks(1_000), 500, seed=0)
    >>> weights.shape, set(weights.sum(axis=1).tolist())
    ((500, 240), {240.0})
    """
    draw = np.random.default_rng(seed)
    starts = draw.integers(0, blocks.n_cells, size=(n_draws, blocks.n_blocks))
    flat = (starts + np.arange(n_draws)[:, None] * blocks.n_cells).ravel()
    begun = np.bincount(flat, minlength=n_draws * blocks.n_cells).reshape(n_draws, blocks.n_cells)
    weights = np.zeros(begun.shape)
    for shift in range(blocks.cells_per_block):
        weights += np.roll(begun, shift, axis=1)
    return weights


def interval_of(draws: Floats, estimate: float, *, n_blocks: int, confidence: float) -> tuple[float, float] | None:
    """Turn a metric's resampled values into an interval around what was measured.

    Percentiles of the draws, moved so that their mean is the estimate (a metric such as the calibration error is
    larger in any resample), and expanded for there being few blocks (Hesterberg 2015, *What teachers should know about
    the bootstrap*): with 30 blocks, 95 % asks for the percentiles 1.9 and 98.1. Fewer than 200 draws do not tell such
    percentiles; their standard deviation and Student's t give the interval then.

    Parameters
    ----------
    draws : array of shape (n_draws,)
        Resamples in which the metric means nothing are NaN.

    Returns
    -------
    (float, float) or None
        None if it means nothing in more than one resample of twenty.

    Examples
    --------
    >>> low, high = interval_of(np.linspace(0, 1, 1001), 0.5, n_blocks=30, confidence=0.95)
    >>> round(low, 3), round(high, 3)
    (0.019, 0.981)
    """
    known = draws[np.isfinite(draws)]
    if len(known) < 0.95 * len(draws) or not math.isfinite(estimate):
        return None
    if len(draws) < _FEWEST_DRAWS_FOR_PERCENTILES:
        from scipy.stats import t

        half = float(t.ppf((1 + confidence) / 2, n_blocks - 1) * known.std(ddof=1))
        return estimate - half, estimate + half
    tail = expanded_tail(n_blocks, confidence)
    low, high = np.quantile(known, [tail, 1 - tail]) + (estimate - known.mean())
    return float(low), float(high)


def expanded_tail(n_blocks: int, confidence: float) -> float:
    """Return the share of draws below an interval, for percentiles to cover as Student's t does.

    Examples
    --------
    >>> round(expanded_tail(30, 0.95), 4), round(expanded_tail(10_000, 0.95), 4)
    (0.0188, 0.025)
    """
    from scipy.stats import norm, t

    quantile = t.ppf((1 - confidence) / 2, n_blocks - 1)
    return float(norm.cdf(math.sqrt(n_blocks / (n_blocks - 1)) * quantile))
