"""The page of a run: what was measured, on which rows, as one self-contained HTML file."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.judged import Evaluation
from base.metrics import LOSS_NAMES
from base.pages import page, section
from base.pipeline import Pipeline
from base.references import TrainingData
from tasks.curve_charts import (
    STYLE,
    draw_calibration,
    draw_dependence,
    draw_importance,
    draw_rank_curves,
    draw_residuals,
)
from tasks.loss_chart import MODELS, draw_losses
from tasks.report_tables import change, fairness_table, figure, metric_table, missing_list, slice_table

_STYLE = """
:root { --challenger: var(--accent); --champion: var(--second); --baseline: var(--third) }
.card.challenger { border-top-color: var(--challenger) } .card.champion { border-top-color: var(--champion) }
.card.baseline { border-top-color: var(--baseline) }
svg .challenger { stroke: var(--challenger) } svg .champion { stroke: var(--champion) }
svg .baseline { stroke: var(--baseline); stroke-dasharray: 5 4 } svg .challenger.line { stroke-width: 2.5 }
"""


def render_report(
    pipeline: Pipeline,
    evaluation: Evaluation,
    data: TrainingData,
    moments: pd.Series[Any],
    losses: Mapping[str, npt.NDArray[np.float64]],
    curves: Mapping[str, Any],
) -> str:
    """Write the evaluation as a page: metrics side by side, loss over time, slices, and what was left out."""
    loss = LOSS_NAMES[pipeline.spec.task]
    found = {"challenger": evaluation.metrics, "champion": evaluation.champion, "baseline": evaluation.baseline}
    present = {name: metrics for name in MODELS if (metrics := found[name]) is not None}
    declared = [part for part in evaluation.slices if not part.found]
    found_slices = [part for part in evaluation.slices if part.found]
    parts = [
        f"<h1>{escape(pipeline.name)}</h1>",
        f"<p class='lead soft'>{escape(pipeline.spec.description) or 'Evaluation of one training'}</p>",
        f"<div class='cards'>{''.join(_card(name, present, loss, evaluation) for name in present)}</div>",
        section("What was judged", _facts(pipeline, evaluation, data)),
        section("Metrics on the same unseen rows", metric_table(present, evaluation)),
        section(f"{loss} over time", draw_losses(moments, losses, loss=loss)),
        _curves(curves),
        section(f"Slices, by {loss}", slice_table(declared, present)) if declared else "",
        section(f"The worst slices that were found, by {loss}", _found(slice_table(found_slices, present)))
        if found_slices
        else "",
        section("Fairness", _fairness(evaluation)) if evaluation.fairness else "",
        section("What the model looks at", _importance(evaluation, loss)) if evaluation.importance else "",
        section("How its answers follow a feature", _dependence(curves)) if curves.get("partial_dependence") else "",
        section("What could not be measured", missing_list(evaluation.missing)) if evaluation.missing else "",
        section("What the estimator sees", _columns(data)),
    ]
    return page(f"Evaluation of {pipeline.name}", "".join(parts), style=_STYLE + STYLE)


def _curves(curves: Mapping[str, Any]) -> str:
    if "residuals_over_prediction" in curves:
        charts, shape = draw_residuals(curves), "charts two"
    else:
        charts = (draw_rank_curves(curves) if "roc" in curves else "") + draw_calibration(curves["calibration"])
        shape = "charts"
    title = "Residuals" if shape == "charts two" else "Curves"
    return section(title, f"<div class='{shape}'>{charts}</div>")


def _found(content: str) -> str:
    about = "Conditions were looked for in half of the rows, in alternate stretches; the figures are of the other half."
    return f"{content}<p class='soft'>{about}</p>"


def _fairness(evaluation: Evaluation) -> str:
    about = "A gap is the largest difference between two groups of at least 30 rows."
    return f"{fairness_table(evaluation)}<p class='soft'>{about}</p>"


def _importance(evaluation: Evaluation, loss: str) -> str:
    about = f"By how much {loss} rises when a feature's values are dealt out anew among the rows."
    return f"{draw_importance(evaluation.importance)}<p class='soft'>{about}</p>"


def _dependence(curves: Mapping[str, Any]) -> str:
    charts = "".join(draw_dependence(name, curve) for name, curve in curves["partial_dependence"].items())
    about = "The mean answer when all rows have one value of the feature, and all else as it is."
    return f"<div class='charts'>{charts}</div><p class='soft'>{about}</p>"


def _card(name: str, present: Mapping[str, Mapping[str, float]], loss: str, evaluation: Evaluation) -> str:
    title = name
    if name == "champion" and evaluation.champion_version is not None:
        title = f"champion, version {evaluation.champion_version}"
    notes = {"baseline": "without a model", "champion": "serves now"}
    rival = "champion" if "champion" in present else "baseline"
    note = notes.get(name) or f"{change(present['challenger'][loss], present[rival][loss])} against the {rival}"
    return f"<div class='card {name}'>{title}<b>{figure(present[name][loss])}</b><span class='soft'>{note}</span></div>"


def _facts(pipeline: Pipeline, evaluation: Evaluation, data: TrainingData) -> str:
    period = f"{data.first:%Y-%m-%d} to {data.watermark:%Y-%m-%d}" if data.first and data.watermark else "all rows"
    facts = {
        "target": f"{pipeline.spec.target_column} ({pipeline.spec.task})",
        "data": period,
        "fitted on": f"{data.validation.stop:,} rows",
        "judged on": f"the newest {evaluation.n_rows:,} rows, {_seen(evaluation)}",
    }
    return f"<dl>{''.join(f'<dt>{name}</dt><dd>{escape(fact)}</dd>' for name, fact in facts.items())}</dl>"


def _seen(evaluation: Evaluation) -> str:
    n_seen = evaluation.n_seen_by_champion
    return "which no model had seen" if not n_seen else f"of which the champion has learnt from {n_seen:,}"


def _columns(data: TrainingData) -> str:
    kinds = {"quantities": data.numeric, "categories": data.categorical}
    parts = [f"<dt>{kind}</dt><dd>{escape(', '.join(names) or 'none')}</dd>" for kind, names in kinds.items()]
    parts += [
        f"<dt>left out</dt><dd>{escape(name)} <span class='soft'>{escape(why)}</span></dd>"
        for name, why in data.left_out.items()
    ]
    return f"<dl>{''.join(parts)}</dl>"
