"""Triage of one window: broken data, a changed world, something harmless, or nothing at all."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from base.monitor_spec import MonitorSpec
from monitoring.alarms.alarm import Judgement, Standout
from monitoring.alarms.measures import WindowFacts
from monitoring.triage.broken_data import Break, find_breaks

TriageVerdict = Literal["broken data", "changed world", "harmless", "quiet"]

# A column that carries less than this part of all importance could vanish without the model noticing much.
_LEAST_IMPORTANCE = 0.02


class LossOutlook(BaseModel):
    """What is known of the loss: measured on labels, or estimated without them; ``increase`` relative to promotion.

    ``n_labelled`` of 0 says that nothing was measured. ``estimated_increase`` is the lower end of the estimate's
    interval, and None where the estimate cannot be trusted.
    """

    model_config = ConfigDict(frozen=True)

    n_labelled: int = 0
    increase: float | None = None
    estimated_increase: float | None = None


class Triage(BaseModel):
    """The verdict with its reasons, and the evidence behind them.

    ``broken data`` asks for no training: the owner is told. ``changed world`` asks for one. ``harmless`` is logged.
    """

    model_config = ConfigDict(frozen=True)

    verdict: TriageVerdict
    reasons: tuple[str, ...] = ()
    evidence: dict[str, Any] = {}

    @property
    def asks_for_training(self) -> bool:
        """Whether a training is asked for."""
        return self.verdict == "changed world"


def triage(
    judgement: Judgement,
    facts: WindowFacts,
    spec: MonitorSpec,
    *,
    outlook: LossOutlook | None = None,
    importances: Mapping[str, float] | None = None,
    unit_ratios: Mapping[str, float] | None = None,
    constant: Collection[str] = (),
) -> Triage:
    """Say what is behind the alarms of a window; a pure function.

    In this order: data that is broken is no reason to learn from it, whatever the loss; a loss that has risen is a
    changed world, whatever the columns say; columns that moved while the loss held are harmless; where no loss is
    known, what counts is which part of what matters to the model has moved.

    Parameters
    ----------
    judgement : Judgement
        As :func:`monitoring.alarms.judging.judge_drift` gives it.
    outlook : LossOutlook, optional
        What is known of the loss.
    importances : mapping of str to float, optional
        By how much the loss rises when a feature is shuffled; without them all features matter alike.
    unit_ratios : mapping of str to float, optional
        By column, the factor by which its values look like the reference in another unit.
    constant : collection of str
        Columns that have one value only, where the reference has several.
    """
    outlook = outlook or LossOutlook()
    breaks = find_breaks(judgement, facts, unit_ratios or {}, constant)
    if breaks:
        return Triage(
            verdict="broken data",
            reasons=tuple(each.reason for each in breaks),
            evidence={"breaks": [_describe_break(each) for each in breaks]},
        )
    moved = _moved_columns(judgement)
    weights = _weigh(importances, moved, judgement.n_features)
    evidence: dict[str, Any] = {
        "columns": {column: {"effect": each.effect, "weight": weights[column]} for column, each in moved.items()},
        "drifted_weight": sum(weights.values()),
        **outlook.model_dump(exclude_none=True),
    }
    worse = judgement.find("performance")
    if worse is not None:
        return Triage(verdict="changed world", reasons=(worse.reason, *_tell(moved)), evidence=evidence)
    if not judgement.standouts and not judgement.alarms:
        return Triage(verdict="quiet")
    if reason := _find_change(judgement, moved, weights, outlook, spec, has_importances=bool(importances)):
        return Triage(verdict="changed world", reasons=(reason, *_tell(moved)), evidence=evidence)
    reasons = _excuse(judgement, moved, weights, outlook, spec)
    return Triage(verdict="harmless", reasons=(*reasons, *_tell(moved)), evidence=evidence)


def _find_change(
    judgement: Judgement,
    moved: Mapping[str, Standout],
    weights: Mapping[str, float],
    outlook: LossOutlook,
    spec: MonitorSpec,
    *,
    has_importances: bool,
) -> str | None:
    """Say why a window without an alarm of the loss calls for a training, if it does."""
    if not judgement.alarms:
        return None
    matters = not has_importances or any(weight >= _LEAST_IMPORTANCE for weight in weights.values())
    limit = spec.max_loss_increase
    if outlook.n_labelled >= spec.min_rows and outlook.increase is not None:
        if matters and moved and outlook.increase > limit:
            return f"the loss is {outlook.increase:+.1%} on {outlook.n_labelled:,} labelled rows while columns moved"
        return None
    if outlook.estimated_increase is not None and outlook.estimated_increase > limit:
        return f"without labels the loss is estimated to be {outlook.estimated_increase:+.1%} at least"
    share = sum(weights.values())
    if judgement.find("drift") is not None and share > spec.max_drifted_share:
        what = "what matters to the model" if has_importances else "the features"
        return f"{share:.0%} of {what} moved, limit {spec.max_drifted_share:.0%}, and no labels say that the loss holds"
    return None


def _excuse(
    judgement: Judgement,
    moved: Mapping[str, Standout],
    weights: Mapping[str, float],
    outlook: LossOutlook,
    spec: MonitorSpec,
) -> tuple[str, ...]:
    if outlook.increase is not None and outlook.n_labelled:
        holds = outlook.increase <= spec.max_loss_increase
        how = "the loss holds" if holds else "the loss is not beyond chance and custom"
        return (f"{how}: {outlook.increase:+.1%} on {outlook.n_labelled:,} labelled rows",)
    if moved and max(weights.values()) < _LEAST_IMPORTANCE:
        return ("what moved hardly matters to the model",)
    missing = judgement.find("missing labels")
    if missing is not None:
        return (missing.reason,)
    unconfirmed = [each for each in judgement.standouts if not each.is_confirmed]
    if len(unconfirmed) == len(judgement.standouts):
        return ("more windows must show it",)
    return ("too little moved to ask for a training while the loss is not known",)


def _moved_columns(judgement: Judgement) -> dict[str, Standout]:
    """The features that moved in themselves, each with its largest standout."""
    moved: dict[str, Standout] = {}
    for each in judgement.standouts:
        if each.column is None or each.kind != "drift":
            continue
        if each.column not in moved or each.effect > moved[each.column].effect:
            moved[each.column] = each
    return moved


def _weigh(importances: Mapping[str, float] | None, moved: Mapping[str, Standout], n_features: int) -> dict[str, float]:
    """The part of all importance that each moved column carries; without importances all features matter alike."""
    if not importances:
        return dict.fromkeys(moved, 1 / max(n_features, 1))
    useful = {name: max(0.0, value) for name, value in importances.items()}
    total = sum(useful.values())
    return {name: useful.get(name, 0.0) / total if total > 0 else 1 / len(useful) for name in moved}


def _tell(moved: Mapping[str, Standout]) -> tuple[str, ...]:
    return tuple(each.text for each in sorted(moved.values(), key=lambda each: -each.effect))


def _describe_break(found: Break) -> dict[str, Any]:
    return {
        "kind": found.kind,
        "column": found.column,
        "reason": found.reason,
        "share": found.share,
        "rows": list(found.rows),
    }
