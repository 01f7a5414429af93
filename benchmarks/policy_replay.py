"""Retraining policies replayed on the shared data sets: what each costs beside perfect foresight.

``python -m benchmarks.policy_replay`` prints the table of docs/retraining-policy.md. Labels come one batch late: when
batch *b* is labelled, batch *b + 1* has been served, and what is trained then serves from *b + 2* on.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.policy_streams import PolicyStream, load_policy_streams
from monitoring.policies.cost_aware import LabelledBatch, Method, PolicyState, step

PRICES = (0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
DELAY = 1
_FIGURED_PRICE = 0.1
_LOSS_DROP = 0.1

DEFAULT = "cost-aware, paired (default)"

Schedule = list[int]
"""The batches after whose labels a training begins: one of 7 has learnt from batches 0 to 7."""
Policy = Callable[[PolicyStream, float], Schedule]


@dataclass(frozen=True)
class Foresight:
    """What a stream costs at least, and the schedule that costs it."""

    cost: float
    schedule: Schedule


@dataclass(frozen=True)
class Replayed:
    """What a policy came to over all streams and prices; trainings are per 100 batches, at a price of 0.1."""

    name: str
    mean: float
    worst: float
    trainings: float
    false_trainings: float
    by_stream: tuple[float, ...]


def serve(stream: PolicyStream, schedule: Schedule) -> npt.NDArray[np.intp]:
    """Return which model serves each batch: 0 until the first training is done."""
    served = np.zeros(stream.models.shape[1], dtype=np.intp)
    for batch in schedule:
        served[batch + 1 + DELAY :] = batch + 1
    return served


def cost_of(stream: PolicyStream, schedule: Schedule, price: float) -> float:
    """Add up the served batches' losses and the trainings' price."""
    n_batches = stream.models.shape[1]
    useful = [batch for batch in schedule if batch + 1 + DELAY < n_batches]
    losses = stream.models[serve(stream, useful), np.arange(n_batches)]
    return float(losses.sum() + price * len(useful))


def foresee(stream: PolicyStream, price: float) -> Foresight:
    """Find the best schedule there is, by dynamic programming over which model serves next."""
    models = stream.models
    n_batches = models.shape[1]
    until = np.concatenate([np.zeros((len(models), 1)), np.cumsum(np.nan_to_num(models), axis=1)], axis=1)
    best = np.zeros(n_batches + 1)
    successors = [0] * (n_batches + 1)
    for model in range(n_batches, -1, -1):
        begins = 0 if model == 0 else model + DELAY
        if begins >= n_batches:
            continue
        cheapest = until[model, n_batches] - until[model, begins]
        for other in range(model + 1, n_batches - DELAY):
            changes = other + DELAY
            if changes > begins:
                cost = until[model, changes] - until[model, begins] + price + best[other]
                if cost < cheapest:
                    cheapest, successors[model] = cost, other
        best[model] = cheapest
    schedule, model = [], successors[0]
    while model:
        schedule.append(model - 1)
        model = successors[model]
    return Foresight(float(best[0]), schedule)


def never(_stream: PolicyStream, _price: float) -> Schedule:
    """Keep the first model."""
    return []


def every(stream: PolicyStream, _price: float, *, period: int) -> Schedule:
    """Train after every so many batches."""
    return list(range(period - 1, stream.models.shape[1], period))


def loss_drop(stream: PolicyStream, _price: float) -> Schedule:
    """Train when a batch's loss is more than 10 % above that of the champion's first batch."""
    return _watch(stream, _LossDrop())


def shewhart(stream: PolicyStream, _price: float) -> Schedule:
    """Train when a batch's loss is more than two standard deviations above the champion's mean so far."""
    return _watch(stream, _Shewhart())


def page_hinkley(stream: PolicyStream, _price: float) -> Schedule:
    """Train when the batch losses' cumulative sum has risen as far as six of their usual deviations (Page 1954)."""
    return _watch(stream, _PageHinkley())


def cost_aware(stream: PolicyStream, price: float, *, method: Method) -> Schedule:
    """Let the shipped policy decide, from documents as live monitoring gives it."""
    state = PolicyState()

    def sees(batch: int, model: int) -> bool:
        nonlocal state
        labelled = LabelledBatch(
            number=batch,
            champion=str(model),
            loss=stream.models[model, batch],
            probe_loss=stream.probes[batch, batch],
            twin_loss=stream.twins[model, batch],
            noise=stream.noise[model, batch],
        )
        state, decision = step(state, labelled, price=price, method=method)
        return decision.retrain

    return decide_each(stream, sees)


POLICIES: dict[str, Policy] = {
    DEFAULT: functools.partial(cost_aware, method="paired"),
    "cost-aware, probe (acc_probe)": functools.partial(cost_aware, method="probe"),
    "cost-aware, static (acc_static)": functools.partial(cost_aware, method="static"),
    "Shewhart, 2 sigma on the loss": shewhart,
    "Page-Hinkley on the loss": page_hinkley,
    "loss drop over 10 %": loss_drop,
    "every 20": functools.partial(every, period=20),
    "every 10": functools.partial(every, period=10),
    "every 5": functools.partial(every, period=5),
    "always": functools.partial(every, period=1),
    "never": never,
}


def replay(
    policies: Mapping[str, Policy], streams: Sequence[PolicyStream], shuffled: Sequence[PolicyStream]
) -> list[Replayed]:
    """Replay policies over all streams and prices, the cheapest first."""
    foreseen = {(stream.name, price): foresee(stream, price).cost for stream in streams for price in PRICES}
    found = []
    for name, policy in policies.items():
        ratios = np.array(
            [
                [cost_of(stream, policy(stream, price), price) / foreseen[stream.name, price] for price in PRICES]
                for stream in streams
            ]
        )
        logs = np.log(ratios)
        found.append(
            Replayed(
                name,
                mean=float(np.exp(logs.mean())),
                worst=float(ratios.max()),
                trainings=per_hundred(policy, streams),
                false_trainings=per_hundred(policy, shuffled),
                by_stream=tuple(float(each) for each in np.exp(logs.mean(axis=1))),
            )
        )
    return sorted(found, key=lambda one: one.mean)


def decide_each(stream: PolicyStream, sees: Callable[[int, int], bool]) -> Schedule:
    """Show a policy each labelled batch with who served it; while a training is on its way, none."""
    schedule: Schedule = []
    model = 0
    for batch in range(stream.models.shape[1]):
        if schedule and batch < schedule[-1] + 1 + DELAY:
            continue
        model = schedule[-1] + 1 if schedule else 0
        if sees(batch, model):
            schedule.append(batch)
    return schedule


def per_hundred(policy: Policy, streams: Sequence[PolicyStream], price: float = _FIGURED_PRICE) -> float:
    """Return how many trainings a policy asks for in 100 batches; NaN of no stream."""
    if not streams:
        return float("nan")
    return float(np.mean([100 * len(policy(stream, price)) / stream.models.shape[1] for stream in streams]))


def print_replayed(replayed: Sequence[Replayed], streams: Sequence[PolicyStream]) -> None:
    """Print policies as a table in Markdown."""
    names = [stream.name.split("_")[0] for stream in streams]
    print(f"| policy | J / oracle | worst | trainings / 100 | false / 100 | {' | '.join(names)} |")
    print("|---" * (5 + len(names)) + "|")
    for one in replayed:
        each = " | ".join(f"{ratio:.3f}" for ratio in one.by_stream)
        counts = f"{one.trainings:.1f} | {one.false_trainings:.1f}"
        print(f"| {one.name} | {one.mean:.3f} | {one.worst:.2f} | {counts} | {each} |")


@dataclass
class _LossDrop:
    usual: float = 0.0

    def begin(self, loss: float) -> None:
        self.usual = loss

    def sees(self, loss: float) -> bool:
        return loss > (1 + _LOSS_DROP) * self.usual


class _Shewhart:
    def begin(self, loss: float) -> None:
        self.losses = [loss]

    def sees(self, loss: float) -> bool:
        is_high = len(self.losses) > 3 and loss > np.mean(self.losses) + 2 * np.std(self.losses, ddof=1)
        self.losses.append(loss)
        return bool(is_high)


class _PageHinkley:
    def begin(self, loss: float) -> None:
        self.losses, self.risen = [loss], 0.0

    def sees(self, loss: float) -> bool:
        self.losses.append(loss)
        usual, spread = float(np.mean(self.losses)), float(np.std(self.losses, ddof=1))
        self.risen = max(0.0, self.risen + loss - usual - 0.5 * spread)
        return len(self.losses) > 3 and self.risen > 6 * spread


def _watch(stream: PolicyStream, alarm: _LossDrop | _Shewhart | _PageHinkley) -> Schedule:
    champion: int | None = None

    def sees(batch: int, model: int) -> bool:
        nonlocal champion
        loss = float(stream.models[model, batch])
        if model != champion:
            champion = model
            alarm.begin(loss)
            return False
        return alarm.sees(loss)

    return decide_each(stream, sees)


def main() -> None:
    """Print one table for the batches as they are, and one for batches twice as long."""
    for title, merged in (("80 batches", 1), ("40 batches", 2)):
        streams = load_policy_streams("as it was", merged=merged)
        shuffled = load_policy_streams("shuffled", merged=merged)
        print(f"{title}\n")
        print_replayed(replay(POLICIES, streams, shuffled), streams)
        print()


if __name__ == "__main__":
    main()
