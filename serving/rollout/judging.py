"""Judge served rows by all versions of a rollout: what each would have lost on them, whoever answered."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.class_codes import encode_labels
from base.metrics import LOSS_NAMES, point_answers, row_losses
from registry.manifest import ModelManifest
from serving.scoring.scorer import Scorer

Floats = npt.NDArray[np.float64]

# A value's error of so many of the champion's usual errors counts as a whole loss; more is no worse to the bettor.
_USUAL_ERRORS = 4.0

_log = logging.getLogger(__name__)


def error_scale(manifest: ModelManifest) -> float:
    """Return the error that counts as a whole loss: of a class 1, of a value four times the usual error."""
    usual = manifest.metrics.get(LOSS_NAMES[manifest.task], math.nan)
    return 1.0 if manifest.classes is not None or not usual > 0 or math.isinf(usual) else _USUAL_ERRORS * usual


def judge_rows(rows: pd.DataFrame, scorers: Mapping[int, Scorer | None], *, scale: float) -> dict[str, Any]:
    """Judge labelled rows by every version.

    Parameters
    ----------
    rows : DataFrame
        As :func:`serving.log.traffic.read_traffic` gives them, with ``value``; in the order of the test.
    scorers : mapping of int to Scorer or None
        All versions of the rollout, None for one that is not loaded.
    scale : float
        As :func:`error_scale` gives it.

    Returns
    -------
    dict
        A document: ``ids`` and ``versions`` (who answered) of the rows; by version number ``losses`` (log loss, or
        absolute error) and ``scores`` (in [0, 1]: half the Brier score, or the share of *scale*), None for rows that a
        version cannot answer; and ``rewards`` of the version that answered: 1 for the right class, or minus the error.
    """
    losses: dict[str, list[float | None]] = {}
    scores: dict[str, list[float | None]] = {}
    points: dict[int, Floats] = {}
    versions = rows["version"].astype(int).tolist()
    for number, scorer in scorers.items():
        answers = None if scorer is None else answer_rows(rows, scorer)
        if scorer is None or answers is None:
            losses[str(number)], scores[str(number)] = [None] * len(rows), [None] * len(rows)
            continue
        manifest = scorer.manifest
        target = encode_labels(rows["value"], manifest.classes)
        losses[str(number)] = row_losses(manifest.task, target, answers).tolist()
        scores[str(number)] = _bounded(target, answers, scale).tolist()
        points[number] = _rewards(manifest, target, answers)
    rewards = [float(points[number][place]) if number in points else None for place, number in enumerate(versions)]
    return {"ids": rows["id"].tolist(), "versions": versions, "losses": losses, "scores": scores, "rewards": rewards}


def compare_rows(rows: pd.DataFrame, champion: Scorer, challenger: Scorer, *, scale: float) -> dict[str, Any]:
    """Compare two versions' answers on rows of which nobody knows the truth.

    Returns
    -------
    dict
        A document: ``differs`` (1 where the class is another one, or the value is off by a quarter of *scale*), and
        ``shifts`` of the challenger's answers, in [-1, 1]: of the second class's probability, of the likeliest one's
        where there are more, or of the value as a share of *scale*. Empty where one of the two cannot answer.
    """
    old, new = answer_rows(rows, champion), answer_rows(rows, challenger)
    if old is None or new is None or old.shape != new.shape or not len(rows):
        return {"differs": [], "shifts": []}
    if champion.manifest.classes is None:
        shifts = np.clip((new - old) / scale, -1, 1)
        return {"differs": (np.abs(shifts) > 0.25).astype(int).tolist(), "shifts": shifts.tolist()}
    called = [
        point_answers("classification", answers, threshold=scorer.manifest.threshold)
        for answers, scorer in ((old, champion), (new, challenger))
    ]
    shifts = new[:, 1] - old[:, 1] if old.shape[1] == 2 else new.max(axis=1) - old.max(axis=1)
    return {"differs": (called[0] != called[1]).astype(int).tolist(), "shifts": shifts.tolist()}


def answer_rows(rows: pd.DataFrame, scorer: Scorer) -> Floats | None:
    """Let a version answer rows as they stand in the log, or None if it cannot."""
    try:
        return scorer.predict_frame(_inputs(rows, scorer.manifest))
    except Exception as error:
        _log.warning("model %r cannot answer logged rows: %s", scorer.manifest.model, error)
        return None


def keep_judgeable(rows: pd.DataFrame, manifest: ModelManifest) -> pd.DataFrame:
    """Leave out rows whose label is no number, where the target is one."""
    if manifest.classes is not None:
        return rows
    numbers = pd.to_numeric(rows["value"], errors="coerce").to_numpy(dtype=np.float64)
    found: pd.DataFrame = rows.loc[np.isfinite(numbers)]
    return found


def _bounded(target: npt.NDArray[Any], answers: Floats, scale: float) -> Floats:
    if answers.ndim == 1:
        shares: Floats = np.clip(np.abs(answers - target) / scale, 0.0, 1.0)
        return shares
    truth = target[:, None] == np.arange(answers.shape[1])
    # A class that the model does not know is in no column: what it gave the others is all wrong.
    unknown = (target < 0).astype(np.float64)
    scores: Floats = (((answers - truth) ** 2).sum(axis=1) + unknown) / 2
    return scores


def _rewards(manifest: ModelManifest, target: npt.NDArray[Any], answers: Floats) -> Floats:
    if manifest.classes is None:
        rewards: Floats = -np.abs(answers - target)
        return rewards
    called = point_answers(manifest.task, answers, threshold=manifest.threshold)
    right: Floats = (called == target).astype(np.float64)
    return right


def _inputs(rows: pd.DataFrame, manifest: ModelManifest) -> pd.DataFrame:
    columns: dict[str, Sequence[Any] | pd.Series[Any]] = {}
    for name in manifest.plan.inputs:
        # A name that the log has for itself is shown with a prefix.
        shown = f"input.{name}" if f"input.{name}" in rows.columns else name
        columns[name] = (
            rows[shown].reset_index(drop=True) if shown in rows.columns else pd.Series([None] * len(rows), dtype=object)
        )
    return pd.DataFrame(columns)
