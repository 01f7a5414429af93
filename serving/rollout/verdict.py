"""The final word on an A/B test, a bandit or a shadow: which version lost less, with an interval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from base.gate.paired_comparison import PairedComparison, compare_pairs
from base.rollout_spec import RolloutSpec
from registry.tables import Rollout, RolloutLook
from serving.rollout.evidence import read_series


def judge_arms(rollout: Rollout, looks: Sequence[RolloutLook]) -> dict[str, Any]:
    """Compare every challenger with the champion on the labelled rows that both can answer.

    The method is the gate's (:func:`base.gate.paired_comparison.compare_pairs`): blocks in time, Student's t; the
    confidence is shared between several challengers.

    Returns
    -------
    dict
        ``winner`` (the best version that is better than the champion; the champion, if all others are worse; None if
        nobody can tell), ``reason``, and by challenger ``outcome``, ``difference``, ``interval``, ``n_rows``.
    """
    spec = RolloutSpec.model_validate(rollout.spec)
    confidence = 1 - (1 - spec.confidence) / len(rollout.challengers)
    champion = read_series(looks, "losses", rollout.champion)
    challengers: dict[str, Any] = {}
    better: dict[int, float] = {}
    for number in rollout.challengers:
        own = read_series(looks, "losses", number)
        gap = [b - a for a, b in zip(champion, own, strict=True) if a is not None and b is not None]
        found = compare_pairs(np.array(gap, dtype=np.float64), confidence=confidence)
        outcome = _outcome(found)
        if outcome == "better":
            better[number] = found.difference
        challengers[str(number)] = {
            "outcome": outcome,
            "difference": found.difference if found.n_rows else None,
            "interval": found.interval,
            "confidence": confidence,
            "n_rows": found.n_rows,
        }
    outcomes = {each["outcome"] for each in challengers.values()}
    winner = min(better, key=better.__getitem__) if better else rollout.champion if outcomes == {"worse"} else None
    reason = "; ".join(_tell(number, each) for number, each in challengers.items())
    return {"winner": winner, "reason": reason, "challengers": challengers}


def _outcome(found: PairedComparison) -> str:
    if found.interval is None or found.low <= 0 <= found.high:
        return "cannot tell"
    return "better" if found.high < 0 else "worse"


def _tell(number: str, each: dict[str, Any]) -> str:
    if each["interval"] is None:
        return f"version {number}: cannot tell from {each['n_rows']:,} labelled rows"
    low, high = each["interval"]
    return (
        f"version {number}: {each['outcome']}, its loss is {each['difference']:+.4f} against the champion's "
        f"({low:+.4f} to {high:+.4f}) on {each['n_rows']:,} labelled rows"
    )
