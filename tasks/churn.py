"""Prediction churn: on how many of the same rows two versions answer differently."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from base.errors import EverfitError
from base.references import Part, TrainingData, ValidatedData
from base.settings import Settings
from features.plan import frame_from_table
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import ModelVersion
from serving.scoring.loaded import load_scorer
from serving.scoring.scorer import Scorer
from tasks.joined_views import join_rows, read_joined, views_of_today
from tasks.prepared_rows import load_part

# Values are told apart from here on, relative to their spread: less is the last digits of a sum.
_MOVED = 0.01


def measure_churn(
    older: ModelVersion,
    newer: ModelVersion,
    prepared: dict[str, Any] | None,
    registry: Registry,
    settings: Settings,
    *,
    n_rows: int,
) -> dict[str, Any]:
    """Ask two versions the newest test rows of the newer one, and count the answers that differ.

    Parameters
    ----------
    prepared : dict, optional
        ``data`` and ``validated`` as the newer version's run recorded them.
    n_rows : int
        At most so many rows, the newest.

    Returns
    -------
    dict
        ``n_rows``, ``churn`` (the share of rows whose class differs, or whose value moved by more than 1 % of the
        answers' standard deviation), ``mean_difference`` (of the last class's probability, or of the value: newer
        minus older), ``meaning``; or ``problem``, where the rows are gone or a version cannot answer them.
    """
    if prepared is None:
        return {"problem": f"the run of {newer.model}@{newer.number} has no recorded rows"}
    try:
        data = TrainingData.model_validate(prepared["data"])
        validated = ValidatedData.model_validate(prepared["validated"])
        manifests = [ModelManifest.model_validate(version.manifest) for version in (older, newer)]
        raw = _newest_rows(data, validated, manifests, registry, n_rows)
        answers = [_ask(manifest, raw, data, registry, settings) for manifest in manifests]
    except EverfitError as error:
        return {"problem": str(error)}
    return compare_answers(*answers)


def compare_answers(older: tuple[Scorer, npt.NDArray[Any]], newer: tuple[Scorer, npt.NDArray[Any]]) -> dict[str, Any]:
    """Compare two scorers' answers to the same rows."""
    (one, before), (other, after) = older, newer
    if one.manifest.task != other.manifest.task:
        return {"problem": f"one is {one.manifest.task}, the other {other.manifest.task}"}
    if one.manifest.task == "regression":
        spread = float(np.std(after)) or 1.0
        return {
            "n_rows": len(after),
            "churn": float(np.mean(np.abs(after - before) > _MOVED * spread)),
            "mean_difference": float(np.mean(after - before)),
            "meaning": f"values that moved by more than {_MOVED * spread:.3g}",
        }
    classes = [[answer.prediction for answer in scorer.describe(known)] for scorer, known in (older, newer)]
    return {
        "n_rows": len(after),
        "churn": float(np.mean([was != now for was, now in zip(*classes, strict=True)])),
        "mean_difference": float(np.mean(after[:, -1] - before[:, -1])),
        "meaning": "another class",
    }


def _newest_rows(
    data: TrainingData, validated: ValidatedData, manifests: list[ModelManifest], registry: Registry, n_rows: int
) -> pa.Table:
    columns = {manifest.time for manifest in manifests if manifest.time is not None}
    for manifest in manifests:
        views = (*manifest.plan.views, *read_joined(data))
        columns |= {*manifest.plan.inputs} | {key for view in views for key in view.keys.values()}
    newest = Part(start=max(data.test.start, data.test.stop - n_rows), stop=data.test.stop)
    return load_part(data, validated.good, newest, registry.artifacts, columns=columns)


def _ask(
    manifest: ModelManifest, raw: pa.Table, data: TrainingData, registry: Registry, settings: Settings
) -> tuple[Scorer, npt.NDArray[Any]]:
    scorer = load_scorer(registry.artifacts, manifest, trusted=settings.trusted_types)
    views = views_of_today(manifest.plan.views, read_joined(data))
    rows = join_rows(raw, views, manifest.time, registry.artifacts)
    if missing := [name for name in manifest.plan.inputs if name not in rows.column_names]:
        raise EverfitError(f"the rows have no column {', '.join(map(repr, missing))}, which {manifest.model} needs")
    return scorer, scorer.predict_frame(frame_from_table(rows, manifest.plan.inputs))
