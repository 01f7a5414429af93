"""Tests that may be looked at at any time: what a bettor has won against "the new one is not worse".

A bettor starts with 1 and stakes a part of it on each observation, at odds that are fair if the hypothesis is true.
Then the chance that the fortune ever reaches 1/a is at most a (Ville 1939), however often one looks, and whenever one
stops (Waudby-Smith & Ramdas 2024, *Estimating means of bounded random variables by betting*).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

BETS = (0.02, 0.05, 0.1, 0.2, 0.4)
"""Stakes between which the fortune is divided: small ones find small differences, large ones soon find large ones."""

# By how much more often the new one may fail: the same idea for rates.
_LIFTS = (0.01, 0.03, 0.1, 0.3, 0.9)
_SMALLEST_RATE = 1e-3


@dataclass(frozen=True)
class Fortune:
    """What was won: now, and at most on the way; the latter counts, since one could have stopped there.

    Examples
    --------
    >>> Fortune(value=3.0, largest=25.0, n=120).exceeds(0.05)
    True
    """

    value: float = 1.0
    largest: float = 1.0
    n: int = 0

    def exceeds(self, false_alarm: float) -> bool:
        """Tell whether the hypothesis is refused, at this chance of a false alarm over all time."""
        return self.largest >= 1 / false_alarm


UNTRIED = Fortune()
"""Before the first bet."""


def bet_on_mean(differences: Sequence[float] | Floats, *, bets: Sequence[float] = BETS) -> Fortune:
    """Bet that the mean of differences is above 0; the fortune is the mean over *bets* of Π(1 + bet · difference).

    Parameters
    ----------
    differences : array of shape (n,)
        In [-1, 1], in the order in which they became known: loss of the new model minus loss of the old one.

    Examples
    --------
    >>> bet_on_mean([0.3] * 60).exceeds(0.05), bet_on_mean([-0.3] * 60).exceeds(0.05)
    (True, False)
    """
    found = np.asarray(differences, dtype=np.float64)
    if not len(found):
        return UNTRIED
    logs = np.cumsum(np.log1p(np.outer(found, bets)), axis=0)
    return _fortune(logs, len(found))


def bet_on_rates(looks: Sequence[tuple[int, int, int, int]]) -> Fortune:
    """Bet that the new one fails more often than the old one, from counts of one look after the other.

    Each look gives the likelihood of its counts under two rates over that under the rate that both would share; with
    rates that were fixed before the look, that is a fair bet (Turner, Ly & Grünwald 2024, *Generic E-variables for
    exact sequential k-sample tests*), also if the new one fails less often.

    Parameters
    ----------
    looks : sequence of (n_old, n_failed_old, n_new, n_failed_new)

    Examples
    --------
    >>> bet_on_rates([(500, 5, 50, 20)]).exceeds(0.01), bet_on_rates([(500, 5, 50, 1)] * 20).exceeds(0.01)
    (True, False)
    """
    logs, so_far = [], np.zeros(len(_LIFTS))
    n_all, failed_all = 0, 0
    for n_old, failed_old, n_new, failed_new in looks:
        # Only from the looks before: rates that knew this look's counts would be no bet.
        old = min(max((failed_all + 0.01) / (n_all + 1), _SMALLEST_RATE), 0.95)
        so_far = so_far + [
            _log_ratio(n_old, failed_old, n_new, failed_new, old=old, new=min(old + lift, 0.99)) for lift in _LIFTS
        ]
        logs.append(so_far)
        n_all, failed_all = n_all + n_old + n_new, failed_all + failed_old + failed_new
    return _fortune(np.array(logs), n_all) if logs else UNTRIED


def pair_up(old: Sequence[float], new: Sequence[float]) -> Floats:
    """Pair losses of different rows in the order in which they came, where no row has both; the rest waits.

    Examples
    --------
    >>> pair_up([0.1, 0.2, 0.3], [0.5]).tolist()
    [0.4]
    """
    n_pairs = min(len(old), len(new))
    return np.asarray(new[:n_pairs], dtype=np.float64) - np.asarray(old[:n_pairs], dtype=np.float64)


def _log_ratio(n_old: int, failed_old: int, n_new: int, failed_new: int, *, old: float, new: float) -> float:
    if not n_old or not n_new:
        return 0.0
    shared = (n_old * old + n_new * new) / (n_old + n_new)
    return (
        failed_old * math.log(old / shared)
        + (n_old - failed_old) * math.log((1 - old) / (1 - shared))
        + failed_new * math.log(new / shared)
        + (n_new - failed_new) * math.log((1 - new) / (1 - shared))
    )


def _fortune(logs: Floats, n: int) -> Fortune:
    # Beyond e^600 nobody asks how much it is, and a document cannot hold infinity.
    values = np.exp(np.clip(logs, -600, 600)).mean(axis=1)
    return Fortune(float(values[-1]), max(1.0, float(values.max())), n)
