"""The page of a run: what was measured, on which rows, as one self-contained HTML file."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.judged import Evaluation, SliceMetrics
from base.metrics import LOSS_NAMES
from base.pages import page, section, table
from base.pipeline import Pipeline
from base.references import TrainingData
from tasks.loss_chart import MODELS, draw_losses

_STYLE = """
:root { --challenger: var(--accent); --champion: var(--second); --baseline: var(--third) }
.card.challenger { border-top-color: var(--challenger) } .card.champion { border-top-color: var(--champion) }
.card.baseline { border-top-color: var(--baseline) }
svg .challenger { stroke: var(--challenger) } svg .champion { stroke: var(--champion) }
svg .baseline { stroke: var(--baseline); stroke-dasharray: 5 4 } svg .challenger.line { stroke-width: 2.5 }
"""
_LESS_IS_BETTER = {"log_loss", "brier", "mae", "rmse"}
_NEITHER_IS_BETTER = {"positive_share", "mean_error"}


def render_report(
    pipeline: Pipeline,
    evaluation: Evaluation,
    data: TrainingData,
    moments: pd.Series[Any],
    losses: Mapping[str, npt.NDArray[np.float64]],
) -> str:
    """Write the evaluation as a page: metrics side by side, loss over time, slices, and what was left out."""
    loss = LOSS_NAMES[pipeline.spec.task]
    found = {"challenger": evaluation.metrics, "champion": evaluation.champion, "baseline": evaluation.baseline}
    present = {name: metrics for name in MODELS if (metrics := found[name]) is not None}
    parts = [
        f"<h1>{escape(pipeline.name)}</h1>",
        f"<p class='lead soft'>{escape(pipeline.spec.description) or 'Evaluation of one training'}</p>",
        f"<div class='cards'>{''.join(_card(name, present, loss, evaluation) for name in present)}</div>",
        section("What was judged", _facts(pipeline, evaluation, data)),
        section("Metrics on the same unseen rows", _metrics(present)),
        section(f"{loss} over time", draw_losses(moments, losses, loss=loss)),
        section(f"Slices, by {loss}", _slices(evaluation.slices, present)) if evaluation.slices else "",
        section("What the estimator sees", _columns(data)),
    ]
    return page(f"Evaluation of {pipeline.name}", "".join(parts), style=_STYLE)


def _card(name: str, present: Mapping[str, Mapping[str, float]], loss: str, evaluation: Evaluation) -> str:
    title = name
    if name == "champion" and evaluation.champion_version is not None:
        title = f"champion, version {evaluation.champion_version}"
    notes = {"baseline": "without a model", "champion": "serves now"}
    rival = "champion" if "champion" in present else "baseline"
    note = notes.get(name) or f"{_change(present['challenger'][loss], present[rival][loss])} against the {rival}"
    return (
        f"<div class='card {name}'>{title}<b>{_figure(present[name][loss])}</b><span class='soft'>{note}</span></div>"
    )


def _facts(pipeline: Pipeline, evaluation: Evaluation, data: TrainingData) -> str:
    period = f"{data.first:%Y-%m-%d} to {data.watermark:%Y-%m-%d}" if data.first and data.watermark else "all rows"
    facts = {
        "target": f"{pipeline.spec.target_column} ({pipeline.spec.task})",
        "data": period,
        "fitted on": f"{data.validation.stop:,} rows",
        "judged on": f"the newest {evaluation.n_rows:,} rows, which no model had seen",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(fact)}</dd>' for name, fact in facts.items())}</dl>"


def _metrics(present: Mapping[str, Mapping[str, float]]) -> str:
    rows = []
    for name in present["challenger"]:
        figures = {model: metrics.get(name) for model, metrics in present.items()}
        best = _best(name, figures)
        cells = [f"<b>{_figure(value)}</b>" if value == best else _figure(value) for value in figures.values()]
        rows.append([escape(name), *cells])
    return table(["metric", *present], rows)


def _best(metric: str, figures: Mapping[str, float | None]) -> float | None:
    known = [value for value in figures.values() if value is not None and not math.isnan(value)]
    if metric in _NEITHER_IS_BETTER or not known:
        return None
    return min(known) if metric in _LESS_IS_BETTER else max(known)


def _slices(slices: Sequence[SliceMetrics], present: Mapping[str, object]) -> str:
    rival = "champion" if "champion" in present else "baseline"
    rows = []
    for part in slices:
        own = {name: part.metrics.get(f"{name}_loss", math.nan) for name in present}
        change = _change(own["challenger"], own[rival])
        figures = [_figure(value) for value in own.values()]
        rows.append([escape(f"{part.column} = {part.value}"), f"{part.n_rows:,}", *figures, change])
    return table(["slice", "rows", *present, f"against the {rival}"], rows)


def _columns(data: TrainingData) -> str:
    kinds = {"quantities": data.numeric, "categories": data.categorical}
    parts = [f"<dt>{kind}</dt><dd>{escape(', '.join(names) or 'none')}</dd>" for kind, names in kinds.items()]
    parts += [
        f"<dt>left out</dt><dd>{escape(name)} <span class='soft'>{escape(why)}</span></dd>"
        for name, why in data.left_out.items()
    ]
    return f"<dl>{''.join(parts)}</dl>"


def _change(own: float, other: float) -> str:
    """Say how much higher or lower a loss is; lower is better."""
    if not math.isfinite(own) or not math.isfinite(other) or other == 0:
        return "–"
    change = own / other - 1
    kind = "" if abs(change) < 0.0005 else "good" if change < 0 else "bad"
    return f"<span class='{kind}'>{change:+.1%}</span>".replace("-", "−")


def _figure(value: float | None) -> str:
    return "–" if value is None or math.isnan(value) else f"{value:,.4f}"
