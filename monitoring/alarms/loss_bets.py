"""Bets that the loss is higher than at promotion, carried on from window to window.

Each window's losses give a fair bet against "the loss is at most what was expected, and a tolerance" (Waudby-Smith &
Ramdas 2024). Watched without end, one fortune would reach any bound some day, or be so low after a good year that a
sudden loss takes months to show; so a new bettor begins with each window, and what all have won together is watched
(Shiryaev-Roberts; Shin, Ramdas & Rinaldo 2024, *E-detectors*): while the loss holds, it reaches 1/a after 1/a windows
on average or later. That is a budget of false alarms in windows. Podkopaev & Ramdas 2022 watch a deployed model so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.gate.betting import BETS, bet_on_mean

Floats = npt.NDArray[np.float64]

NO_FORTUNES = (0.0,) * len(BETS)
"""Before the first window: nobody has won anything."""

# A row's loss counts up to so many usual losses: a bet needs bounds. Cutting off losses only lowers their mean, so that
# what is called higher is higher.
_LARGEST_LOSS = 4.0
# How surely the mean of the reference's losses, which are only a sample, is not higher than it is taken to be.
_REFERENCE_Z = 1.64
_RICHEST = 1e250
_FEWEST_STRETCHES = 4


@dataclass(frozen=True)
class LossSample:
    """The losses of a window's matured rows, in the order of the rows, and what was expected of them.

    Attributes
    ----------
    losses : array of shape (n_rows,)
        In the loss's unit, at least 0.
    expected : float
        The mean loss on the test rows at promotion.
    reference : array of shape (n_reference,), optional
        The losses of (a sample of) these test rows, in the order of time. They say what losses mean that are cut off
        at the top; without them the test is valid, but sees less where few rows lose much.
    """

    losses: Floats
    expected: float
    reference: Floats | None = None

    @property
    def increase(self) -> float | None:
        """How much higher the loss is than expected, relative to it; None where one of them is unknown."""
        if not len(self.losses) or not self.expected > 0:
            return None
        return float(self.losses.mean()) / self.expected - 1

    def reference_increases(self) -> Floats:
        """Return how much higher the loss is in stretches of the reference that are as long as the window.

        Neighbouring rows are alike, and so a window's mean loss moves more than its number of rows suggests; how much,
        the reference tells before any window has.

        Returns
        -------
        array of shape (n_stretches,)
            Relative to the reference's mean; empty with fewer than four stretches.
        """
        reference, n_rows = self.reference, len(self.losses)
        if reference is None or not n_rows or len(reference) < _FEWEST_STRETCHES * n_rows or not reference.mean() > 0:
            return np.array([], dtype=np.float64)
        stretches = reference[: len(reference) // n_rows * n_rows].reshape(-1, n_rows)
        increases: Floats = stretches.mean(axis=1) / reference.mean() - 1
        return increases


def bet_on_losses(
    sample: LossSample, fortunes: Sequence[float] = NO_FORTUNES, *, tolerance: float = 0.0
) -> tuple[float, ...]:
    """Carry the bettors' fortunes on by one window; their mean is what :func:`total_fortune` gives.

    Parameters
    ----------
    fortunes : sequence of float
        As the window before left them, one for each stake of :data:`base.gate.betting.BETS`.
    tolerance : float
        By how much the loss may be higher than expected, relative to it.

    Examples
    --------
    >>> calm, worse = np.tile([0.2, 0.4], 200), np.tile([0.5, 0.7], 200)
    >>> total_fortune(bet_on_losses(LossSample(calm, 0.3), tolerance=0.1)) < 2
    True
    >>> total_fortune(bet_on_losses(LossSample(worse, 0.3), tolerance=0.1)) > 1000
    True
    """
    if not len(sample.losses) or not sample.expected > 0:
        return tuple(fortunes)
    cap = _LARGEST_LOSS * sample.expected * (1 + tolerance)
    level = _expected_below(cap, sample) * (1 + tolerance)
    differences = (np.minimum(sample.losses, cap) - level) / cap
    return tuple(
        min((fortune + 1) * bet_on_mean(differences, bets=(bet,)).value, _RICHEST)
        for fortune, bet in zip(fortunes, BETS, strict=True)
    )


def total_fortune(fortunes: Sequence[float]) -> float:
    """Return what is compared with 1/level: the mean of the fortunes.

    Examples
    --------
    >>> total_fortune((1.0, 2.0, 3.0))
    2.0
    """
    return float(np.mean(fortunes))


def _expected_below(cap: float, sample: LossSample) -> float:
    """The expected mean of losses cut off at *cap*: from the reference's losses, and never above the plain mean."""
    if sample.reference is None or len(sample.reference) < 2:
        return sample.expected
    cut = np.minimum(sample.reference, cap)
    above = _REFERENCE_Z * float(cut.std(ddof=1)) / np.sqrt(len(cut))
    return min(float(cut.mean()) + float(above), sample.expected)
