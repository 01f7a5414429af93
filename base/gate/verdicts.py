"""The verdict: a pure function of what evaluation found, so that it can be decided again from what is stored."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import pandas as pd

from base.gate.checks import check_all
from base.gate.paired_comparison import PairedComparison, compare_pairs, rows_that_would_tell
from base.gate_spec import ValidateModelSpec
from base.judged import Evaluation, Servability, Trial, Verdict
from base.metrics import LOSS_NAMES
from base.references import Metric, Reference, Trigger

# Triggers that carry evidence that the champion has aged: on "cannot tell" the fresher model is the better bet.
EVIDENCE_OF_AGE: frozenset[str] = frozenset({"drift", "performance", "staleness"})
METHOD = "paired losses, means of blocks in time, Student's t; luck of the seed by refits"

Outcome = Literal["first", "better", "worse", "cannot tell", "refused"]


class GateInputs(Reference):
    """All that a verdict was decided from, beside the losses' file that the evaluation names; kept for the ledger.

    ``refits`` are the mean losses of the challenger's recipe fitted with several seeds, the challenger's own first;
    empty where they were not asked for. ``trial`` is what the recipe did after a change of the world. Deciding again
    from these inputs gives the same verdict.
    """

    evaluation: Evaluation
    spec: ValidateModelSpec
    trigger: Trigger
    champion_revision: int
    declared_slices: tuple[str, ...] = ()
    refits: tuple[Metric, ...] = ()
    servability: Servability | None = None
    trial: Trial | None = None

    def decide(self, losses: pd.DataFrame) -> Verdict:
        """Decide, or decide again."""
        return decide_verdict(
            self.evaluation,
            losses,
            self.spec,
            trigger=self.trigger,
            champion_revision=self.champion_revision,
            declared_slices=self.declared_slices,
            refits=self.refits,
            servability=self.servability,
            trial=self.trial,
        )


def decide_verdict(
    evaluation: Evaluation,
    losses: pd.DataFrame,
    spec: ValidateModelSpec,
    *,
    trigger: Trigger,
    champion_revision: int,
    declared_slices: Sequence[str] = (),
    refits: Sequence[float] = (),
    servability: Servability | None = None,
    trial: Trial | None = None,
) -> Verdict:
    """Compare challenger and champion on the same rows, with an interval, and decide.

    Three outcomes are possible: *better* and *worse* when the interval of the mean difference of losses lies
    on one side of zero, *cannot tell* otherwise, and where the champion has learnt from the very rows. A first
    model has no champion; it must beat the baseline. A check that fails refuses, whatever the comparison says.

    Right after a change of the world neither model knows it, and rows that both lose cannot tell who will; and where
    challenger and champion are one model, no row can. There a trial that is better says *better*.

    Parameters
    ----------
    losses : DataFrame of shape (n_rows, …)
        The rows of ``evaluation.losses``, in time order; :class:`base.judged.Evaluation` names its columns.
    trigger : str
        What asked for the training; it decides, under ``cannot_tell: auto``, who serves when the rows cannot.
    champion_revision : int
        Where the alias stood when the champion was scored; the promotion is refused if it moved since.
    declared_slices : sequence of str
        The columns of ``evaluate.slices``.
    refits : sequence of float
        Mean losses of the recipe's fits with several seeds, as :func:`compare_pairs` takes them.
    servability : Servability, optional
        What the packaged model did in a clean process; None before it was packaged.
    trial : Trial, optional
        What the recipe did beside the champion once it knew the older half of the newest rows.
    """
    loss = name_loss(evaluation)
    checks = check_all(evaluation, losses, spec, loss=loss, declared_slices=declared_slices, servability=servability)
    comparison: PairedComparison | None = None
    outcome: Outcome = "first"
    if evaluation.champion is not None:
        gap = losses["challenger"].to_numpy() - losses["champion"].to_numpy()
        comparison = compare_pairs(gap, confidence=spec.confidence, refits=refits)
        outcome = "better" if comparison.high < 0 else "worse" if comparison.low > 0 else "cannot tell"
        if evaluation.n_seen_by_champion:
            outcome = "cannot tell"
    scale = None if evaluation.champion is None else float(losses["champion"].mean())
    promote, reason = _explain(outcome, comparison, evaluation, spec, loss, trigger)
    if trial is not None and outcome in ("worse", "cannot tell") and not promote:
        outcome, promote, reason = _hear(trial, outcome, reason)
    if failed := [check for check in checks if not check.passed]:
        outcome, promote = "refused", False
        reason = f"refused: {'; '.join(check.evidence for check in failed)}"
    return Verdict(
        outcome=outcome,
        promote=promote,
        reason=reason,
        loss=loss,
        difference=None if comparison is None else comparison.difference,
        interval=None if comparison is None else comparison.interval,
        confidence=spec.confidence,
        n_rows=evaluation.n_rows,
        n_blocks=0 if comparison is None else comparison.n_blocks,
        checks=tuple(checks),
        champion_version=evaluation.champion_version,
        champion_revision=champion_revision,
        method="" if comparison is None else METHOD,
        effect=spec.effect,
        power=spec.power,
        luck=None if comparison is None or len(refits) < 2 else comparison.luck_variance**0.5,
        refits=tuple(refits),
        rows_to_tell=_rows(comparison, None if comparison is None else comparison.difference, spec.power),
        rows_for_effect=_rows(comparison, None if scale is None else scale * spec.effect, spec.power),
        servability=servability,
        trial=trial,
    )


def name_loss(evaluation: Evaluation) -> str:
    """Name the metric that is the mean of the row losses."""
    return next((name for name in LOSS_NAMES.values() if name in evaluation.metrics), "loss")


def _rows(comparison: PairedComparison | None, difference: float | None, power: float) -> int | None:
    if comparison is None or difference is None:
        return None
    return rows_that_would_tell(comparison, difference, power=power)


def _explain(
    outcome: Outcome,
    comparison: PairedComparison | None,
    evaluation: Evaluation,
    spec: ValidateModelSpec,
    loss: str,
    trigger: Trigger,
) -> tuple[bool, str]:
    own = evaluation.metrics[loss]
    if comparison is None:
        return True, f"first model; its {loss} {own:.4f} beats {evaluation.baseline[loss]:.4f} without a model"
    bounds = "too few rows for an interval"
    if comparison.interval is not None:
        bounds = f"interval {comparison.low:+.4f} to {comparison.high:+.4f}"
    against = "the champion's"
    if evaluation.champion_stand_in:
        against += " (its own sibling, which has not seen these rows)"
    figures = (
        f"{loss} {own:.4f} against {against} {(evaluation.champion or {})[loss]:.4f} "
        f"(difference {comparison.difference:+.4f}, {bounds}) on {evaluation.n_rows:,} rows"
    )
    if outcome != "cannot tell":
        return outcome == "better", f"{outcome}: {figures}"
    if comparison.difference == 0 and comparison.interval == (0.0, 0.0):
        figures = f"both give the same answers ({loss} {own:.4f}) on {evaluation.n_rows:,} rows"
    if evaluation.n_seen_by_champion:
        figures += ", all of which the champion has learnt from"
    fresher = spec.cannot_tell == "fresher" or (spec.cannot_tell == "auto" and trigger in EVIDENCE_OF_AGE)
    who = "the fresher model serves" if fresher else "the champion stays"
    more = "" if evaluation.n_seen_by_champion else _what_would_tell(comparison, evaluation, spec, loss)
    return fresher, f"cannot tell: {figures}{more}; asked for by {trigger}, so {who}"


def _hear(trial: Trial, outcome: Outcome, reason: str) -> tuple[Outcome, bool, str]:
    """Let a trial speak where the rows have not spoken for the challenger."""
    occasion = "the world has changed" if trial.occasion == "a changed world" else "the recipe is the champion's"
    if not trial.is_better:
        return outcome, False, f"{reason}; {occasion}, yet {trial}"
    return "better", True, f"better: {occasion}: {trial}; without those rows: {reason}"


def _what_would_tell(comparison: PairedComparison, evaluation: Evaluation, spec: ValidateModelSpec, loss: str) -> str:
    if comparison.interval is None or not comparison.rows_variance + comparison.luck_variance:
        return ""
    effect = spec.effect * abs((evaluation.champion or {})[loss])
    seen, wanted = (_rows(comparison, size, spec.power) for size in (comparison.difference, effect))
    if seen is None and wanted is None:
        return "; fits with other seeds differ by more, so that no number of rows would tell"
    told = []
    if seen is not None:
        told.append(f"about {max(seen - evaluation.n_rows, 1):,} more rows would tell a difference of this size")
    if wanted is not None:
        further = wanted - evaluation.n_rows
        enough = "these rows would have told" if further <= 0 else f"about {further:,} more would tell"
        told.append(f"{enough} one of {spec.effect:.1%}")
    return f"; {' and '.join(told)}"
