"""What each version answers to the rows of the history, and what that loses."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.artifacts import ArtifactStore
from base.class_codes import encode_labels
from base.metrics import row_losses
from features.plan import frame_from_table
from monitoring.policies.loss_units import full_loss, unit_losses
from registry.manifest import ModelManifest
from serving.scoring.loaded import load_unproven
from tasks.backtest.history import History

Floats = npt.NDArray[np.float64]

_MOST_KEPT = 600


@dataclass(frozen=True)
class RowLosses:
    """The losses of rows under one version.

    Attributes
    ----------
    units : array of shape (n_rows,)
        In units of full loss.
    own : array of shape (n_rows,)
        The pipeline's own loss; see :func:`base.metrics.row_losses`.
    """

    units: Floats
    own: Floats


class Answers:
    """Lets versions answer rows of the history, each stretch of rows once.

    Parameters
    ----------
    n_first : int
        How many rows lie before the first served window: by their targets values are said in units of full loss, the
        same for all policies.
    """

    def __init__(
        self, history: History, artifacts: ArtifactStore, *, n_first: int, trusted: tuple[str, ...] = ()
    ) -> None:
        self._history = history
        self._artifacts = artifacts
        self._trusted = trusted
        spec = history.pipeline.spec
        self.labels: pd.Series[Any] = history.rows[spec.target_column].to_pandas()
        known = self.labels.iloc[:n_first]
        self._full = full_loss(spec.task, known.to_numpy() if spec.task == "regression" else np.zeros(0))
        self._kept: OrderedDict[tuple[str, int, int], Floats] = OrderedDict()

    def of(self, manifest: ModelManifest, rows: slice) -> Floats:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows,)."""
        key = (manifest.model_file.digest, rows.start, rows.stop)
        if key not in self._kept:
            frame = self.inputs(manifest, rows)
            scorer = load_unproven(self._artifacts, manifest, trusted=self._trusted)
            self._kept[key] = np.asarray(scorer.predict_frame(frame), dtype=np.float64)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def inputs(self, manifest: ModelManifest, rows: slice) -> pd.DataFrame:
        """Return rows as a request brings them."""
        return frame_from_table(self._history.rows.slice(rows.start, rows.stop - rows.start), manifest.plan.inputs)

    def losses(self, manifest: ModelManifest, rows: slice) -> RowLosses:
        """Return what a version loses on rows."""
        target = encode_labels(self.labels.iloc[rows], manifest.classes)
        answers = self.of(manifest, rows)
        task = manifest.task
        return RowLosses(
            units=unit_losses(task, target, answers, full=self._full, threshold=manifest.threshold),
            own=row_losses(task, target, answers),
        )
