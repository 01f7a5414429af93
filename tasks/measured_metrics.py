"""The metrics of every model on the judged rows, with intervals from one set of resamples for all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from base.bootstrap import Blocks, cut_blocks, draw_weights, interval_of
from base.costs import row_costs
from base.evaluate_spec import EvaluateSpec, MetricSpec
from base.metrics import LOWER_IS_BETTER, Task, explain_unmeasured, measure
from base.pipeline import PipelineSpec
from base.resampled_metrics import resample_metrics, within_range
from base.user_code import UserCode
from tasks.scored_rows import ScoredBy, ScoredRows
from tasks.user_metrics import UserMetric, load_metrics

Draws = npt.NDArray[np.float64]

# The same rows give the same interval, whatever was trained on them.
_SEED = 20130101


@dataclass
class MeasuredMetrics:
    """What :class:`base.judged.Evaluation` says of metrics, by its names."""

    metrics: dict[str, float]
    baseline: dict[str, float]
    champion: dict[str, float] | None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)
    differences: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    lower_is_better: dict[str, bool] = field(default_factory=dict)
    n_blocks: int = 0


def measure_models(
    rows: ScoredRows, spec: PipelineSpec, classes: tuple[Any, ...] | None, code: UserCode
) -> MeasuredMetrics:
    """Measure challenger, baseline and champion by all that is usual for the task and all that is declared.

    A metric that is declared and cannot be measured is in ``missing`` with the reason, and never an error: the gate
    refuses where it needs it.
    """
    evaluate = spec.evaluate
    missing: dict[str, str] = {}
    costs = _cost_rows(rows, evaluate, classes, missing)
    found = {name: _measure(spec.task, scored, evaluate, costs.get(name)) for name, scored in rows.models.items()}
    missing |= explain_unmeasured(spec.task, rows.challenger.target, found["challenger"])
    own = load_metrics(evaluate.metrics, code, missing)
    labels = _labels(rows, spec, classes)
    for name, scored in rows.models.items():
        for metric in own:
            value = metric.measure(labels, scored, classes, missing if name == "challenger" else {})
            if value is not None:
                found[name][metric.name] = value
    measured = MeasuredMetrics(
        metrics=found["challenger"],
        baseline=found["baseline"],
        champion=found.get("champion"),
        missing=missing,
        lower_is_better={name: LOWER_IS_BETTER[name] for name in found["challenger"] if name in LOWER_IS_BETTER}
        | {name: True for name in found["challenger"] if name.startswith("pinball_")}
        | {metric.name: metric.lower_is_better for metric in own if metric.name in found["challenger"]},
    )
    if evaluate.draws:
        _add_intervals(measured, rows, spec, costs, own, labels, classes)
    return measured


def _measure(task: Task, scored: ScoredBy, evaluate: EvaluateSpec, costs: Draws | None) -> dict[str, float]:
    return measure(
        task,
        scored.target,
        scored.answers,
        threshold=scored.threshold,
        quantiles=evaluate.quantiles,
        costs=costs,
    )


def _cost_rows(
    rows: ScoredRows, evaluate: EvaluateSpec, classes: tuple[Any, ...] | None, missing: dict[str, str]
) -> dict[str, Draws]:
    if evaluate.costs is None:
        return {}
    target = rows.challenger.target
    try:
        return {name: row_costs(evaluate.costs, target, scored.points, classes) for name, scored in rows.models.items()}
    except ValueError as error:
        missing["cost"] = str(error)
        return {}


def _labels(rows: ScoredRows, spec: PipelineSpec, classes: tuple[Any, ...] | None) -> npt.NDArray[Any]:
    """Return the target as the data hold it, for functions of the user's own."""
    if classes is None or not spec.evaluate.metrics:
        return rows.challenger.target
    column: pa.ChunkedArray = rows.raw[spec.target_column]
    return np.asarray(column.to_pylist())


def _add_intervals(
    measured: MeasuredMetrics,
    rows: ScoredRows,
    spec: PipelineSpec,
    costs: dict[str, Draws],
    own: list[UserMetric],
    labels: npt.NDArray[Any],
    classes: tuple[Any, ...] | None,
) -> None:
    evaluate = spec.evaluate
    try:
        blocks = cut_blocks(rows.n_rows)
    except ValueError as error:
        measured.missing["intervals"] = str(error)
        return
    weights = draw_weights(blocks, evaluate.draws, seed=_SEED)
    drawn = {
        name: resample_metrics(
            spec.task,
            scored.target,
            scored.answers,
            blocks,
            weights,
            threshold=scored.threshold,
            quantiles=evaluate.quantiles,
            costs=costs.get(name),
        )
        for name, scored in rows.models.items()
        if name != "baseline"
    }
    for metric in own:
        for name, values in drawn.items():
            resampled = metric.resample(labels, rows.models[name], classes, blocks, weights)
            if resampled is not None:
                values[metric.name] = resampled
    measured.n_blocks = blocks.n_blocks
    for metric_name, draws in drawn["challenger"].items():
        value = measured.metrics.get(metric_name)
        bounds = None if value is None else _bounds(draws, value, blocks, evaluate)
        if value is None or bounds is None:
            continue
        measured.intervals[metric_name] = within_range(metric_name, bounds)
        other = (measured.champion or {}).get(metric_name)
        if other is not None and metric_name in drawn["champion"]:
            gap = value - other
            of_gap = _bounds(draws - drawn["champion"][metric_name], gap, blocks, evaluate)
            if of_gap is not None:
                measured.differences[metric_name] = (gap, *of_gap)


def _bounds(draws: Draws, value: float, blocks: Blocks, evaluate: EvaluateSpec) -> tuple[float, float] | None:
    return interval_of(draws, value, n_blocks=blocks.n_blocks, confidence=evaluate.confidence)


def uses_code(metrics: tuple[MetricSpec, ...]) -> bool:
    """Tell whether any metric is a function of the user's own code."""
    return any(":" in metric.function for metric in metrics)
