"""What each version answers to the rows of the history, and what that loses."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from base.artifacts import ArtifactStore
from base.class_codes import encode_labels
from base.metrics import row_losses
from features.plan import frame_from_table, select_features
from monitoring.policies.loss_units import full_loss, unit_losses
from registry.manifest import ModelManifest
from serving.scoring.loaded import load_unproven
from tasks.backtest.history import History
from tasks.backtest.latest import Latest

Floats = npt.NDArray[np.float64]

_MOST_KEPT = 600
_MOST_WHOLE = 250_000
_MOST_FRAMES = 3


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
    is_whole : bool, default=True
        Whether the history is made into features once and whole, not anew for each stretch.
    """

    def __init__(
        self,
        history: History,
        artifacts: ArtifactStore,
        *,
        n_first: int,
        trusted: tuple[str, ...] = (),
        is_whole: bool = True,
    ) -> None:
        self._history = history
        self._artifacts = artifacts
        self._trusted = trusted
        spec = history.pipeline.spec
        self.labels: pd.Series[Any] = history.rows[spec.target_column].to_pandas()
        known = self.labels.iloc[:n_first]
        self._full = full_loss(spec.task, known.to_numpy() if spec.task == "regression" else np.zeros(0))
        self._is_whole = is_whole
        self._frames, self._built = Latest[pd.DataFrame](_MOST_FRAMES), Latest[pd.DataFrame](_MOST_FRAMES)
        self._kept: OrderedDict[tuple[str, int, int], Floats] = OrderedDict()

    def of(self, manifest: ModelManifest, rows: slice) -> Floats:
        """Return probabilities of shape (n_rows, n_classes), or values of shape (n_rows,)."""
        key = (manifest.model_file.digest, rows.start, rows.stop)
        if key not in self._kept:
            scorer = load_unproven(self._artifacts, manifest, trusted=self._trusted)
            features = self._features(manifest, rows)
            if features is None:
                answers = scorer.predict_frame(self.inputs(manifest, rows))
            else:
                answers = scorer.predict_features(features)
            self._kept[key] = np.asarray(answers, dtype=np.float64)
            while len(self._kept) > _MOST_KEPT:
                self._kept.popitem(last=False)
        return self._kept[key]

    def inputs(self, manifest: ModelManifest, rows: slice) -> pd.DataFrame:
        """Return rows as a request brings them."""
        whole = self._whole(manifest)
        if whole is not None:
            return whole.iloc[rows].reset_index(drop=True)
        return frame_from_table(self._history.rows.slice(rows.start, rows.stop - rows.start), manifest.plan.inputs)

    def _features(self, manifest: ModelManifest, rows: slice) -> pd.DataFrame | None:
        """Return what the estimator sees of rows, where no code of the user's makes it."""
        plan, whole = manifest.plan, self._whole(manifest)
        if whole is None or plan.functions or plan.states is not None:
            return None
        features = self._built.take(plan.model_dump_json(), lambda: select_features(whole, plan))
        return features.iloc[rows].reset_index(drop=True)

    def _whole(self, manifest: ModelManifest) -> pd.DataFrame | None:
        """Return the whole history as requests bring it; None where it is large, or a value depends on its company."""
        rows, inputs = self._history.rows, manifest.plan.inputs
        if (
            not self._is_whole
            or rows.num_rows > _MOST_WHOLE
            or not all(
                kind != "text" or name not in rows.column_names or pa.types.is_string(rows.schema.field(name).type)
                for name, kind in inputs.items()
            )
        ):
            return None
        return self._frames.take(repr(inputs), lambda: frame_from_table(rows, inputs))

    def losses(self, manifest: ModelManifest, rows: slice) -> RowLosses:
        """Return what a version loses on rows."""
        target = encode_labels(self.labels.iloc[rows], manifest.classes)
        answers = self.of(manifest, rows)
        task = manifest.task
        return RowLosses(
            units=unit_losses(task, target, answers, full=self._full, threshold=manifest.threshold),
            own=row_losses(task, target, answers),
        )
