"""The probe: a cheap model that shows what a fresh one would lose now, fitted once for each set of rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.fingerprint import digest_document
from base.metrics import Task
from monitoring.performance.error_model import RowCodes, learn_codes

Floats = npt.NDArray[np.float64]

SHARE, N_TREES = 0.2, 30
"""A fifth of the rows and 30 trees: some 10 to 18 % of what a training of 100 trees takes."""

_FEWEST_ROWS = 50
_CODE = 1


def probe_key(rows_digest: str, *, task: Task, seed: int) -> str:
    """Name a probe by all that it depends on; under this key a fitted one may be kept.

    Parameters
    ----------
    rows_digest : str
        Of the labelled rows that it learns from.

    Examples
    --------
    >>> probe_key("abc", task="regression", seed=0) == probe_key("abc", task="regression", seed=0)
    True
    """
    told = {"rows": rows_digest, "task": task, "seed": seed, "share": SHARE, "trees": N_TREES, "code": _CODE}
    return digest_document(told)


class Probe:
    """A fitted probe, and how rows become numbers for it."""

    def __init__(self, codes: RowCodes, model: Any, n_classes: int | None) -> None:
        self._codes = codes
        self._model = model
        self._n_classes = n_classes

    def predict(self, features: pd.DataFrame) -> Floats:
        """Return probabilities of all classes, of shape (n_rows, n_classes), or values, of shape (n_rows,)."""
        rows = self._codes.write(features, np.zeros(len(features)))
        if self._n_classes is None:
            values: Floats = self._model.predict(rows)
            return values
        answers = np.zeros((len(rows), self._n_classes))
        answers[:, self._model.classes_.astype(np.intp)] = self._model.predict_proba(rows)
        return answers


def fit_probe(
    features: pd.DataFrame,
    target: npt.NDArray[Any],
    *,
    n_classes: int | None,
    numeric: Sequence[str],
    categorical: Sequence[str],
    seed: int,
) -> Probe:
    """Fit a probe on a fifth of the rows, drawn by *seed*; the same rows give the same probe.

    Parameters
    ----------
    features : DataFrame of shape (n_rows, n_features)
        As the estimator sees them, of rows whose labels have matured.
    target : array of shape (n_rows,)
        Class codes (rows of a class that the model does not know, -1, are left out), or values.

    Raises
    ------
    ArgumentError
        If there are fewer than 50 rows to draw.
    """
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    from base.errors import ArgumentError

    usable = np.arange(len(target)) if n_classes is None else np.flatnonzero(target >= 0)
    n_drawn = max(int(len(usable) * SHARE), min(_FEWEST_ROWS, len(usable)))
    if n_drawn < _FEWEST_ROWS:
        raise ArgumentError(f"a probe was given {len(usable):,} labelled rows, expected at least {_FEWEST_ROWS:,}")
    drawn = np.sort(np.random.default_rng(seed).choice(usable, n_drawn, replace=False))
    learnt = features.iloc[drawn]
    codes = learn_codes(learnt, numeric=numeric, categorical=categorical)
    rows = codes.write(learnt, np.zeros(n_drawn))
    rows = np.where(np.isnan(rows).all(axis=0), 0.0, rows)
    kind = HistGradientBoostingRegressor if n_classes is None else HistGradientBoostingClassifier
    model = kind(max_iter=N_TREES, early_stopping=False, random_state=0).fit(rows, target[drawn])
    return Probe(codes, model, n_classes)


def compare_probes(twin_losses: Floats, probe_losses: Floats) -> tuple[float, float, float]:
    """Return both mean losses on a batch's rows, and the standard error of the mean of their difference.

    Examples
    --------
    >>> compare_probes(np.array([1.0, 0.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0]))
    (0.75, 0.5, 0.25)
    """
    gap = twin_losses - probe_losses
    noise = float(gap.std(ddof=1) / np.sqrt(len(gap))) if len(gap) > 1 else 0.0
    return float(twin_losses.mean()), float(probe_losses.mean()), noise
