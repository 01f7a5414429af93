"""What a backtest is asked for, and how far it has come."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path


@dataclass(frozen=True)
class BacktestRequest:
    """Which stretch of history, which policies, and how long it may take.

    Parameters
    ----------
    start, stop : datetime, optional
        The first served window begins at *start*; what lies before trains the first champion. Default: after the first
        fifth of the rows, to the end.
    policies : Path, optional
        A YAML file that names policies; default: the usual ones and the pipeline's own.
    price : float, optional
        Of a training, in windows of full loss; default: what the definition says.
    budget : float, optional
        Seconds after which the best answer so far is given.
    again : bool
        Forget what an earlier backtest of the same has left, instead of going on from it.
    shares_fits : bool
        False: every policy fits for itself, to measure what sharing spares.
    """

    start: datetime | None = None
    stop: datetime | None = None
    policies: Path | None = None
    price: float | None = None
    budget: float | None = None
    again: bool = False
    shares_fits: bool = True


@dataclass(frozen=True)
class BacktestProgress:
    """How far a backtest has come: steps of all policies' windows, and about how many seconds are left."""

    done: int
    total: int
    doing: str
    seconds_left: float | None = None
