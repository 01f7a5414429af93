"""The reference: a sample of the rows on which the model was judged, as monitoring compares with it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.artifacts import ArtifactStore
from base.metrics import row_losses
from features.plan import restore_missing
from registry.manifest import ModelManifest
from serving.loading.stored_rows import PREDICTION, probability_column

Floats = npt.NDArray[np.float64]

_TARGET = "__target__"


@dataclass(frozen=True)
class ReferenceRows:
    """Judged rows in time order.

    Attributes
    ----------
    features : DataFrame of shape (n_rows, n_features)
        As the estimator sees them.
    target : array of shape (n_rows,)
        Class codes (-1: a class that the model was never shown), or values.
    answers : array of shape (n_rows, n_classes) or (n_rows,)
        Of the judged model, which has learnt from none of these rows.
    losses : array of shape (n_rows,)
        See :func:`base.metrics.row_losses`.
    """

    features: pd.DataFrame
    target: npt.NDArray[Any]
    answers: Floats
    losses: Floats


def read_reference(manifest: ModelManifest, artifacts: ArtifactStore) -> ReferenceRows | None:
    """Read a version's reference; None where it does not tell what each row was and what was answered.

    Versions with more than two classes tell it only if they were packaged with the probability of each.

    Raises
    ------
    ArtifactMissing, ArtifactCorrupt
    """
    import pyarrow.parquet as pq

    stored: pd.DataFrame = pq.read_table(artifacts.local_path(manifest.reference)).to_pandas()
    return take_reference(stored, manifest)


def take_reference(stored: pd.DataFrame, manifest: ModelManifest) -> ReferenceRows | None:
    """Make a reference of the stored rows, as :func:`read_reference` does."""
    plan = manifest.plan
    wanted = _answer_columns(manifest)
    if not {_TARGET, *wanted, *plan.features} <= set(stored.columns) or stored.empty:
        return None
    values = stored[wanted].to_numpy(dtype=np.float64)
    if manifest.classes is None:
        answers = values[:, 0]
    elif len(manifest.classes) == 2:
        answers = np.column_stack([1 - values[:, 0], values[:, 0]])
    else:
        answers = values
    target = stored[_TARGET].to_numpy()
    features = restore_missing(stored[list(plan.features)], plan.categorical)
    return ReferenceRows(features, target, answers, row_losses(manifest.task, target, answers))


def read_answers(rows: pd.DataFrame, classes: tuple[Any, ...] | None) -> Floats:
    """Return served predictions as :func:`base.metrics.measure` takes them."""
    if classes is not None and len(classes) != 2:
        return np.vstack(rows["probabilities"].to_list()).astype(np.float64)
    values = rows["prediction"].to_numpy(dtype=np.float64)
    return values if classes is None else np.column_stack([1 - values, values])


def is_answer_of(rows: pd.DataFrame, classes: tuple[Any, ...] | None) -> pd.Series[bool]:
    """Tell which served rows have an answer of the model's form: an earlier version may have served the others.

    Examples
    --------
    >>> served = pd.DataFrame({"prediction": [0.3, 1.0], "probabilities": [None, [0.1, 0.8, 0.1]]})
    >>> is_answer_of(served, (0, 1)).tolist()
    [True, False]
    """
    expected = 0 if classes is None or len(classes) == 2 else len(classes)
    found = pd.Series(0, index=rows.index)
    if "probabilities" in rows:
        found = rows["probabilities"].map(lambda row: len(row) if isinstance(row, list | np.ndarray) else 0)
    return found == expected


def _answer_columns(manifest: ModelManifest) -> list[str]:
    if manifest.classes is None or len(manifest.classes) == 2:
        return [PREDICTION]
    return [probability_column(code) for code in range(len(manifest.classes))]
