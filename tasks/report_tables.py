"""Tables of a run's page: metrics with intervals, slices, fairness, and what could not be measured."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

from base.judged import Evaluation, FairnessMetrics, SliceMetrics
from base.pages import table

Present = Mapping[str, Mapping[str, float]]

_SHOWN_ENDS = 3


def metric_table(present: Present, evaluation: Evaluation) -> str:
    """Set the metrics of challenger, champion and baseline side by side, with intervals where there are any."""
    head = ["metric", *present]
    if evaluation.differences:
        head.insert(3, "difference")
    rows = []
    for name in present["challenger"]:
        figures = {model: metrics.get(name) for model, metrics in present.items()}
        best = _best(figures, evaluation.lower_is_better.get(name))
        cells = {
            model: f"<b>{figure(value)}</b>" if value is not None and value == best else figure(value)
            for model, value in figures.items()
        }
        cells["challenger"] += interval(evaluation.intervals.get(name))
        row = [escape(name), *cells.values()]
        if evaluation.differences:
            row.insert(3, _difference(name, evaluation))
        rows.append(row)
    return table(head, rows) + _about_intervals(evaluation)


def slice_table(slices: Sequence[SliceMetrics], present: Mapping[str, object]) -> str:
    """Show the mean loss of each model in each slice, and how far the challenger is from its rival."""
    rival = "champion" if "champion" in present else "baseline"
    rows = []
    for part in slices:
        own = {name: part.metrics.get(f"{name}_loss", math.nan) for name in present}
        figures = [figure(value) for value in own.values()]
        rows.append([escape(part.name), f"{part.n_rows:,}", *figures, change(own["challenger"], own[rival])])
    return table(["slice", "rows", *present, f"against the {rival}"], rows)


def fairness_table(evaluation: Evaluation) -> str:
    """Show each gap, the champion's beside it, and the groups that it lies between."""
    rows = []
    for found in evaluation.fairness:
        cells = [escape(found.column), escape(found.metric), _groups(found) or "–", figure(found.value, 3)]
        rows.append([*cells, figure(found.champion_value, 3)] if evaluation.champion is not None else cells)
    head = [
        "column",
        "metric",
        "groups (rows)",
        "gap",
        *(["champion's gap"] if evaluation.champion is not None else []),
    ]
    return table(head, rows, n_texts=3)


def _groups(found: FairnessMetrics) -> str:
    """Write the groups from the lowest to the highest; of many, the ends, between which the gap lies."""
    ordered = sorted(found.groups.items(), key=lambda item: item[1])
    written = [
        f"{escape(name)} {figure(value, 3)} <span class='soft'>({found.n_rows.get(name, 0):,})</span>"
        for name, value in ordered
    ]
    if len(written) <= 2 * _SHOWN_ENDS + 1:
        return ", ".join(written)
    between = f"<span class='soft'>… {len(written) - 2 * _SHOWN_ENDS} more …</span>"
    return ", ".join([*written[:_SHOWN_ENDS], between, *written[-_SHOWN_ENDS:]])


def missing_list(missing: Mapping[str, str]) -> str:
    """List what was not measured, with the reasons."""
    parts = [f"<dt>{escape(name)}</dt><dd>{escape(reason)}</dd>" for name, reason in missing.items()]
    return f"<dl>{''.join(parts)}</dl>"


def figure(value: float | None, digits: int = 4) -> str:
    """Write a figure, or a dash for what is not known."""
    if value is None or math.isnan(value):
        return "–"
    return f"{value:,.{digits}f}".replace("-", "−")


def interval(bounds: tuple[float, ...] | None) -> str:
    """Write an interval below its figure."""
    if bounds is None:
        return ""
    return f"<br><small class='soft'>{figure(bounds[0])} … {figure(bounds[1])}</small>"


def change(own: float, other: float) -> str:
    """Say how much higher or lower a loss is; lower is better."""
    if not math.isfinite(own) or not math.isfinite(other) or other == 0:
        return "–"
    relative = own / other - 1
    kind = "" if abs(relative) < 0.0005 else "good" if relative < 0 else "bad"
    return f"<span class='{kind}'>{relative:+.1%}</span>".replace("-", "−")


def _best(figures: Mapping[str, float | None], lower_is_better: bool | None) -> float | None:
    known = [value for value in figures.values() if value is not None and not math.isnan(value)]
    if lower_is_better is None or not known:
        return None
    return min(known) if lower_is_better else max(known)


def _difference(name: str, evaluation: Evaluation) -> str:
    found = evaluation.differences.get(name)
    if found is None:
        return "–"
    value, low, high = found
    lower = evaluation.lower_is_better.get(name)
    is_clear = (low > 0 or high < 0) and lower is not None
    kind = "" if not is_clear else "good" if (value < 0) == lower else "bad"
    text = f"{'+' if value > 0 else ''}{figure(value)}"
    return f"<span class='{kind}'>{text}</span>{interval((low, high))}"


def _about_intervals(evaluation: Evaluation) -> str:
    if not evaluation.intervals:
        return ""
    return (
        f"<p class='soft'>Intervals of {evaluation.confidence:.0%} by resampling {evaluation.n_blocks} blocks of "
        "consecutive rows; a difference in colour is one whose interval does not contain 0.</p>"
    )
