"""The checks of the gate: each asks one question, and answers with the figures behind it."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from base.errors import nearest
from base.gate.slice_checks import check_slices
from base.gate_spec import ChangeLimit, FairnessLimit, Limit, ValidateModelSpec
from base.judged import Check, Evaluation, FairnessMetrics, Servability

_JUDGED_BY = {"majority": ("accuracy",), "mean": ("rmse",), "last value": ("mae", "accuracy")}


def check_all(
    evaluation: Evaluation,
    losses: pd.DataFrame,
    spec: ValidateModelSpec,
    *,
    loss: str,
    declared_slices: Sequence[str] = (),
    servability: Servability | None = None,
) -> list[Check]:
    """Ask all that *spec* configures; what compares with a champion is asked only where there is one."""
    checks = []
    if evaluation.champion is None:
        # A challenger is measured by the champion instead: in a hard month both may lose to the baseline.
        checks.append(check_baseline(evaluation, loss))
        checks += [check_named_baseline(evaluation, name) for name in spec.baselines]
    checks += [check_floor(evaluation, metric, limit) for metric, limit in spec.floors.items()]
    if evaluation.champion is not None:
        checks += [check_change(evaluation, metric, limit) for metric, limit in spec.changes.items()]
        if spec.max_slice_regression is not None:
            checks.append(check_slices(evaluation, losses, spec, declared_slices))
        if spec.max_churn is not None:
            checks.append(check_churn(losses, spec.max_churn, is_regression=loss == "mae"))
    checks += [check_fairness(evaluation, limit) for limit in spec.fairness]
    if servability is not None:
        checks += check_servability(servability, spec)
    return checks


def check_baseline(evaluation: Evaluation, loss: str) -> Check:
    """Ask whether a model's loss is below that of the classes' shares, or of the median."""
    own, baseline = evaluation.metrics[loss], evaluation.baseline[loss]
    return Check(
        name="beats the baseline",
        passed=own < baseline,
        evidence=f"{loss} {own:.4f} against {baseline:.4f} without a model, on {evaluation.n_rows:,} rows",
        figures={"challenger": own, "baseline": baseline},
    )


def check_named_baseline(evaluation: Evaluation, name: str) -> Check:
    """Ask whether a model beats one more answer that needs no model, in the metric that this answer is best at."""
    title = f"beats the {name}"
    found = evaluation.baselines.get(name)
    if found is None:
        reason = evaluation.missing.get(f"baseline {name}", f"there is {_list(evaluation.baselines)}")
        return Check(name=title, passed=False, evidence=f"no baseline {name!r} was measured: {reason}")
    metric = next(metric for metric in _JUDGED_BY[name] if metric in found)
    own, other = evaluation.metrics[metric], found[metric]
    passed = own > other if metric == "accuracy" else own < other
    return Check(
        name=title,
        passed=passed,
        evidence=f"{metric} {own:.4f} against {other:.4f} of the {name}, on {evaluation.n_rows:,} rows",
        figures={"challenger": own, "baseline": other},
    )


def check_floor(evaluation: Evaluation, metric: str, limit: Limit) -> Check:
    """Ask whether one of the challenger's own metrics keeps within its bounds."""
    name = f"{metric} {_describe(limit)}"
    value = evaluation.metrics.get(metric)
    if value is None or not math.isfinite(value):
        return _missing_metric(name, evaluation, metric, evaluation.metrics)
    evidence = f"{metric} is {value:.4g}, expected {_describe(limit)}"
    return Check(name=name, passed=_holds(value, limit), evidence=evidence, figures={"challenger": value})


def check_change(evaluation: Evaluation, metric: str, limit: ChangeLimit) -> Check:
    """Ask whether a metric's change against the champion keeps within its bounds."""
    name = f"change of {metric} {_describe(limit, relative=limit.relative)}"
    champion = evaluation.champion or {}
    own, other = evaluation.metrics.get(metric), champion.get(metric)
    if own is None or other is None or not (math.isfinite(own) and math.isfinite(other)):
        return _missing_metric(name, evaluation, metric, evaluation.metrics.keys() & champion.keys())
    change = own - other
    if limit.relative:
        change = 0.0 if change == 0 else change / abs(other) if other else math.copysign(math.inf, change)
    shown = f"{change:+.2%}" if limit.relative else f"{change:+.4g}"
    bounds = evaluation.differences.get(metric)
    interval = "" if bounds is None else f" (interval {bounds[1]:+.4g} to {bounds[2]:+.4g})"
    return Check(
        name=name,
        passed=_holds(change, limit),
        evidence=f"{metric} {own:.4g} against the champion's {other:.4g}: {shown}{interval}, "
        f"expected {_describe(limit, relative=limit.relative)}",
        figures={"challenger": own, "champion": other, **({"change": change} if math.isfinite(change) else {})},
    )


def check_fairness(evaluation: Evaluation, limit: FairnessLimit) -> Check:
    """Ask whether the groups of a column lie close enough together, and no farther apart than with the champion."""
    name = f"fairness: {limit.metric} over {limit.column}"
    found = next((one for one in evaluation.fairness if (one.column, one.metric) == (limit.column, limit.metric)), None)
    if found is None or not math.isfinite(found.value):
        return Check(name=name, passed=False, evidence=_missing_fairness(evaluation, limit))
    passed, told = found.value <= limit.at_most, f"at most {limit.at_most:.4g} is allowed"
    if limit.max_rise is not None and evaluation.champion is not None:
        if found.champion_value is None:
            passed, told = False, f"{told}; the champion's gap was not measured, so that no rise can be"
        else:
            passed = passed and found.value - found.champion_value <= limit.max_rise
            told += f", and {limit.max_rise:+.4g} over the champion's {found.champion_value:.4g}"
    return Check(
        name=name,
        passed=passed,
        evidence=f"{limit.metric} differs by {found.value:.4g} between the groups of {limit.column} "
        f"({_extremes(found)}); {told}",
        figures={
            "challenger": found.value,
            **({} if found.champion_value is None else {"champion": found.champion_value}),
        },
    )


def check_churn(losses: pd.DataFrame, most: float, *, is_regression: bool) -> Check:
    """Ask how many rows get another answer from the challenger than from the champion."""
    name = "churn"
    if missing := [column for column in ("challenger_answer", "champion_answer") if column not in losses]:
        return Check(name=name, passed=False, evidence=f"the evaluation holds no column {missing[0]!r} to count it by")
    churn = measure_churn(losses["challenger_answer"], losses["champion_answer"], is_regression=is_regression)
    what = "answers move by" if is_regression else "answers that change:"
    return Check(
        name=name,
        passed=churn <= most,
        evidence=f"{what} {churn:.2%}, at most {most:.2%} is allowed, on {len(losses):,} rows",
        figures={"churn": churn} if math.isfinite(churn) else {},
    )


def measure_churn(one: Iterable[float], other: Iterable[float], *, is_regression: bool) -> float:
    """Return the share of answers that differ; of values, their mean change over the mean size of the *other*'s.

    Examples
    --------
    >>> measure_churn([0, 1, 1, 1], [0, 1, 0, 1], is_regression=False)
    0.25
    >>> measure_churn([11.0, 9.0], [10.0, 10.0], is_regression=True)
    0.1
    """
    first, second = np.asarray(list(one), dtype=np.float64), np.asarray(list(other), dtype=np.float64)
    if not is_regression:
        return float((first != second).mean())
    change, size = float(np.abs(first - second).mean()), float(np.abs(second).mean())
    return 0.0 if change == 0 else change / size if size else math.inf


def check_servability(found: Servability, spec: ValidateModelSpec) -> list[Check]:
    """Ask whether the packaged model served in a clean process, and within its budgets."""
    if found.error is not None:
        return [Check(name="servable", passed=False, evidence=f"the packaged model does not serve: {found.error}")]
    evidence = f"a clean process loaded it in {found.load_seconds:.1f} s and got {found.n_rows} rows' answers as stored"
    checks = [Check(name="servable", passed=True, evidence=evidence, figures={"load_seconds": found.load_seconds})]
    timed = f"; {found.n_timed_rows} rows, each the best of {found.n_timed_passes}" if found.n_timed_passes else ""
    for name, value, most, unit in (
        ("latency", found.p95_ms, spec.max_latency_ms, f"ms for one row (95th percentile{timed})"),
        ("size", found.size_mb, spec.max_size_mb, "MB"),
    ):
        if most is not None:
            evidence = f"{name} {value:.3g} {unit}, at most {most:g} is allowed"
            checks.append(Check(name=name, passed=value <= most, evidence=evidence, figures={name: value}))
    return checks


def _holds(value: float, limit: Limit) -> bool:
    return (limit.at_least is None or value >= limit.at_least) and (limit.at_most is None or value <= limit.at_most)


def _describe(limit: Limit, *, relative: bool = False) -> str:
    def show(value: float) -> str:
        return f"{value:+.1%}" if relative else f"{value:g}"

    bounds = [("at least", limit.at_least), ("at most", limit.at_most)]
    return " and ".join(f"{word} {show(value)}" for word, value in bounds if value is not None)


def _missing_metric(name: str, evaluation: Evaluation, metric: str, known: Iterable[str]) -> Check:
    reason = evaluation.missing.get(metric) or evaluation.missing.get(f"metric {metric}")
    there = sorted(known)
    told = f": {reason}" if reason else f"{nearest(metric, there)}; there is {_list(there)}"
    return Check(name=name, passed=False, evidence=f"metric {metric!r} was not measured{told}")


def _missing_fairness(evaluation: Evaluation, limit: FairnessLimit) -> str:
    what = f"fairness of {limit.metric!r} over {limit.column!r} was not measured"
    reasons = [
        reason for key, reason in evaluation.missing.items() if limit.column in key.split() or limit.column == key
    ]
    if reasons:
        return f"{what}: {reasons[0]}"
    return f"{what}; there is {_list(f'{one.metric} over {one.column}' for one in evaluation.fairness)}"


def _extremes(found: FairnessMetrics) -> str:
    groups: Mapping[str, float] = {name: value for name, value in found.groups.items() if math.isfinite(value)}
    if not groups:
        return "no group could be measured"
    low, high = min(groups, key=lambda name: groups[name]), max(groups, key=lambda name: groups[name])
    return f"{low} {groups[low]:.4g}, {high} {groups[high]:.4g}"


def _list(names: Iterable[str]) -> str:
    return ", ".join(names) or "none"
