"""What all looks at a rollout say together: fortunes of bets against the challenger, and means by version."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import numpy as np

from base.gate.betting import UNTRIED, Fortune, bet_on_mean, bet_on_rates, pair_up
from base.rollout_spec import RolloutSpec
from registry.tables import Rollout, RolloutLook
from serving.rollout.counts import ArmCounts, buckets_for

# So many answered requests of the champion say how slow its slowest twentieth is.
_ENOUGH_REQUESTS = 100
_SLOWEST = 0.95


@dataclass(frozen=True)
class ArmEvidence:
    """What is known of one version: its requests, the labelled rows that it answered, and its losses on all of them.

    ``loss`` is the mean over all labelled rows that the version can answer, whoever did.
    """

    number: int
    counts: ArmCounts = field(default_factory=ArmCounts)
    n_labelled: int = 0
    loss: float | None = None
    reward: float | None = None


@dataclass(frozen=True)
class ChallengerEvidence:
    """The bets against one challenger; each fortune grows where the challenger is the worse one.

    ``worse`` and ``better`` bet on its loss on labelled rows, ``differs`` and ``shift`` on its answers where no
    labels are, ``errors`` and ``slow`` on its requests. ``difference`` is the mean score against the champion's.
    """

    number: int
    worse: Fortune = UNTRIED
    better: Fortune = UNTRIED
    difference: float | None = None
    errors: Fortune = UNTRIED
    slow: Fortune = UNTRIED
    differs: Fortune = UNTRIED
    shift: Fortune = UNTRIED
    n_requests: int = 0
    n_in_step: int = 0


@dataclass(frozen=True)
class Evidence:
    """All that is decided from; a pure function of the rollout and its looks."""

    arms: Mapping[int, ArmEvidence]
    challengers: Mapping[int, ChallengerEvidence]
    n_labelled: int = 0
    n_labelled_in_step: int = 0
    n_compared_in_step: int = 0
    refused: Mapping[str, str] = field(default_factory=dict)
    n_replicas: int = 0


def gather_evidence(
    rollout: Rollout,
    looks: Sequence[RolloutLook],
    *,
    refused: Mapping[str, str] | None = None,
    n_replicas: int = 0,
) -> Evidence:
    """Sum up the looks at a rollout, in their order.

    Parameters
    ----------
    refused : mapping of str to str, optional
        By replica, why it could not load a challenger.
    """
    spec = RolloutSpec.model_validate(rollout.spec)
    numbers = (rollout.champion, *rollout.challengers)
    totals = {number: _total(looks, number) for number in numbers}
    return Evidence(
        arms={number: _arm(number, looks, totals[number]) for number in numbers},
        challengers={number: _challenger(rollout, number, looks, spec) for number in rollout.challengers},
        n_labelled=sum(_n_labelled(look) for look in looks),
        n_labelled_in_step=sum(_n_labelled(look) for look in _since(looks, rollout.moved_at)),
        n_compared_in_step=sum(len(look.compared.get("differs", ())) for look in _since(looks, rollout.moved_at)),
        refused=refused or {},
        n_replicas=n_replicas,
    )


def read_series(looks: Iterable[RolloutLook], kind: str, number: int) -> list[float | None]:
    """Return the ``losses`` or ``scores`` of one version on all labelled rows, in their order."""
    return [value for look in looks for value in look.labelled.get(kind, {}).get(str(number), ())]


def served_rewards(looks: Iterable[RolloutLook], number: int) -> list[float]:
    """Return the rewards of the rows that one version answered itself."""
    return [
        reward
        for look in looks
        for version, reward in zip(look.labelled.get("versions", ()), look.labelled.get("rewards", ()), strict=True)
        if version == number and reward is not None
    ]


def score_differences(looks: Sequence[RolloutLook], old: int, new: int) -> list[float]:
    """Return the new version's scores minus the old one's, as they became known.

    Where both can answer a row, on the same row; rows that only one of them can answer wait for one of the other's.
    """
    differences: list[float] = []
    waiting: dict[bool, list[float]] = {True: [], False: []}
    for before, after in zip(read_series(looks, "scores", old), read_series(looks, "scores", new), strict=True):
        if before is not None and after is not None:
            differences.append(after - before)
        elif before is not None or after is not None:
            waiting[before is not None].append(before if before is not None else after or 0.0)
            if waiting[True] and waiting[False]:
                differences.extend(pair_up([waiting[True].pop(0)], [waiting[False].pop(0)]).tolist())
    return differences


def _arm(number: int, looks: Sequence[RolloutLook], counts: ArmCounts) -> ArmEvidence:
    losses = [loss for loss in read_series(looks, "losses", number) if loss is not None]
    rewards = served_rewards(looks, number)
    return ArmEvidence(
        number,
        counts,
        n_labelled=sum(look.labelled.get("versions", []).count(number) for look in looks),
        loss=float(np.mean(losses)) if losses else None,
        reward=float(np.mean(rewards)) if rewards else None,
    )


def _challenger(rollout: Rollout, number: int, looks: Sequence[RolloutLook], spec: RolloutSpec) -> ChallengerEvidence:
    differences = score_differences(looks, rollout.champion, number)
    differs = np.array([value for look in looks for value in look.compared.get("differs", ())], dtype=np.float64)
    shifts = np.array([value for look in looks for value in look.compared.get("shifts", ())], dtype=np.float64)
    in_step = _since(looks, rollout.moved_at)
    return ChallengerEvidence(
        number,
        worse=bet_on_mean(differences),
        better=bet_on_mean([-each for each in differences]),
        difference=float(np.mean(differences)) if differences else None,
        errors=bet_on_rates([_failures(look, rollout.champion, number) for look in looks]),
        slow=bet_on_rates(_slow_requests(looks, rollout.champion, number, spec)),
        differs=bet_on_mean(differs - spec.max_disagreement),
        # Both directions; the larger fortune, with half the chance of a false alarm for each (see `decide`).
        shift=max(
            (bet_on_mean(shifts - spec.max_shift), bet_on_mean(-shifts - spec.max_shift)),
            key=lambda fortune: fortune.largest,
        ),
        n_requests=_total(looks, number).requests,
        n_in_step=_total(in_step, number).requests,
    )


def _counts(look: RolloutLook, number: int) -> ArmCounts:
    document = look.requests.get(str(number))
    return ArmCounts() if document is None else ArmCounts.from_json(document)


def _total(looks: Iterable[RolloutLook], number: int) -> ArmCounts:
    total = ArmCounts()
    for look in looks:
        total = total.plus(_counts(look, number))
    return total


def _failures(look: RolloutLook, old: int, new: int) -> tuple[int, int, int, int]:
    before, after = _counts(look, old), _counts(look, new)
    return before.requests, before.failed, after.requests, after.failed


def _slow_requests(
    looks: Sequence[RolloutLook], old: int, new: int, spec: RolloutSpec
) -> list[tuple[int, int, int, int]]:
    """Count by look what took longer than the champion's slowest twentieth, and the challenger's that and more.

    The limit is set once, from the looks before those in which it is used.
    """
    found, limit, before = [], None, ArmCounts()
    for look in looks:
        one, other = _counts(look, old), _counts(look, new)
        if limit is not None:
            slower = other.n_slower(limit + buckets_for(spec.max_slowdown))
            found.append((sum(one.micros), one.n_slower(limit), sum(other.micros), slower))
        before = before.plus(one)
        if limit is None and sum(before.micros) >= _ENOUGH_REQUESTS:
            limit = before.bucket_at(_SLOWEST)
    return found


def _since(looks: Iterable[RolloutLook], moment: datetime) -> list[RolloutLook]:
    return [look for look in looks if look.looked_at > moment]


def _n_labelled(look: RolloutLook) -> int:
    return len(look.labelled.get("ids", ()))


def as_document(evidence: Evidence) -> dict[str, Any]:
    """Write the evidence down for the ledger and for `everfit rollout status`."""
    return {
        "n_labelled": evidence.n_labelled,
        "n_labelled_in_step": evidence.n_labelled_in_step,
        "n_compared_in_step": evidence.n_compared_in_step,
        "n_replicas": evidence.n_replicas,
        "refused": dict(evidence.refused),
        "arms": {
            str(number): {
                "requests": arm.counts.requests,
                "rows": arm.counts.rows,
                "failed": arm.counts.failed,
                "n_labelled": arm.n_labelled,
                "loss": arm.loss,
                "reward": arm.reward,
            }
            for number, arm in evidence.arms.items()
        },
        "challengers": {
            str(number): {
                "difference": each.difference,
                "n_judged": each.worse.n,
                **{
                    name: {"fortune": fortune.value, "largest": fortune.largest, "n": fortune.n}
                    for name in ("worse", "better", "errors", "slow", "differs", "shift")
                    for fortune in (getattr(each, name),)
                },
            }
            for number, each in evidence.challengers.items()
        },
    }
