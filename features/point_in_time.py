"""Point-in-time joins: for each row, what was known of its entities at the row's moment, and nothing later."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import ArtifactStore
from base.errors import DataRefused, Fault, nearest
from base.rows.duck import open_duckdb, quote_name
from base.rows.tables import MOMENT
from features.offline_store import TYPES, view_events
from features.views import JoinedView

_ROW, _MOMENT = "__row", "__moment"
_MICROSECOND = timedelta(microseconds=1)


def join_views(table: pa.Table, views: Sequence[JoinedView], time: str, store: ArtifactStore) -> pa.Table:
    """Add the columns of some views to rows, as of each row's moment; the rows and their order stay.

    A row gets the newest event of its entity that was known by its time: the one with the latest event time,
    among equal ones the one that was known last, among those the one that was stored last. If that is older than
    the view's freshness, or there is none, or the row has no key or time, the columns are null.

    Parameters
    ----------
    table : Table
        Normalised rows with the views' key columns and *time* (UTC).
    time : str
        The column that says when a row happened.

    Returns
    -------
    Table of n_rows
        *table* with the joined columns behind its own.

    Raises
    ------
    DataRefused
        If a key column or the time is not there, has another type than the view's key, or a joined column's name
        is taken.
    """
    for joined in views:
        _check(table, joined, time)
        columns = _join(table, joined, time, store)
        for column in joined.columns.values():
            table = table.append_column(column, columns[column])
    return table


def _join(table: pa.Table, joined: JoinedView, time: str, store: ArtifactStore) -> pa.Table:
    view = joined.view
    schema = pa.schema([(column, TYPES[kind]) for column, kind in joined.types.items()])
    if not joined.rows.segments or not table.num_rows:
        return pa.table({name: pa.nulls(table.num_rows, schema.field(name).type) for name in schema.names})
    spine = {_ROW: pa.array(range(table.num_rows), pa.int64()), _MOMENT: table[time].cast(MOMENT)}
    on = []
    with open_duckdb() as connection:
        view_events(connection, store, view, joined.rows, name="events")
        kinds = {name: str(kind) for name, kind, *_ in connection.execute("DESCRIBE events").fetchall()}
        for index, (key, column) in enumerate(joined.keys.items()):
            spine[f"__key{index}"] = _as_key(table[column], kinds[key], column, joined)
            on.append(f"s.__key{index} = e.{quote_name(key)}")
        connection.register("spine", pa.table(spine))
        fresh = "TRUE"
        if joined.freshness is not None:
            age = f"epoch_us(s.{_MOMENT}) - epoch_us(e.{quote_name(view.time)})"
            fresh = f"{age} <= {joined.freshness // _MICROSECOND}"
        features = ", ".join(
            f"CASE WHEN {fresh} THEN e.{quote_name(feature)} END AS {quote_name(column)}"
            for feature, column in joined.columns.items()
        )
        found: pa.Table = connection.sql(
            f"SELECT {features} FROM spine s ASOF LEFT JOIN events e "
            f"ON {' AND '.join(on)} AND s.{_MOMENT} >= e.__since ORDER BY s.{_ROW}"
        ).to_arrow_table()
    return found.cast(schema)


def _as_key(column: pa.ChunkedArray, wanted: str, name: str, joined: JoinedView) -> pa.ChunkedArray:
    """Write a key column in the type of the view's key; whole numbers may come as floats where some are missing."""
    kinds = {"VARCHAR": pa.string(), "BIGINT": pa.int64(), "BOOLEAN": pa.bool_()}
    kind = kinds[wanted]
    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    if kind == pa.int64() and pa.types.is_floating(column.type):
        # A fraction names no entity: such a row finds nothing, as it would in the online store.
        whole = pc.equal(pc.floor(column), column)
        return pc.if_else(whole, column, pa.scalar(None, column.type)).cast(kind, safe=False)
    raise DataRefused(
        "the rows",
        [Fault(name, str(column.type), f"{kind}, as the key of feature view {joined.view.name!r}")],
        "Convert the column where the rows are made, or the key in the view's transformation.",
    )


def _check(table: pa.Table, joined: JoinedView, time: str) -> None:
    name = joined.view.name
    faults = [
        Fault(column, f"no such column{nearest(column, table.column_names)}", f"it, to join feature view {name!r}")
        for column in (*joined.keys.values(), time)
        if column not in table.column_names
    ]
    faults += [
        Fault(column, "a column of this name", f"none, since feature view {name!r} makes one; give it a prefix")
        for column in joined.columns.values()
        if column in table.column_names
    ]
    if faults:
        raise DataRefused("the rows", faults, "Correct prepare.views.")
