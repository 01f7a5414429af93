"""A plausible result of a backtest, for tests of what is shown of it: a world that drifts and jumps, and policies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
import numpy.typing as npt

from tasks.backtest.policies import EVERY_WINDOW, EVIDENTLY, NEVER, OWN
from tasks.backtest.result import BacktestResult, PolicyKind, PolicyResult, ReplayedTraining, ReplayedWindow

PRICES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
START = datetime(2011, 6, 1, tzinfo=UTC)
WINDOW = timedelta(days=7)

Losses = npt.NDArray[np.float64]
_Plan = Callable[[Losses, float], list[int]]

_YAML = """triggers:
  policy: cost-aware
  price: 0.2
"""


def make_result(
    *,
    pipeline: str = "bike",
    n_windows: int = 40,
    n_policies: int = 6,
    price: float = 0.2,
    seed: int = 0,
    is_complete: bool = True,
) -> BacktestResult:
    """Make a result of up to 12 policies over weekly windows."""
    rng = np.random.default_rng(seed)
    losses = _make_losses(n_windows, rng)
    oracle = _find_oracle(losses, price)
    plans = _PLANS[:n_policies]
    policies = [_follow(losses, price, oracle, *plan) for plan in plans]
    always = next((one for one in policies if one.name == EVERY_WINDOW), policies[0])
    never = next((one for one in policies if one.name == NEVER), policies[0])
    found = [_compare(one, always, never, _cost(losses, oracle, price)) for one in policies]
    front = _front(found)
    found = [one.model_copy(update={"is_on_front": one.name in front}) for one in found]
    found.sort(key=lambda one: one.cost)
    best = next((one for one in found if one.kind != "comparison"), found[0])
    return BacktestResult(
        pipeline=pipeline,
        definition="d" * 64,
        start=START,
        stop=START + n_windows * WINDOW,
        window="1 week",
        label_delay=timedelta(days=1),
        task="regression",
        unit="mean absolute error of always answering the median",
        metric_name="rmse",
        price=price,
        price_tells="as declared in triggers.price",
        n_rows=170 * n_windows,
        n_windows=n_windows,
        n_judged=n_windows,
        policies=tuple(found),
        oracle_cost=_cost(losses, oracle, price),
        oracle_trainings=tuple(oracle),
        recommended=best.name,
        why=f"{best.name} cost least: {best.cost:.2f} windows of full loss with {best.n_trainings} trainings, "
        f"against {always.cost:.2f} with {always.n_trainings} when training every window.",
        yaml=_YAML,
        notes=("2 windows of December 2011 have fewer than 30 labelled rows and were not judged",),
        n_fits=63,
        n_fits_reused=212,
        seconds=48.3,
        fit_seconds=39.1,
        is_complete=is_complete,
    )


def _make_losses(n_windows: int, rng: np.random.Generator) -> Losses:
    """The loss of a model trained after window e (row e + 1; row 0 is the first champion) on window b."""
    world = np.cumsum(rng.normal(0.02, 0.015, n_windows + 1))
    world[n_windows // 2 :] += 0.25
    learnt = np.maximum(0, np.arange(n_windows + 1) - 1)
    hard = 0.22 + 0.03 * np.sin(np.arange(n_windows) / 6) + rng.normal(0, 0.012, n_windows)
    aged = np.abs(world[1:][None, :] - world[learnt][:, None])
    luck = rng.normal(0, 0.012, n_windows + 1)[:, None]
    return np.asarray(hard[None, :] + 0.5 * np.minimum(1.0, aged) + luck)


def _every(step: int) -> _Plan:
    return lambda losses, _price: [after for after in range(losses.shape[1] - 1) if (after + 1) % step == 0]


def _above_level(losses: Losses, _price: float) -> list[int]:
    serving, trained = 0, []
    for number in range(losses.shape[1] - 1):
        level = losses[serving, min(serving, losses.shape[1] - 1)]
        if losses[serving, number] > 1.25 * level:
            trained.append(number)
            serving = number + 1
    return trained


def _by_cost(losses: Losses, price: float) -> list[int]:
    serving, excess, trained = 0, 0.0, []
    for number in range(losses.shape[1] - 1):
        excess = max(0.0, excess + losses[serving, number] - losses[number, number])
        if excess >= price:
            trained.append(number)
            serving, excess = number + 1, 0.0
    return trained


_PLANS: tuple[tuple[str, PolicyKind, str, _Plan], ...] = (
    (EVERY_WINDOW, "shipped", "Train after each window: the costly upper anchor.", _every(1)),
    (NEVER, "shipped", "The first model serves to the end.", lambda _losses, _price: []),
    ("cost-aware", "shipped", "Train when what a fresh model would have spared adds up to the price.", _by_cost),
    (OWN, "own", "What the definition says today.", _every(4)),
    ("loss up by 10%", "shipped", "Train when a window's loss is 10% above that at promotion.", _above_level),
    (EVIDENTLY, "comparison", "Train when Evidently's preset calls half of the columns drifted.", _every(2)),
    ("every 5 windows", "shipped", "Train after every fifth window.", _every(5)),
    ("schedule, monthly", "shipped", "Train by the calendar (0 5 1 * *).", _every(10)),
    ("schedule, quarterly", "shipped", "Train by the calendar (0 5 1 */3 *).", _every(20)),
    ("sequential test", "shipped", "Train when a test by betting is sure that the loss has risen.", _every(9)),
    ("cost-aware, 90 days", "shipped", "The same, on the newest 90 days.", lambda a, b: _by_cost(a, 1.1 * b)),
    ("cost-aware, auto", "shipped", "The same, racing windows.", lambda a, b: _by_cost(a, 0.9 * b)),
)


def _follow(
    losses: Losses, price: float, oracle: Sequence[int], name: str, kind: PolicyKind, tells: str, plan: _Plan
) -> PolicyResult:
    n_windows = losses.shape[1]
    asked = set(plan(losses, price))
    serving, version, windows, trainings = 0, 1, [], []
    for number in range(n_windows):
        mean, half = float(losses[serving, number]), 0.03
        start = START + number * WINDOW
        verdict, promoted = None, False
        learnt = START + max(0, serving - 1) * WINDOW
        if number in asked:
            gain = float((losses[serving, number + 1 :] - losses[number + 1, number + 1 :])[:4].sum())
            verdict = "better" if gain > 0.01 else "worse" if gain < -0.01 else "cannot tell"
            promoted = verdict != "worse"
            trainings.append(
                ReplayedTraining(
                    window=number,
                    at=start + WINDOW,
                    trigger="performance",
                    promoted=promoted,
                    verdict=verdict,
                    gain=gain if promoted else 0.0,
                    low=gain - 0.03 if promoted else None,
                    high=gain + 0.03 if promoted else None,
                    price=price,
                    seconds=0.6,
                    klass="paid off" if gain > price else "brought less than it cost",
                )
            )
        windows.append(
            ReplayedWindow(
                number=number,
                start=start,
                stop=start + WINDOW,
                n_rows=170,
                n_labelled=168,
                version=version,
                learnt_until=learnt,
                loss=mean,
                low=mean - half,
                high=mean + half,
                metric=90 * mean,
                outcome="train" if number in asked else "healthy",
                asked="performance" if number in asked else None,
                ruling="start" if number in asked else None,
                verdict=verdict,
                promoted=promoted,
                reason="the loss rose" if number in asked else "nothing stands out",
                alarms=("loss",) if number in asked else (),
                train_seconds=0.6 if number in asked else 0.0,
            )
        )
        if promoted:
            serving, version = number + 1, version + 1
    n_promoted = sum(one.promoted for one in trainings)
    total = sum(one.loss or 0.0 for one in windows)
    delays = [min((after - best for after in asked if after >= best), default=n_windows - best) for best in oracle]
    return PolicyResult(
        name=name,
        kind=kind,
        tells=tells,
        section={"triggers": {"policy": "cost-aware", "price": price}} if kind != "comparison" else {},
        windows=tuple(windows),
        trainings=tuple(trainings),
        n_windows=n_windows,
        loss=total / n_windows,
        metric=90 * total / n_windows,
        n_trainings=len(trainings),
        n_promoted=n_promoted,
        n_refused=len(trainings) - n_promoted,
        n_in_vain=sum(one.gain <= 0 for one in trainings),
        train_seconds=0.6 * len(trainings),
        cost=total + price * len(trainings),
        costs={str(each): total + each * len(trainings) for each in PRICES},
        delay=float(np.mean(delays)) if delays else None,
    )


def _compare(one: PolicyResult, always: PolicyResult, never: PolicyResult, oracle_cost: float) -> PolicyResult:
    gained = never.loss - always.loss
    excess = one.loss - always.loss
    is_anchor = one.name == always.name
    return one.model_copy(
        update={
            "excess": excess,
            "low": 0.0 if is_anchor else excess - 0.004,
            "high": 0.0 if is_anchor else excess + 0.004,
            "gain_kept": (never.loss - one.loss) / gained if gained > 0 else None,
            "ratio_to_oracle": one.cost / oracle_cost,
        }
    )


def _front(policies: Sequence[PolicyResult]) -> set[str]:
    return {
        one.name
        for one in policies
        if not any(
            other.loss <= one.loss
            and other.n_trainings <= one.n_trainings
            and (other.loss, other.n_trainings) != (one.loss, one.n_trainings)
            for other in policies
        )
    }


def _cost(losses: Losses, trained: Sequence[int], price: float) -> float:
    serving, total = 0, price * len(trained)
    for number in range(losses.shape[1]):
        total += float(losses[serving, number])
        serving = number + 1 if number in trained else serving
    return total


def _find_oracle(losses: Losses, price: float) -> list[int]:
    """The cheapest schedule, by dynamic programming over which model serves."""
    n_windows = losses.shape[1]
    best: dict[int, tuple[float, list[int]]] = {0: (0.0, [])}
    for number in range(n_windows):
        served = {model: (cost + float(losses[model, number]), path) for model, (cost, path) in best.items()}
        cost, path = min(served.values(), key=lambda found: found[0])
        best = served | ({number + 1: (cost + price, [*path, number])} if number + 1 < n_windows else {})
    return min(best.values(), key=lambda found: found[0])[1]
