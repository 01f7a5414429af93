"""The cheapest schedule in hindsight, which nobody can follow: what is held against it is the price of not knowing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

from base.artifacts import ArtifactStore
from monitoring.cutting import Span
from tasks.backtest.answers import Answers
from tasks.backtest.history import History
from tasks.backtest.walk_state import Reign

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Schedule:
    """Which of the trainings that were possible are worth their price, and what they cost with the loss."""

    chosen: tuple[int, ...]
    cost: float


def foresee(losses: Floats, available: Sequence[int], price: float) -> Schedule:
    """Choose among models that were trained one after the other, by dynamic programming.

    Parameters
    ----------
    losses : array of shape (n_models, n_stretches)
        What model *i* would lose on stretch *s*, in windows of full loss; the first model serves from the beginning.
    available : sequence of int of shape (n_models,)
        The first stretch that a model can serve; the first model's is 0.
    price : float
        Of a training, in windows of full loss.

    Examples
    --------
    >>> foresee(np.array([[0.1, 0.5, 0.5, 0.5], [9.0, 0.1, 0.1, 0.1]]), [0, 1], price=0.2)
    Schedule(chosen=(1,), cost=0.6)
    >>> foresee(np.array([[0.1, 0.5, 0.5, 0.5], [9.0, 0.1, 0.1, 0.1]]), [0, 1], price=2.0).chosen
    ()
    """
    n_models, n_stretches = losses.shape
    costs = np.full(n_models, np.inf)
    costs[0] = 0.0
    came_from: list[dict[int, int]] = []
    for stretch in range(n_stretches):
        switched: dict[int, int] = {}
        for model in range(1, n_models):
            if available[model] != stretch:
                continue
            best = int(costs[:model].argmin())
            costs[model] = costs[best] + price
            switched[model] = best
        came_from.append(switched)
        costs = costs + losses[:, stretch]
    model = int(costs.argmin())
    cost, chosen = float(costs[model]), []
    for switched in reversed(came_from):
        if model in switched:
            chosen.append(model)
            model = switched[model]
    return Schedule(tuple(reversed(chosen)), round(cost, 12))


def cut_stretches(spans: Sequence[Span], moments: Sequence[datetime]) -> list[tuple[int, Span]]:
    """Cut windows where a model comes: stretches in their order, each with the number of its window.

    Examples
    --------
    >>> from datetime import UTC
    >>> first, second, third = (datetime(2024, 5, day, tzinfo=UTC) for day in (1, 8, 15))
    >>> found = cut_stretches([(first, second), (second, third)], [datetime(2024, 5, 9, tzinfo=UTC)])
    >>> [(number, start.day, stop.day) for number, (start, stop) in found]
    [(0, 1, 8), (1, 8, 9), (1, 9, 15)]
    """
    found = []
    for number, (start, stop) in enumerate(spans):
        edges = [start, *sorted({moment for moment in moments if start < moment < stop}), stop]
        found += [(number, pair) for pair in itertools.pairwise(edges)]
    return found


def stretch_losses(
    reign: Reign,
    stretches: Sequence[tuple[int, Span]],
    spans: Sequence[Span],
    history: History,
    answers: Answers,
    artifacts: ArtifactStore,
) -> list[float]:
    """Return what a version loses on each stretch from its promotion on, in windows of full loss; 0 before."""
    rows = [history.slice_of(span) for _, span in stretches]
    sizes = [rows_of.stop - rows_of.start for rows_of in (history.slice_of(span) for span in spans)]
    served = [part for part, (_, span) in zip(rows, stretches, strict=True) if span[0] >= reign.since]
    if not served:
        return [0.0] * len(stretches)
    first, last = served[0].start, served[-1].stop
    units = answers.losses(reign.load(artifacts), slice(first, last)).units
    return [
        float(units[part.start - first : part.stop - first].sum()) / max(1, sizes[number])
        if span[0] >= reign.since
        else 0.0
        for part, (number, span) in zip(rows, stretches, strict=True)
    ]
