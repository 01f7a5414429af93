"""Rows with the columns of feature views: joined as of each row's time, wherever a step needs raw rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from base.artifacts import ArtifactStore
from base.contract import ColumnType
from base.references import TrainingData
from base.sources import table_types
from features.point_in_time import join_views
from features.views import JoinedView, joined_types


def read_joined(data: TrainingData) -> tuple[JoinedView, ...]:
    """Read which views prepared rows were joined with."""
    return tuple(JoinedView.model_validate(document) for document in data.views)


def join_rows(table: pa.Table, views: Sequence[JoinedView], time: str | None, artifacts: ArtifactStore) -> pa.Table:
    """Join views to rows as :func:`features.point_in_time.join_views` does; without views, return the rows."""
    return table if time is None or not views else join_views(table, views, time, artifacts)


def view_inputs(
    inputs: Mapping[str, ColumnType], table: pa.Table, views: Sequence[JoinedView]
) -> dict[str, ColumnType]:
    """Add what the views need and give to the inputs: their keys, though no feature may be made of them, and columns.

    A key that is excluded from the features still comes with a request, to be looked up.
    """
    types = table_types(table)
    keys = {column: types[column] for view in views for column in view.keys.values()}
    return {**inputs, **{name: kind for name, kind in keys.items() if name not in inputs}, **joined_types(tuple(views))}


def views_of_today(used: Sequence[JoinedView], today: Sequence[JoinedView]) -> tuple[JoinedView, ...]:
    """Give views that a model was trained with the events of now, where the same declaration is still joined."""
    rows = {view.digest: view.rows for view in today}
    return tuple(view.model_copy(update={"rows": rows.get(view.digest, view.rows)}) for view in used)
