"""Policies side by side: what each lost, cost and kept, and which one to take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.gate.paired_comparison import compare_pairs
from tasks.backtest.oracle import Schedule
from tasks.backtest.policies import EVERY_WINDOW, NEVER, Policy
from tasks.backtest.result import PolicyResult, ReplayedTraining, ReplayedWindow

PRICES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
"""At these prices, too, costs are told: who is unsure of the price sees whether it matters."""

_CONFIDENCE = 0.95
# Less than this share of the loss was not gained by training at all.
_LEAST_GAIN = 0.002
_IN_VAIN = ("changed nothing", "did harm")

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Walked:
    """One policy's walk, with what its trainings brought."""

    policy: Policy
    section: Mapping[str, Any]
    windows: tuple[ReplayedWindow, ...]
    trainings: tuple[ReplayedTraining, ...]
    is_complete: bool = True


def compare_policies(walks: Sequence[Walked], *, price: float, oracle: Schedule | None = None) -> list[PolicyResult]:
    """Compare walks over the windows that all of them have seen, the cheapest first.

    Parameters
    ----------
    price : float
        Of a training, in windows of full loss.
    oracle : Schedule, optional
        The cheapest schedule in hindsight at this price; its ``chosen`` are the windows in which it trains.
    """
    seen = _common(walks)
    losses = {walk.policy.name: _losses(walk, seen) for walk in walks}
    always, never = losses[EVERY_WINDOW], losses[NEVER]
    results = [_describe(walk, seen, losses[walk.policy.name], always, never, price, oracle) for walk in walks]
    front = {result.name for result in results if not any(_beats(other, result) for other in results)}
    return [
        result.model_copy(update={"is_on_front": result.name in front})
        for result in sorted(results, key=lambda result: (result.cost, result.n_trainings))
    ]


def _describe(
    walk: Walked,
    seen: list[int],
    losses: Floats,
    always: Floats,
    never: Floats,
    price: float,
    oracle: Schedule | None,
) -> PolicyResult:
    trainings = tuple(one for one in walk.trainings if one.window <= (seen[-1] if seen else -1))
    beside = compare_pairs(losses - always, confidence=_CONFIDENCE)
    interval = beside.interval or (None, None)
    total, to_gain = float(losses.sum()), float((never - always).sum())
    own = [window.metric for window in walk.windows if window.number in set(seen) and window.metric is not None]
    cost = total + price * len(trainings)
    is_anchor = walk.policy.name == EVERY_WINDOW
    return PolicyResult(
        name=walk.policy.name,
        kind=walk.policy.kind,
        tells=walk.policy.tells,
        section=dict(walk.section),
        windows=walk.windows,
        trainings=trainings,
        n_windows=len(seen),
        loss=total / len(seen) if seen else 0.0,
        metric=float(np.mean(own)) if own else None,
        excess=0.0 if is_anchor or not seen else float((losses - always).mean()),
        low=0.0 if is_anchor else interval[0],
        high=0.0 if is_anchor else interval[1],
        n_trainings=len(trainings),
        n_promoted=sum(one.promoted for one in trainings),
        n_refused=sum(not one.promoted and one.verdict != "failed" for one in trainings),
        n_failed=sum(one.verdict == "failed" for one in trainings),
        n_in_vain=sum(one.klass in _IN_VAIN for one in trainings),
        train_seconds=sum(one.seconds for one in trainings),
        cost=cost,
        costs={f"{each:g}": total + each * len(trainings) for each in PRICES},
        gain_kept=float((never - losses).sum()) / to_gain if to_gain > _LEAST_GAIN * float(never.sum()) else None,
        delay=None if oracle is None else _delay(oracle.chosen, [one.window for one in trainings], len(seen)),
        ratio_to_oracle=None if oracle is None or not oracle.cost > 0 else cost / oracle.cost,
        is_complete=walk.is_complete,
    )


def _common(walks: Sequence[Walked]) -> list[int]:
    """List the windows that every walk has a loss of."""
    judged = [{window.number for window in walk.windows if window.loss is not None} for walk in walks]
    return sorted(set.intersection(*judged)) if judged else []


def _losses(walk: Walked, seen: Sequence[int]) -> Floats:
    by_number = {window.number: window.loss for window in walk.windows}
    return np.array([by_number[number] for number in seen], dtype=np.float64)


def _delay(due: Sequence[int], trained: Sequence[int], n_windows: int) -> float | None:
    """Return how many windows after the schedule in hindsight a policy trained, in the mean; a miss counts in full."""
    if not due:
        return None
    waits = []
    for window, following in zip(due, [*due[1:], n_windows], strict=True):
        later = [each for each in trained if each >= window]
        waits.append(min([*(each - window for each in later), following - window]))
    return sum(waits) / len(waits)


def _beats(other: PolicyResult, one: PolicyResult) -> bool:
    is_no_worse = other.loss <= one.loss and other.n_trainings <= one.n_trainings
    return is_no_worse and (other.loss < one.loss or other.n_trainings < one.n_trainings)
