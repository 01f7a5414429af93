"""Rows with the columns of feature views: joined as of each row's time, wherever a step needs raw rows."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import pyarrow as pa

from base.artifacts import ArtifactStore
from base.contract import ColumnType
from base.pipeline import Pipeline
from base.references import TrainingData
from base.settings import Settings
from base.sources import table_types
from features.declarations import read_views
from features.online_store import OnlineStore
from features.point_in_time import join_views
from features.views import JoinedView, joined_types, usable_views
from registry.feature_views import find_rows
from registry.materialization import Materialized, materialize_view
from registry.store import Registry


def materialize_new(registry: Registry, pipeline: Pipeline, settings: Settings) -> list[Materialized]:
    """Materialise the views that a pipeline joins, stand beside it, and hold no event of this declaration yet.

    So that a first training needs no command before it. What is newer since is brought by the views' own schedule or
    by ``everfit features materialize``: a training must not change what it learns from while it runs.

    Raises
    ------
    DataRefused, DefinitionError, UserCodeError
        If a source cannot be read as its view declares.
    """
    if not pipeline.spec.prepare.views:
        return []
    declared = read_views(pipeline.folder)
    names = dict.fromkeys(spec.view for spec in pipeline.spec.prepare.views)
    new = [declared[name] for name in names if name in declared and _is_empty(registry, name, declared[name].digest)]
    if not new:
        return []
    online = OnlineStore.from_settings(settings)
    try:
        return [materialize_view(registry, online, one, settings=settings) for one in new]
    finally:
        online.close()


def _is_empty(registry: Registry, name: str, digest: str) -> bool:
    rows = find_rows(registry, name, digest)
    return rows is None or not rows.segments


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
    usable = usable_views(views)
    hidden = sensitive_view_columns(views)
    keys = {column: types[column] for view in usable for column in view.keys.values()}
    seen = {name: kind for name, kind in inputs.items() if name not in hidden}
    return {**seen, **{name: kind for name, kind in keys.items() if name not in seen}, **joined_types(usable)}


def sensitive_view_columns(views: Sequence[JoinedView]) -> dict[str, str]:
    """Name the joined columns that no model may see, each with its view."""
    return {column: view.view.name for view in views for column in view.sensitive}


def personal_columns(pipeline: Pipeline, data: TrainingData) -> frozenset[str]:
    """Name the columns that the contract or a feature view calls personal."""
    rules = {} if pipeline.contract is None else pipeline.contract.columns
    marked = {name for name, rule in rules.items() if rule.personal is not None}
    for view in read_joined(data):
        marked |= {column for feature, column in view.columns.items() if feature in view.view.hashed}
        marked |= {column for key, column in view.keys.items() if key in view.view.hashed}
    return frozenset(marked)


def without_view_columns(pipeline: Pipeline, given: Collection[str]) -> Pipeline:
    """Return a pipeline whose contract is about the source's own columns: those that views give come later."""
    contract = pipeline.contract
    if contract is None or not set(given) & contract.columns.keys():
        return pipeline
    columns = {name: rule for name, rule in contract.columns.items() if name not in given}
    rules = tuple(rule for rule in contract.rules if not set(given) & set(rule.columns))
    own = contract.model_copy(update={"columns": columns, "rules": rules}) if columns else None
    return pipeline.model_copy(update={"contract": own})


def join_named(
    table: pa.Table, data: TrainingData, columns: Collection[str], time: str | None, artifacts: ArtifactStore
) -> pa.Table:
    """Join those columns of the prepared rows' views that are named, sensitive ones too: to cut an evaluation by.

    The views' keys and the time must be among the table's columns, as :func:`keys_behind` lists them.
    """
    return join_rows(table, _only(read_joined(data), columns), time, artifacts)


def keys_behind(data: TrainingData, columns: Collection[str]) -> set[str]:
    """List the columns by which :func:`join_named` would look the named ones up."""
    return {key for view in _only(read_joined(data), columns) for key in view.keys.values()}


def _only(views: Sequence[JoinedView], columns: Collection[str]) -> tuple[JoinedView, ...]:
    chosen = [{name: column for name, column in view.columns.items() if column in columns} for view in views]
    pairs = zip(views, chosen, strict=True)
    return tuple(view.model_copy(update={"columns": some}) for view, some in pairs if some)


def views_of_today(used: Sequence[JoinedView], today: Sequence[JoinedView]) -> tuple[JoinedView, ...]:
    """Give views that a model was trained with the events of now, where the same declaration is still joined."""
    rows = {view.digest: view.rows for view in today}
    return tuple(view.model_copy(update={"rows": rows.get(view.digest, view.rows)}) for view in used)
