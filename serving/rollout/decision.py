"""Decide what a rollout does next: a pure function of its state, the evidence and the time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from base.rollout_spec import RolloutSpec
from base.times import describe_duration
from registry.rollouts import FINISHED, PROMOTED, ROLLED_BACK
from registry.tables import Rollout
from serving.rollout.evidence import ChallengerEvidence, Evidence

# The chance of a false alarm is shared: most for what a model is worth, the rest for how it runs.
_QUALITY, _ERRORS, _LATENCY = 0.6, 0.2, 0.2
# Shares of a bandit move by so much, or not at all: each move is a line in the ledger.
_WORTH_A_MOVE = 0.02


@dataclass(frozen=True)
class Stay:
    """Nothing changes; ``reason`` says what is waited for, ``until`` when that is over at the earliest."""

    reason: str
    until: datetime | None = None


@dataclass(frozen=True)
class Move:
    """The versions get other shares."""

    step: int
    shares: Mapping[str, float]
    reason: str


@dataclass(frozen=True)
class Close:
    """The rollout ends as *status*, and the alias moves where ``promote`` names a version."""

    status: str
    reason: str
    promote: int | None = None
    verdict: Mapping[str, Any] = field(default_factory=dict)


Decision = Stay | Move | Close


def decide(
    rollout: Rollout,
    evidence: Evidence,
    now: datetime,
    *,
    verdict: Mapping[str, Any] | None = None,
    allocation: Mapping[str, float] | None = None,
) -> Decision:
    """Decide what a running rollout does next.

    Parameters
    ----------
    verdict : mapping, optional
        Of an A/B test, a bandit or a shadow that is over: ``reason`` and ``winner`` (:mod:`serving.rollout.verdict`).
    allocation : mapping, optional
        Of a bandit: the shares that its rewards call for (:mod:`serving.rollout.bandit`).
    """
    spec = RolloutSpec.model_validate(rollout.spec)
    if rollout.kind == "canary":
        return _decide_canary(rollout, spec, evidence, now)
    if _is_over(rollout, spec, evidence, now):
        found = verdict or {}
        winner = found.get("winner")
        reason = str(found.get("reason", "nothing was labelled, so nothing can be told"))
        if spec.promote_winner and winner is not None and winner != rollout.champion:
            return Close(PROMOTED, reason, promote=int(winner), verdict=found)
        return Close(FINISHED, reason, verdict=found)
    if allocation is not None and evidence.n_labelled_in_step >= max(20, spec.min_rows // 4):
        largest = max(abs(share - rollout.shares.get(number, 0.0)) for number, share in allocation.items())
        if largest >= _WORTH_A_MOVE:
            told = f"{evidence.n_labelled_in_step:,} more rows have their label"
            return Move(rollout.step + 1, allocation, f"{told}: a share as large as the chance to be the best")
    return _wait_for_end(rollout, spec, evidence)


def find_alarm(
    challenger: ChallengerEvidence, spec: RolloutSpec, *, by: Literal["labels", "agreement", "requests"]
) -> str | None:
    """Say why a challenger must go, or None.

    The whole rollout's chance to take an equally good challenger out is ``spec.false_alarm``, however many looks
    there are: three fifths for the losses (or the answers), a fifth each for errors and durations.

    Parameters
    ----------
    by : {"labels", "agreement", "requests"}
        What judges the answers: their labels, the champion's answers, or nothing.
    """
    quality = spec.false_alarm * _QUALITY
    name = f"version {challenger.number}"
    if by == "labels" and challenger.worse.exceeds(quality):
        return (
            f"{name} is worse: its scores on {challenger.worse.n:,} labelled rows are {challenger.difference:+.4f} "
            f"against the champion's, and a bet on that has won {_told(challenger.worse.largest)} for 1 "
            f"(limit {1 / quality:.0f})"
        )
    if challenger.errors.exceeds(spec.false_alarm * _ERRORS):
        return (
            f"{name} fails more often than the champion: a bet on that has won "
            f"{_told(challenger.errors.largest)} for 1 (limit {1 / (spec.false_alarm * _ERRORS):.0f})"
        )
    if challenger.slow.exceeds(spec.false_alarm * _LATENCY):
        return (
            f"{name} is more than {spec.max_slowdown:g} times as slow as the champion's slowest twentieth: a bet on "
            f"that has won {_told(challenger.slow.largest)} for 1 (limit {1 / (spec.false_alarm * _LATENCY):.0f})"
        )
    if by == "agreement" and challenger.differs.exceeds(quality / 3):
        return (
            f"{name} answers otherwise than the champion on more than {spec.max_disagreement:.0%} of "
            f"{challenger.differs.n:,} compared rows, and no labels say who is right"
        )
    if by == "agreement" and challenger.shift.exceeds(quality / 3):
        return (
            f"the mean of {name}'s answers lies more than {spec.max_shift:g} from the champion's on "
            f"{challenger.shift.n:,} compared rows, and no labels say who is right"
        )
    return None


def _decide_canary(rollout: Rollout, spec: RolloutSpec, evidence: Evidence, now: datetime) -> Decision:
    (number,) = rollout.challengers
    challenger = evidence.challengers[number]
    has_labels = spec.evidence == "labels" or (spec.evidence == "auto" and evidence.n_labelled > 0)
    # Where labels may still come, another answer is no fault yet: the challenger may be the one who is right.
    alarm = find_alarm(
        challenger,
        spec,
        by="labels" if has_labels else "agreement" if spec.evidence == "agreement" else "requests",
    )
    if alarm is not None:
        counts = evidence.arms[number].counts
        touched = f"it has answered {counts.requests:,} requests with {counts.rows:,} rows by then"
        return Close(ROLLED_BACK, f"{alarm}; {touched}")
    if evidence.refused and len(evidence.refused) >= evidence.n_replicas:
        return Stay(f"no replica can load version {number}: {next(iter(evidence.refused.values()))}")
    if now < (baked := rollout.moved_at + spec.bake):
        return Stay(f"the step lasts {describe_duration(spec.bake)} at least", until=baked)
    if not challenger.n_in_step:
        return Stay(f"version {number} has answered no request in this step")
    if has_labels:
        n_seen, kind = evidence.n_labelled_in_step, "labelled"
    else:
        n_seen, kind = evidence.n_compared_in_step, "compared"
        if find_alarm(challenger, spec, by="agreement"):
            return Stay(
                f"without labels, version {number} differs too much from the champion to go on by itself; send labels, "
                "or decide with `everfit rollout promote` or `stop`"
            )
    if n_seen < spec.min_rows:
        return Stay(f"{n_seen:,} of {spec.min_rows:,} {kind} rows in this step")
    held = f"{n_seen:,} {kind} rows and no alarm"
    step = rollout.step + 1
    if step >= len(spec.steps) or spec.steps[step] >= 100:
        return Close(PROMOTED, f"all steps are done: {held} in the last", promote=number)
    share = spec.steps[step] / 100
    return Move(step, {str(rollout.champion): 1 - share, str(number): share}, f"{held}: on to {spec.steps[step]:g} %")


def _is_over(rollout: Rollout, spec: RolloutSpec, evidence: Evidence, now: datetime) -> bool:
    is_late = spec.until is not None and now >= rollout.started_at + spec.until
    return is_late or (spec.until_rows is not None and evidence.n_labelled >= spec.until_rows)


def _wait_for_end(rollout: Rollout, spec: RolloutSpec, evidence: Evidence) -> Stay:
    waits = []
    if spec.until_rows is not None:
        waits.append(f"{evidence.n_labelled:,} of {spec.until_rows:,} labelled rows")
    until = None if spec.until is None else rollout.started_at + spec.until
    if until is not None:
        waits.append(f"until {until:%Y-%m-%d %H:%M} UTC")
    return Stay(", or ".join(waits) or "it runs until somebody stops it", until=until)


def _told(fortune: float) -> str:
    return f"{fortune:,.0f}" if fortune < 1e6 else f"{fortune:.1e}"
