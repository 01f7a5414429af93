"""What a training costs, where nobody has said: its computing time, in batches of full loss."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from base.errors import ArgumentError
from monitoring.policies.cost_aware import DEFAULT_PRICE

CHEAPEST, DEAREST = 0.02, 1.0
"""Bounds of an estimated price: a guess of computing costs shall neither train at every batch nor never."""


def estimate_price(train_seconds: Sequence[float], *, seconds_of_batch: float, worth: float = DEFAULT_PRICE) -> float:
    """Estimate the price of a training from what trainings have taken: `triggers.price: auto`.

    The declared default is right for a training that keeps the machine busy for a hundredth of a batch's duration; one
    that takes ten times as long is ten times as dear. The median of the last trainings counts.

    Parameters
    ----------
    train_seconds : sequence of float
        Of the last trainings, in seconds; empty: the default.
    seconds_of_batch : float
        How much time one batch (a monitoring window) spans.
    worth : float
        The price of a training that takes a hundredth of that.

    Returns
    -------
    float
        In batches of full loss, between 0.02 and 1.

    Examples
    --------
    >>> week = 7 * 24 * 3600
    >>> round(estimate_price([600, 700, 650], seconds_of_batch=week), 3)
    0.021
    >>> estimate_price([], seconds_of_batch=week)
    0.2
    """
    if seconds_of_batch <= 0:
        raise ArgumentError(f"a batch spans {seconds_of_batch!r} seconds, expected more than 0")
    if not train_seconds:
        return worth
    share = statistics.median(train_seconds) / seconds_of_batch
    return min(max(worth * share / 0.01, CHEAPEST), DEAREST)
