"""Performance on matured labels: the gate's metrics and slices, beside what the reference lost on the same footing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from base.bootstrap import cut_blocks, draw_weights, interval_of
from base.class_codes import encode_labels
from base.gate.paired_comparison import adjust_for_many
from base.metrics import LOSS_NAMES, measure, row_losses
from base.references import Metric
from base.resampled_metrics import resample_metrics, within_range
from base.row_groups import FEWEST_ROWS, OTHERS, group_rows
from features.columns import as_categories
from monitoring.performance.comparison import compare_losses
from monitoring.performance.reference import ReferenceRows, is_answer_of, read_answers
from registry.manifest import ModelManifest
from serving.log.frames import shown_name

Floats = npt.NDArray[np.float64]

# The same rows give the same interval, whenever they are looked at.
_SEED = 20130101
_N_DRAWS = 500


class SlicePerformance(BaseModel):
    """The mean loss of a slice's labelled rows, and of the same slice of the reference where it has enough rows.

    ``p_rise`` is how likely a rise as large is by chance, adjusted for the number of slices (Holm); 1 where nothing
    can be said.
    """

    model_config = ConfigDict(frozen=True)

    column: str
    value: str
    n_rows: int
    loss: Metric
    n_reference: int = 0
    expected: Metric = math.nan
    p_rise: float = 1.0

    @property
    def name(self) -> str:
        """The slice in words, as the gate calls it."""
        return f"{self.column} = {self.value}"


class PerformanceReport(BaseModel):
    """The metrics of the labelled rows of a window, beside the loss that was expected at promotion.

    ``n_matured`` rows had had time to get their label; ``missing`` says where far fewer of them got one than before.
    ``intervals`` are bounds of the metrics by a block bootstrap in time. ``difference`` is the loss minus the
    reference's, with bounds and the chance of a rise as large; ``unmeasured`` names slices that were asked for and
    could not be measured, with the reason.
    """

    model_config = ConfigDict(frozen=True)

    n_labelled: int
    metrics: dict[str, float]
    loss: str
    expected: float
    n_matured: int = 0
    missing: str | None = None
    intervals: dict[str, tuple[Metric, Metric]] = {}
    difference: tuple[Metric, Metric, Metric] | None = None
    p_rise: float | None = None
    slices: tuple[SlicePerformance, ...] = ()
    unmeasured: dict[str, str] = {}
    confidence: float = 0.95

    @property
    def increase(self) -> float | None:
        """How much higher the loss is than expected, relative to it; None where one of the two is unknown.

        Above a loss of zero, any loss is infinitely higher.
        """
        found = self.metrics.get(self.loss, math.nan)
        if math.isnan(found) or math.isnan(self.expected):
            return None
        if self.expected <= 0:
            return math.inf if found > 0 else 0.0
        return found / self.expected - 1


def measure_performance(
    matured: pd.DataFrame,
    manifest: ModelManifest,
    *,
    reference: ReferenceRows | None = None,
    slices: Sequence[str] = (),
    draws: int = _N_DRAWS,
    confidence: float = 0.95,
) -> PerformanceReport:
    """Measure served predictions against their labels.

    Parameters
    ----------
    matured : DataFrame
        As :func:`serving.labels.matured.matured_rows` gives them: served rows in time order with ``prediction`` (and
        ``probabilities`` with more than two classes), ``is_labelled`` and ``value``. Rows without a label are left
        out, and those that a version with other answers (another number of classes) has served.
    manifest : ModelManifest
        The champion: its classes give the labels their codes, its metrics say what was expected.
    reference : ReferenceRows, optional
        The champion's, for the difference in loss and what each slice was expected to lose.
    slices : sequence of str
        ``evaluate.slices``: inputs whose values cut the rows, in the reference's groups where it has the column.
    draws : int, default=500
        Resamples for the intervals; 0: none.
    """
    loss = LOSS_NAMES[manifest.task]
    expected = manifest.metrics[loss]
    labelled = matured[matured["is_labelled"]]
    labelled = labelled[is_comparable(labelled, manifest.classes)]
    if labelled.empty:
        return PerformanceReport(n_labelled=0, metrics={}, loss=loss, expected=expected, n_matured=len(matured))
    target = encode_labels(labelled["value"], manifest.classes)
    answers = read_answers(labelled, manifest.classes)
    losses = row_losses(manifest.task, target, answers)
    unmeasured: dict[str, str] = {}
    report = PerformanceReport(
        n_labelled=len(labelled),
        metrics=measure(manifest.task, target, answers, threshold=manifest.threshold),
        loss=loss,
        expected=expected,
        n_matured=len(matured),
        intervals=_intervals(manifest, target, answers, draws, confidence),
        slices=_measure_slices(labelled, losses, manifest, reference, slices, unmeasured),
        unmeasured=unmeasured,
        confidence=confidence,
    )
    if reference is None:
        return report
    found = compare_losses(losses, reference.losses, confidence=confidence)
    if not math.isfinite(found.low):
        return report
    bounds = (found.difference, found.low, found.high)
    return report.model_copy(update={"difference": bounds, "p_rise": found.p_rise})


def is_comparable(labelled: pd.DataFrame, classes: tuple[Any, ...] | None) -> pd.Series[bool]:
    """Tell which rows have an answer and a label of the model's form: an earlier version may have served the others."""
    found = is_answer_of(labelled, classes)
    if classes is None:
        found &= pd.to_numeric(labelled["value"], errors="coerce").notna()
    return found


def _intervals(
    manifest: ModelManifest, target: npt.NDArray[Any], answers: Floats, draws: int, confidence: float
) -> dict[str, tuple[float, float]]:
    try:
        blocks = cut_blocks(len(target))
    except ValueError:
        return {}
    if not draws:
        return {}
    weights = draw_weights(blocks, draws, seed=_SEED)
    values = resample_metrics(manifest.task, target, answers, blocks, weights, threshold=manifest.threshold)
    whole = measure(manifest.task, target, answers, threshold=manifest.threshold)
    found = {
        name: interval_of(each, whole[name], n_blocks=blocks.n_blocks, confidence=confidence)
        for name, each in values.items()
        if name in whole
    }
    return {name: within_range(name, bounds) for name, bounds in found.items() if bounds is not None}


def _measure_slices(
    labelled: pd.DataFrame,
    losses: Floats,
    manifest: ModelManifest,
    reference: ReferenceRows | None,
    columns: Sequence[str],
    unmeasured: dict[str, str],
) -> tuple[SlicePerformance, ...]:
    found, chances = [], []
    for column in columns:
        shown = shown_name(column)
        rule = manifest.contract.columns.get(column)
        if rule is not None and rule.personal is not None:
            unmeasured[column] = "it is marked personal, and its values appear nowhere"
            continue
        if column not in manifest.plan.inputs or shown not in labelled:
            unmeasured[column] = "it is not among the inputs that the served rows had"
            continue
        # A ranked category is a rank among the features, and its name among the served rows.
        is_shared = reference is not None and column in manifest.plan.features and column not in manifest.plan.ordinal
        like = reference.features[column] if reference is not None and is_shared else None
        is_category = column in manifest.plan.categorical
        groups = group_rows(as_categories(labelled[shown]) if is_category else labelled[shown], like=like)
        frequent = {name: rows for name, rows in groups.items() if rows.sum() >= FEWEST_ROWS and name != OTHERS}
        if not frequent:
            unmeasured[column] = f"no value has {FEWEST_ROWS} of the {len(labelled):,} labelled rows"
        before = {} if like is None else group_rows(like)
        for name, rows in frequent.items():
            own = np.zeros(0) if reference is None or name not in before else reference.losses[before[name]]
            is_known = len(own) >= FEWEST_ROWS
            chances.append(compare_losses(losses[rows], own, confidence=0.95).p_rise if is_known else 1.0)
            found.append(
                SlicePerformance(
                    column=column,
                    value=name,
                    n_rows=int(rows.sum()),
                    loss=float(losses[rows].mean()),
                    n_reference=len(own),
                    expected=float(own.mean()) if is_known else math.nan,
                )
            )
    adjusted = adjust_for_many(chances, correction="holm")
    return tuple(one.model_copy(update={"p_rise": p}) for one, p in zip(found, adjusted, strict=True))
