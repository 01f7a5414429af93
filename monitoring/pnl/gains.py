"""A gain: by how much less a version has lost than the one before it would have, on the same rows, with an interval."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.references import Reference

Floats = npt.NDArray[np.float64]

FEWEST_BLOCKS = 8
"""With fewer windows than these, each is cut into parts: of two or three windows no spread can be told."""

_FEWEST_ROWS_PER_PART = 5


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one window.

    ``share`` says for how much of a window they stand, ``gap`` what the version before lost more on them than the
    version that served, in the mean and in units of full loss.
    """

    window: int
    share: float
    gap: float


class Gain(Reference):
    """What was lost less, in windows of full loss; the bounds are None where one block cannot tell any."""

    value: float
    low: float | None
    high: float | None
    standard_error: float | None
    n_windows: int
    n_blocks: int


NOTHING = Gain(value=0.0, low=0.0, high=0.0, standard_error=0.0, n_windows=0, n_blocks=0)
"""What a training brought whose version never served."""


def make_blocks(
    gaps: Floats, windows: npt.NDArray[np.int64], shares: Mapping[int, float], *, fewest: int = FEWEST_BLOCKS
) -> tuple[Block, ...]:
    """Cut rows into blocks, one for each window; where these are few, each into parts.

    Parameters
    ----------
    gaps : array of shape (n_rows,)
        Loss of the version before minus that of the version that served, row by row, in the order of time.
    windows : array of shape (n_rows,)
        The number of each row's window.
    shares : mapping
        By window: the share of its served rows that the version answered. A window's loss is a mean, so that it
        counts as one however many rows it has.

    Examples
    --------
    >>> make_blocks(np.array([1.0, 0.0, 0.5]), np.array([4, 4, 5]), {4: 1.0, 5: 0.5}, fewest=2)
    (Block(window=4, share=1.0, gap=0.5), Block(window=5, share=0.5, gap=0.5))
    """
    numbers = np.unique(windows)
    if not len(numbers):
        return ()
    wanted = math.ceil(fewest / len(numbers))
    blocks = []
    for number in numbers.tolist():
        rows = gaps[windows == number]
        n_parts = max(1, min(wanted, len(rows) // _FEWEST_ROWS_PER_PART))
        for part in np.array_split(rows, n_parts):
            blocks.append(Block(number, shares[number] * len(part) / len(rows), float(part.mean())))
    return tuple(blocks)


def sum_gain(blocks: Sequence[Block], *, confidence: float = 0.95) -> Gain | None:
    """Add up blocks to a gain; None without any.

    The interval is by the block standard error: rows of one time are alike, so that blocks of consecutive rows are
    what varies by chance, not rows. With B blocks of shares s and gaps g, and their mean m = Σsg / Σs, it is
    √(B / (B − 1) · Σ(s(g − m))²), times Student's t with B − 1 degrees. Blocks that are themselves alike from one to
    the next make it too narrow.

    Examples
    --------
    >>> gain = sum_gain([Block(number, 1.0, gap) for number, gap in enumerate([0.1, 0.2, 0.3, 0.2])])
    >>> round(gain.value, 2), round(gain.low, 2), round(gain.high, 2)
    (0.8, 0.28, 1.32)
    >>> sum_gain([]) is None
    True
    """
    if not blocks:
        return None
    shares = np.array([block.share for block in blocks])
    gaps = np.array([block.gap for block in blocks])
    value, n_blocks = float(shares @ gaps), len(blocks)
    n_windows = len({block.window for block in blocks})
    if n_blocks < 2:
        return Gain(value=value, low=None, high=None, standard_error=None, n_windows=n_windows, n_blocks=n_blocks)
    from scipy.special import stdtrit

    rest = shares * (gaps - value / shares.sum())
    error = math.sqrt(n_blocks / (n_blocks - 1) * float(rest @ rest))
    half = float(stdtrit(n_blocks - 1, (1 + confidence) / 2)) * error
    return Gain(
        value=value,
        low=value - half,
        high=value + half,
        standard_error=error,
        n_windows=n_windows,
        n_blocks=n_blocks,
    )
