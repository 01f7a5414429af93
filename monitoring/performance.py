"""Performance on labelled rows: what the served predictions were worth once the truth was known."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict

from base.class_codes import encode_labels
from base.metrics import LOSS_NAMES, measure
from registry.manifest import ModelManifest

__all__ = ["PerformanceReport", "encode_labels", "measure_performance", "read_answers"]


class PerformanceReport(BaseModel):
    """The metrics of the labelled rows of a window, beside the loss that was expected at promotion.

    ``n_matured`` rows had had time to get their label; ``missing`` says where far fewer of them got one than before.
    """

    model_config = ConfigDict(frozen=True)

    n_labelled: int
    metrics: dict[str, float]
    loss: str
    expected: float
    n_matured: int = 0
    missing: str | None = None

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


def measure_performance(matured: pd.DataFrame, manifest: ModelManifest) -> PerformanceReport:
    """Measure served predictions against their labels.

    Parameters
    ----------
    matured : DataFrame
        As :func:`serving.labels.matured.matured_rows` gives them: served rows with ``prediction`` (and
        ``probabilities`` with more than two classes), ``is_labelled`` and ``value``. Rows without a label are left
        out, and those that a version with other answers (another number of classes) has served.
    manifest : ModelManifest
        The champion: its classes give the labels their codes, its metrics say what was expected.
    """
    loss = LOSS_NAMES[manifest.task]
    expected = manifest.metrics[loss]
    labelled = _comparable(matured[matured["is_labelled"]], manifest.classes)
    if labelled.empty:
        return PerformanceReport(n_labelled=0, metrics={}, loss=loss, expected=expected, n_matured=len(matured))
    target = encode_labels(labelled["value"], manifest.classes)
    answers = read_answers(labelled, manifest.classes)
    metrics = measure(manifest.task, target, answers, threshold=manifest.threshold)
    return PerformanceReport(
        n_labelled=len(labelled), metrics=metrics, loss=loss, expected=expected, n_matured=len(matured)
    )


def _comparable(labelled: pd.DataFrame, classes: tuple[Any, ...] | None) -> pd.DataFrame:
    """Leave out rows whose answer or label is of another form than the model's: an earlier version served them."""
    expected = 0 if classes is None or len(classes) == 2 else len(classes)
    found = pd.Series(0, index=labelled.index)
    if "probabilities" in labelled:
        found = labelled["probabilities"].map(lambda row: len(row) if isinstance(row, list | np.ndarray) else 0)
    is_comparable = found == expected
    if classes is None:
        is_comparable &= pd.to_numeric(labelled["value"], errors="coerce").notna()
    return labelled[is_comparable]


def read_answers(rows: pd.DataFrame, classes: tuple[Any, ...] | None) -> npt.NDArray[np.float64]:
    """Return served predictions as :func:`base.metrics.measure` takes them."""
    if classes is not None and len(classes) != 2:
        return np.vstack(rows["probabilities"].to_list()).astype(np.float64)
    values = rows["prediction"].to_numpy(dtype=np.float64)
    return values if classes is None else np.column_stack([1 - values, values])
