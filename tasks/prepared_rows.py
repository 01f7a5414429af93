"""Prepared rows: read as the estimators see them, and back to the good rows that they were made of."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa

from base.artifacts import Artifact, ArtifactStore
from base.pipeline import Pipeline
from base.references import Part, Rows, TrainingData
from base.rows.kept import find_kept_rows
from base.rows.reading import load_rows, read_schema
from features.feature_plan import FeaturePlan
from features.plan import restore_missing
from features.views import usable_views
from tasks.frames import load_frame, load_table
from tasks.joined_views import read_joined

TARGET = "__target__"
"""The column that holds the target among prepared rows."""


def load_prepared(data: TrainingData, artifacts: ArtifactStore, part: Part | None = None) -> pd.DataFrame:
    """Read prepared rows, or one part of them, as the estimators see them: features, and target as :data:`TARGET`."""
    return _load_features(data, data.artifact, artifacts, part)


def load_trial(data: TrainingData, artifacts: ArtifactStore) -> pd.DataFrame:
    """Read the rows before ``validation.stop`` with their features as fitted on the train part alone."""
    return _load_features(data, data.trial or data.artifact, artifacts, Part(start=0, stop=data.validation.stop))


def load_part(
    data: TrainingData, good: Rows, part: Part, artifacts: ArtifactStore, *, columns: Collection[str]
) -> pa.Table:
    """Read some columns of the good rows that one part of the prepared rows was made of; unknown ones are left out."""
    known = [name for name in read_schema(artifacts, good).names if name in columns]
    table = load_rows(artifacts, good, columns=known)
    if data.positions is None:
        return table.slice(part.start, part.n_rows)
    positions = load_table(artifacts, data.positions)["position"].slice(part.start, part.n_rows)
    return table.take(positions.combine_chunks())


def load_moments(
    data: TrainingData, good: Rows, part: Part, artifacts: ArtifactStore, *, time: str
) -> npt.NDArray[np.int64]:
    """Read when each prepared row of a part happened, in microseconds since 1970; shape (part.n_rows,)."""
    moments: npt.NDArray[np.int64] = (
        load_part(data, good, part, artifacts, columns=[time])[time].cast("int64").to_numpy()
    )
    return moments


def make_plan(data: TrainingData, pipeline: Pipeline) -> FeaturePlan:
    """Say how a request's rows become the features that the model was trained on."""
    return FeaturePlan(
        inputs=data.inputs,
        functions=pipeline.spec.prepare.features,
        states=data.states,
        ordinal=data.ordinal,
        numeric=data.numeric,
        categorical=data.categorical,
        views=usable_views(read_joined(data)),
    )


def _load_features(data: TrainingData, artifact: Artifact, artifacts: ArtifactStore, part: Part | None) -> pd.DataFrame:
    kept = find_kept_rows()
    if kept is None:
        return restore_missing(load_frame(artifacts, artifact, part=part), data.categorical)
    name = f"{artifact.digest} {data.categorical}"
    whole = kept.take_frame(name, lambda: restore_missing(load_frame(artifacts, artifact), data.categorical))
    return whole if part is None else whole.iloc[part.start : part.stop].reset_index(drop=True)
