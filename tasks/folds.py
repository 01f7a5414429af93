"""Folds in time: stretches that candidates are judged on, each learnt for from the rows before it alone."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from base.artifacts import Artifact, ArtifactStore
from base.pipeline import PipelineSpec
from base.references import Part, Rows, TrainingData
from base.train_spec import TrainingWindow
from tasks.fits import Moments, select_window
from tasks.frames import load_table, store_table
from tasks.prepared_rows import load_part
from tasks.splits import measure_gap, number_groups

_FEWEST_JUDGED = 10
_FEWEST_LEARNT = 20

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Timeline:
    """When each row before ``validation.stop`` happened, which group it is of, and how late its target is known.

    Attributes
    ----------
    moments : array of shape (n_rows,), optional
        In microseconds.
    groups : array of shape (n_rows,), optional
        Equal numbers, equal group.
    gap : int
        In microseconds.
    """

    moments: Moments | None = None
    groups: Positions | None = None
    gap: int = 0


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, in the order of time, and newer rows to be judged on: positions of prepared rows."""

    learnt: Positions
    judged: Positions


def load_timeline(data: TrainingData, good: Rows, spec: PipelineSpec, artifacts: ArtifactStore) -> Timeline:
    """Read time and groups of the prepared rows before ``validation.stop``."""
    split = spec.prepare.split
    columns = {*([] if spec.time is None else [spec.time]), *split.groups}
    if not columns:
        return Timeline()
    table = load_part(data, good, Part(start=0, stop=data.validation.stop), artifacts, columns=columns)
    return Timeline(
        moments=None if spec.time is None else table[spec.time].cast("int64").to_numpy(),
        groups=number_groups(table.select(list(split.groups))) if split.groups else None,
        gap=0 if spec.time is None else measure_gap(spec),
    )


def make_folds(
    data: TrainingData, timeline: Timeline, n_folds: int, *, window: TrainingWindow | None = None
) -> list[Fold]:
    """Make folds on expanding pasts, the oldest first; the last one is the split's own train and validation part.

    The stretches before the last lie in the train part and have the validation part's length. Each is cut where
    the moment changes, learns from rows whose target was known as it began (the split's gap), and leaves out rows
    of groups that it learns from, as :func:`tasks.splits.split_moments` does. Fewer folds come out where too little
    would be left to learn from. Where features are fitted there is one fold: they have learnt from the train part.

    Parameters
    ----------
    window : TrainingWindow, optional
        Keeps the newest of the rows that each fold learns from.
    """
    last = Fold(np.arange(data.train.stop), np.arange(data.validation.start, data.validation.stop))
    folds = [last]
    stop = data.train.stop
    while len(folds) < n_folds and data.trial is None:
        start = _cut(timeline, stop - data.validation.n_rows, stop)
        if start is None:
            break
        fold = cut_fold(timeline, start, stop)
        if len(fold.learnt) < max(_FEWEST_LEARNT, data.validation.n_rows) or len(fold.judged) < _FEWEST_JUDGED:
            break
        folds.insert(0, fold)
        stop = start
    if window is None:
        return folds
    return [Fold(_within(window, fold.learnt, timeline.moments), fold.judged) for fold in folds]


def store_folds(folds: list[Fold], artifacts: ArtifactStore) -> Artifact:
    """Store folds as one Parquet file, for fits in other processes."""
    columns: dict[str, list[Positions]] = {"fold": [], "judged": [], "position": []}
    for number, fold in enumerate(folds):
        for judged, positions in enumerate((fold.learnt, fold.judged)):
            columns["fold"].append(np.full(len(positions), number))
            columns["judged"].append(np.full(len(positions), judged))
            columns["position"].append(positions)
    return store_table(artifacts, pa.table({name: np.concatenate(parts) for name, parts in columns.items()}))


def load_folds(artifact: Artifact, artifacts: ArtifactStore) -> list[Fold]:
    """Read what :func:`store_folds` wrote."""
    table = load_table(artifacts, artifact)
    number, judged, position = (table[name].to_numpy() for name in ("fold", "judged", "position"))
    return [
        Fold(*(position[(number == each) & (judged == role)] for role in (0, 1)))
        for each in range(int(number.max()) + 1)
    ]


def _cut(timeline: Timeline, wanted: int, stop: int) -> int | None:
    """Find the change of moment nearest to *wanted*; without moments, *wanted* itself."""
    if wanted < 1:
        return None
    if timeline.moments is None:
        return wanted
    changes = np.flatnonzero(np.diff(timeline.moments[:stop])) + 1
    return int(changes[np.argmin(np.abs(changes - wanted))]) if len(changes) else None


def cut_fold(timeline: Timeline, start: int, stop: int) -> Fold:
    """Judge on the rows from *start* to *stop*, and learn from those before whose target was known then."""
    learnt = np.arange(start)
    if timeline.moments is not None and timeline.gap:
        known = timeline.moments[start] - timeline.gap
        learnt = learnt[: np.searchsorted(timeline.moments[:start], known, side="right")]
    judged = np.arange(start, stop)
    if timeline.groups is not None:
        judged = judged[~np.isin(timeline.groups[judged], timeline.groups[learnt])]
    return Fold(learnt, judged)


def _within(window: TrainingWindow, positions: Positions, moments: Moments | None) -> Positions:
    kept: Positions = positions[select_window(window, len(positions), None if moments is None else moments[positions])]
    return kept
