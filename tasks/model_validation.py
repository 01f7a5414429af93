"""Validate the model: may the challenger serve, given what it and the champion did on the same rows?"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import numpy.typing as npt
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.fingerprint import digest_document
from base.judged import Check, Evaluation, Verdict
from base.metrics import LOSS_NAMES
from base.pipeline import PipelineSpec
from base.references import Trigger
from registry.manifest import ChampionReference
from tasks.execution import RunReference, execute_step, open_context
from tasks.frames import load_frame

# Triggers that carry evidence that the champion has aged: on "cannot tell" the fresher model is the better bet.
EVIDENCE_OF_AGE: frozenset[Trigger] = frozenset({"drift", "performance"})
_MOST_BLOCKS = 30
_FEWEST_ROWS_PER_BLOCK = 5


def validate_model(
    evaluation: Evaluation,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    *,
    trigger: Trigger,
    champion_revision: int,
) -> Verdict:
    """Compare challenger and champion on the same rows, with an interval, and decide.

    Three outcomes are possible: *better* and *worse* when the interval of the mean difference of losses lies
    on one side of zero, *cannot tell* otherwise, and where the champion has learnt from the very rows. A first
    model has no champion; it must beat the baseline.

    Parameters
    ----------
    trigger : str
        What asked for the training; it decides, under ``cannot_tell: auto``, who serves when the rows cannot.
    champion_revision : int
        Where the alias stood when the champion was scored; the promotion is refused if it moved since.
    """
    losses = load_frame(artifacts, evaluation.losses)
    gate = spec.validate_model
    checks = []
    if evaluation.champion is None:
        # A challenger is measured by the champion instead: in a hard month both may lose to the baseline.
        checks.append(_beats_baseline(evaluation, spec))
    elif gate.max_slice_regression is not None:
        checks.append(_slices_hold(evaluation, spec.evaluate.slices, gate.max_slice_regression))
    difference: float | None = None
    interval: tuple[float, float] | None = None
    n_blocks = 0
    outcome: Literal["first", "better", "worse", "cannot tell", "refused"] = "first"
    if evaluation.champion is not None:
        gap = losses["challenger"].to_numpy() - losses["champion"].to_numpy()
        difference, (low, high), n_blocks = paired_interval(gap, confidence=gate.confidence)
        outcome = "better" if high < 0 else "worse" if low > 0 else "cannot tell"
        if evaluation.n_seen_by_champion:
            outcome = "cannot tell"
        # A document cannot hold infinity: an interval without end is none.
        interval = (low, high) if math.isfinite(low) else None
    failed = [check for check in checks if not check.passed]
    if failed:
        promote, reason = False, f"refused: {failed[0].evidence}"
        outcome = "refused"
    else:
        promote, reason = _decide(outcome, gate.cannot_tell, trigger, evaluation, difference, interval, spec)
    return Verdict(
        outcome=outcome,
        promote=promote,
        reason=reason,
        loss=LOSS_NAMES[spec.task],
        difference=difference,
        interval=interval,
        confidence=gate.confidence,
        n_rows=evaluation.n_rows,
        n_blocks=n_blocks,
        checks=tuple(checks),
        champion_version=evaluation.champion_version,
        champion_revision=champion_revision,
    )


def paired_interval(gap: npt.NDArray[np.float64], *, confidence: float) -> tuple[float, tuple[float, float], int]:
    """Estimate the mean of paired differences with an interval that allows for neighbours being alike.

    The time-ordered rows are cut into up to 30 blocks; the blocks' means vary as much as days and hours do,
    and Student's t over them gives the interval (the method of batch means; Law & Kelton, *Simulation
    Modeling and Analysis*). An interval over single rows would take a busy storm for many proofs.

    Parameters
    ----------
    gap : array of shape (n_rows,)
        Loss of one model minus loss of the other, in time order.

    Returns
    -------
    (float, (float, float), int)
        Mean, interval, number of blocks. With fewer than two blocks of rows the interval is infinite.

    Examples
    --------
    >>> mean, (low, high), blocks = paired_interval(np.full(100, -0.5), confidence=0.95)
    >>> mean, low, high, blocks
    (-0.5, -0.5, -0.5, 20)
    """
    from scipy.stats import t

    n_blocks = min(_MOST_BLOCKS, len(gap) // _FEWEST_ROWS_PER_BLOCK)
    mean = float(gap.mean())
    if n_blocks < 2:
        return mean, (-math.inf, math.inf), n_blocks
    means = np.array([block.mean() for block in np.array_split(gap, n_blocks)])
    half = float(t.ppf((1 + confidence) / 2, n_blocks - 1) * means.std(ddof=1) / math.sqrt(n_blocks))
    return mean, (mean - half, mean + half), n_blocks


def rows_that_would_tell(difference: float, interval: tuple[float, float], n_rows: int) -> int | None:
    """Estimate how many rows in all would show a difference of this size, since an interval shrinks with their root.

    Examples
    --------
    >>> rows_that_would_tell(-0.01, (-0.03, 0.01), 1_000)
    4000
    """
    half = (interval[1] - interval[0]) / 2
    if difference == 0 or not math.isfinite(half):
        return None
    return math.ceil(round(n_rows * (half / difference) ** 2, 6))


def _decide(
    outcome: str,
    policy: Literal["champion", "fresher", "auto"],
    trigger: Trigger,
    evaluation: Evaluation,
    difference: float | None,
    interval: tuple[float, float] | None,
    spec: PipelineSpec,
) -> tuple[bool, str]:
    loss = LOSS_NAMES[spec.task]
    own = evaluation.metrics[loss]
    if difference is None:
        return True, f"first model; its {loss} {own:.4f} beats {evaluation.baseline[loss]:.4f} without a model"
    bounds = "too few rows for an interval"
    if interval is not None:
        bounds = f"interval {interval[0]:+.4f} to {interval[1]:+.4f}"
    figures = (
        f"{loss} {own:.4f} against the champion's {(evaluation.champion or {})[loss]:.4f} "
        f"(difference {difference:+.4f}, {bounds}) on {evaluation.n_rows:,} rows"
    )
    if outcome != "cannot tell":
        return outcome == "better", f"{outcome}: {figures}"
    if difference == 0 and interval == (0.0, 0.0):
        figures = f"both give the same answers ({loss} {own:.4f}) on {evaluation.n_rows:,} rows"
    if evaluation.n_seen_by_champion:
        figures += ", all of which the champion has learnt from"
    rows = None
    if interval is not None and not evaluation.n_seen_by_champion:
        rows = rows_that_would_tell(difference, interval, evaluation.n_rows)
    more = "" if rows is None else f"; about {max(rows - evaluation.n_rows, 1):,} more rows would tell"
    fresher = policy == "fresher" or (policy == "auto" and trigger in EVIDENCE_OF_AGE)
    who = "the fresher model serves" if fresher else "the champion stays"
    return fresher, f"cannot tell: {figures}{more}; asked for by {trigger}, so {who}"


def _beats_baseline(evaluation: Evaluation, spec: PipelineSpec) -> Check:
    loss = LOSS_NAMES[spec.task]
    own, baseline = evaluation.metrics[loss], evaluation.baseline[loss]
    evidence = f"{loss} {own:.4f} against {baseline:.4f} without a model, on {evaluation.n_rows:,} rows"
    return Check(name="beats the baseline", passed=own < baseline, evidence=evidence)


def _slices_hold(evaluation: Evaluation, declared: tuple[str, ...], limit: float) -> Check:
    name = "no slice regresses"
    judged = {part.column for part in evaluation.slices}
    if missing := [column for column in declared if column not in judged]:
        evidence = f"slice column {missing[0]!r} has no value with enough rows to judge, or is not in the data"
        return Check(name=name, passed=False, evidence=evidence)
    if not declared:
        return Check(name=name, passed=False, evidence="a limit is set, but evaluate.slices declares no slice")
    rises = {f"{part.column} = {part.value}": _rise(part.metrics) for part in evaluation.slices}
    worst = max(rises, key=lambda part: rises[part])
    return Check(
        name=name,
        passed=rises[worst] <= limit,
        evidence=f"worst slice {worst}: loss {rises[worst]:+.1%}, at most {limit:+.1%} allowed",
    )


def _rise(losses: Mapping[str, float]) -> float:
    own, champion = losses["challenger_loss"], losses["champion_loss"]
    if champion == 0:
        return 0.0 if own == 0 else math.inf
    return own / champion - 1


@task(name="validate model", cache_policy=NO_CACHE)
def validate_model_step(
    run: RunReference, evaluation: Evaluation, champion: ChampionReference, trigger: Trigger
) -> Verdict:
    """Let the gate decide, or reuse its verdict on the same evaluation."""
    context = open_context(run)
    spec = context.pipeline.spec

    def work() -> Verdict:
        artifacts = context.registry.artifacts
        return validate_model(evaluation, spec, artifacts, trigger=trigger, champion_revision=champion.revision)

    return execute_step(
        context,
        "validate_model",
        work,
        output=Verdict,
        parameters={
            "validate_model": spec.validate_model.model_dump(mode="json"),
            "task": spec.task,
            "trigger": trigger,
            "revision": champion.revision,
        },
        inputs={"evaluation": digest_document(evaluation.model_dump(mode="json"))},
        log=get_run_logger(),
    )
