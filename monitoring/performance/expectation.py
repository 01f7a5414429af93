"""What a reference leads one to expect of other rows, and how far such expectations were off on rows held out of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.gate.paired_comparison import compare_pairs
from monitoring.performance.confidence import ConfidenceModel, actual_losses, fit_confidence
from monitoring.performance.error_model import ErrorModel, RowCodes, fit_errors, learn_codes
from monitoring.performance.reference import ReferenceRows
from registry.manifest import ModelManifest

Floats = npt.NDArray[np.float64]

_N_FOLDS = 5


@dataclass(frozen=True)
class Expectation:
    """A model of the losses of rows, fitted on a reference.

    ``residuals`` are, by metric, what each row of the reference lost minus what a model of the other folds in time made
    one expect, of shape (n_reference,).
    """

    codes: RowCodes
    model: ConfidenceModel | ErrorModel
    threshold: float
    residuals: dict[str, Floats]

    def expect(self, features: pd.DataFrame, answers: Floats) -> dict[str, Floats]:
        """Return what each row is expected to lose, by metric: log loss, accuracy and brier, or mae and mse."""
        return _ask(self.model, features, answers, self.threshold)

    def half_width(self, metric: str, n_rows: int, *, confidence: float) -> float:
        """Return half of the interval for the mean of a metric over a window of *n_rows*.

        The reference's blocks of time differ by more than rows drawn one by one would; by that factor the window's
        mean varies more too, beside what the reference itself leaves open and the bias that its folds had.
        """
        from scipy.stats import t

        residual = self.residuals[metric]
        blocks = compare_pairs(residual, confidence=confidence)
        of_row = max(blocks.rows_variance * len(residual), float(residual.var(ddof=1)))
        bias = float(residual.mean())
        spread = math.sqrt(of_row * (1 / n_rows + 1 / len(residual)) + bias**2)
        return float(t.ppf((1 + confidence) / 2, max(blocks.n_blocks - 1, 1))) * spread


def learn_expectation(manifest: ModelManifest, reference: ReferenceRows) -> Expectation:
    """Fit what estimates are made of: once for a version, as its reference never changes.

    Parameters
    ----------
    reference : ReferenceRows
        With at least 300 rows, below which nothing is estimated.
    """
    plan = manifest.plan
    codes = learn_codes(reference.features, numeric=plan.numeric, categorical=plan.categorical)
    n_rows = len(reference.features)
    actual = _actual(manifest, reference)
    residuals = {name: np.zeros(n_rows) for name in actual}
    for fold in np.array_split(np.arange(n_rows), _N_FOLDS):
        others = np.setdiff1d(np.arange(n_rows), fold)
        model = _fit(manifest, codes, reference, others)
        expected = _ask(model, reference.features.iloc[fold], reference.answers[fold], manifest.threshold)
        for name, rows in expected.items():
            residuals[name][fold] = actual[name][fold] - rows
    return Expectation(codes, _fit(manifest, codes, reference, np.arange(n_rows)), manifest.threshold, residuals)


def _fit(
    manifest: ModelManifest, codes: RowCodes, reference: ReferenceRows, rows: npt.NDArray[np.intp]
) -> ConfidenceModel | ErrorModel:
    target, answers = reference.target[rows], reference.answers[rows]
    if manifest.classes is None:
        return fit_errors(codes, reference.features.iloc[rows], answers, target)
    return fit_confidence(target, answers)


def _ask(
    model: ConfidenceModel | ErrorModel, features: pd.DataFrame, answers: Floats, threshold: float
) -> dict[str, Floats]:
    if isinstance(model, ErrorModel):
        return model.expect(features, answers)
    return model.expect(answers, threshold=threshold)


def _actual(manifest: ModelManifest, reference: ReferenceRows) -> dict[str, Floats]:
    if manifest.classes is None:
        errors = np.abs(reference.target.astype(np.float64) - reference.answers)
        return {"mae": errors, "mse": errors**2}
    return actual_losses(reference.target, reference.answers, threshold=manifest.threshold)
