"""The offline store: a view's events as content-addressed Parquet segments, to which new ones are appended."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import ArtifactStore
from base.contract import ColumnRule, ColumnType, DataContract
from base.errors import DataRefused, Fault, UserCodeError, nearest
from base.references import Rows, Segment
from base.rows.duck import open_duckdb, quote_name
from base.rows.personal import personal_key, protect_columns
from base.rows.reading import POSITION, SEGMENT, view_rows
from base.rows.tables import MOMENT
from base.rows.time_columns import parse_time
from base.section import is_function
from base.settings import Settings
from base.sources import frame_to_table, normalise, read_source
from base.sources.cuts import Cut
from base.sources.reading import Site, read_rows
from base.user_code import UserCode
from features.views import FeatureView

if TYPE_CHECKING:
    import duckdb

    from features.declarations import DeclaredView

_ROW_GROUP = 100_000
_ARRIVAL = "__arrival"
_MICROSECOND = timedelta(microseconds=1)
TYPES: dict[ColumnType, pa.DataType] = {
    "number": pa.float64(),
    "integer": pa.int64(),
    "text": pa.string(),
    "boolean": pa.bool_(),
    "time": MOMENT,
}
"""How each type of column is stored."""


def read_events(
    declared: DeclaredView, settings: Settings | None = None, *, above: datetime | None = None
) -> tuple[pa.Table, int]:
    """Read a view's source, let its function transform it, and bring it into the declared columns and types.

    The order stays: of two events of one key and moment, the later one in the source is the newer. A row without
    a key or a moment belongs to nobody and is left out. What is personal is hashed, or dropped.

    Parameters
    ----------
    settings : Settings, optional
        Where connections, credentials of files and the key of personal values stand.
    above : datetime, optional
        A database is asked only for events after this moment, where nothing transforms what it answers.

    Returns
    -------
    (Table, int)
        The events, and how many rows were left out.

    Raises
    ------
    DataRefused
        If a declared column is not there, or holds values of another type.
    DefinitionError, SourceAway, SourceFailed
        If there is no such source or connection, or it does not answer.
    UserCodeError
        If a function of the user's code fails.
    """
    view, code, settings = declared.view, UserCode(declared.code), settings or Settings()
    table = _read_source(declared, code, settings, above)
    if view.transformation is not None:
        table = _call(code, view.transformation, table.to_pandas())
    if missing := [name for name in view.columns if name not in table.column_names]:
        hints = {name: nearest(name, table.column_names) for name in missing}
        faults = [Fault(name, "no such column", f"it, as the view declares{hints[name]}") for name in missing]
        there = ", ".join(table.column_names[:20])
        raise DataRefused(
            f"the source of feature view {view.name!r}", faults, f"Correct {declared.file.name}; there are {there}."
        )
    table = table.select(list(view.columns))
    for name in (view.time, view.created):
        table = table if name is None else parse_time(table, name)
    faults = []
    for name, feature in view.stored.items():
        column, fault = _fit(table[name], feature.type)
        table = table.set_column(table.column_names.index(name), name, column)
        faults += [] if fault is None else [Fault(name, fault, feature.type)]
    table = _hide(table, view, settings)
    faults += [
        Fault(key, str(table[key].type), "text, whole numbers or booleans, since it is a key")
        for key in view.entity.keys
        if not _is_key(table[key].type)
    ]
    if faults:
        raise DataRefused(f"the source of feature view {view.name!r}", faults, f"Correct {declared.file.name}.")
    named = pc.is_valid(table[view.time])
    for key in view.entity.keys:
        named = pc.and_(named, pc.is_valid(table[key]))
    kept = table.filter(named)
    return kept, table.num_rows - kept.num_rows


def select_new(
    artifacts: ArtifactStore, view: FeatureView, stored: Rows, events: pa.Table, *, until: datetime
) -> pa.Table:
    """Take the events that are known by *until* and not stored yet, in their order.

    Which were stored is told by all their values, so that a late event and a corrected one are new, and reading
    the same source twice adds nothing. Where the view bounds its lateness, or says when an event became known,
    only what is near the newest stored event is compared.
    """
    limit = pa.scalar(until, MOMENT)
    events = events.filter(pc.less_equal(_available(events, view), limit))
    if not stored.segments or not events.num_rows:
        return events
    cursor = view.created or view.time
    with open_duckdb() as connection:
        view_rows(connection, artifacts, stored, name="stored")
        connection.register("incoming", events.append_column(_ARRIVAL, pa.array(range(events.num_rows), pa.int64())))
        bound = ""
        if view.lateness is not None:
            # As a number, since DuckDB needs another library to hand out a moment; fetched to its end, since it
            # refuses the next query otherwise.
            ((newest,),) = connection.execute(f"SELECT epoch_us(max({quote_name(cursor)})) FROM stored").fetchall()
            if newest is not None:
                bound = f"WHERE epoch_us({quote_name(cursor)}) >= {newest - view.lateness // _MICROSECOND}"
        same = " AND ".join(f"n.{quote_name(name)} IS NOT DISTINCT FROM s.{quote_name(name)}" for name in view.columns)
        arrivals = connection.sql(
            f"SELECT {_ARRIVAL} FROM (SELECT * FROM incoming {bound}) n "
            f"ANTI JOIN (SELECT * FROM stored {bound}) s ON {same} ORDER BY {_ARRIVAL}"
        ).to_arrow_table()
    return events.take(arrivals[_ARRIVAL])


def append_events(artifacts: ArtifactStore, view: FeatureView, stored: Rows, events: pa.Table) -> Rows:
    """Store new events as one more segment, behind those that are there."""
    import pyarrow.parquet as pq

    if not events.num_rows:
        return stored
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder, "events.parquet")
        pq.write_table(
            events.replace_schema_metadata(None).combine_chunks(), file, compression="zstd", row_group_size=_ROW_GROUP
        )
        artifact = artifacts.put_file(file)
    ends = pc.min_max(events[view.time]).as_py()
    segment = Segment(artifact=artifact, n_stored=events.num_rows, first=ends["min"], last=ends["max"])
    return Rows(segments=(*stored.segments, segment), time=view.time)


def newest_by_key(artifacts: ArtifactStore, view: FeatureView, rows: Rows, *, first: int = 0) -> pa.Table:
    """Take the newest event of each key out of the segments from *first* on, ordered by key.

    Returns
    -------
    Table
        The view's columns, and the event's place: SEGMENT and POSITION of :mod:`base.rows.reading`.
    """
    keys = ", ".join(quote_name(key) for key in view.entity.keys)
    with open_duckdb() as connection:
        view_rows(connection, artifacts, rows, name="events")
        newest: pa.Table = connection.sql(
            f"SELECT * FROM events WHERE {SEGMENT} >= {first} "
            f"QUALIFY row_number() OVER (PARTITION BY {keys} ORDER BY {newest_first(view)}) = 1 ORDER BY {keys}"
        ).to_arrow_table()
    return newest


def newest_first(view: FeatureView) -> str:
    """Write the order in which events supersede each other, newest first, for SQL: by time, knowledge, arrival."""
    return f"{quote_name(view.time)} DESC, {known_since(view)} DESC, {SEGMENT} DESC, {POSITION} DESC"


def known_since(view: FeatureView) -> str:
    """Write since when an event is known, for SQL: where nobody said, since it happened."""
    time = quote_name(view.time)
    return time if view.created is None else f"coalesce({quote_name(view.created)}, {time})"


def _available(events: pa.Table, view: FeatureView) -> Any:
    time = events[view.time]
    return time if view.created is None else pc.max_element_wise(time, events[view.created], skip_nulls=True)


def _hide(table: pa.Table, view: FeatureView, settings: Settings) -> pa.Table:
    """Hash what is personal, by the key that also hashes the personal columns of rows and requests."""
    if not view.hashed:
        return table
    rules = {name: ColumnRule(type="text", personal="hash") for name in view.hashed}
    return protect_columns(table, DataContract(columns=rules), personal_key(settings))


def _read_source(declared: DeclaredView, code: UserCode, settings: Settings, above: datetime | None) -> pa.Table:
    view = declared.view
    if is_function(view.source):
        return _call(code, view.source)
    if not view.connection:
        return normalise(read_source(view.source, declared.folder, settings))
    cut = None if above is None or view.transformation is not None else Cut(view.time, above)
    with tempfile.TemporaryDirectory(prefix="everfit-view-") as into:
        content = read_rows(view.place, Site(declared.folder, settings, code), Path(into), cut=cut)
        if isinstance(content, pa.Table):
            return content
        import pyarrow.parquet as pq

        return pq.ParquetFile(content).read()


def _call(code: UserCode, path: str, *arguments: Any) -> pa.Table:
    import pandas as pd

    function: Callable[..., Any] = code.function(path)
    try:
        rows = function(*arguments)
    except (Exception, SystemExit) as error:
        raise UserCodeError(path, f"raised {code.describe_error(error)}", "mend it and materialise again") from error
    if isinstance(rows, pa.Table):
        return normalise(rows)
    if not isinstance(rows, pd.DataFrame):
        raise UserCodeError(path, f"returned {type(rows).__name__}", "return a DataFrame or a pyarrow Table")
    return frame_to_table(rows)


def _fit(column: pa.ChunkedArray, kind: ColumnType) -> tuple[pa.ChunkedArray, str | None]:
    """Bring a column into its declared type, or say what it holds instead."""
    wanted, found = TYPES[kind], column.type
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), wanted)]), None
    if pa.types.is_floating(found):
        # No request could carry infinity, and training must see what serving sees.
        column = pc.if_else(pc.is_finite(column), column, pa.scalar(None, found))
    if found == wanted:
        return column, None
    try:
        if kind == "integer" and pa.types.is_floating(found):
            return column.cast(wanted), None
        if kind == "number" and pa.types.is_integer(found):
            return column.cast(wanted, safe=False), None
    except pa.ArrowInvalid:
        return column, "numbers with a fraction"
    return column, str(found)


def _is_key(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_integer(kind) or pa.types.is_boolean(kind))


def view_events(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, view: FeatureView, rows: Rows, *, name: str
) -> None:
    """Make a view of the events that were ever the newest known one of their key, with ``__since``: from when on.

    Without late events every event is one. An event that became known when a newer one was known already never
    was; of several that became known at one moment, only the newest was.
    """
    view_rows(connection, artifacts, rows, name=f"{name}_stored")
    keys = ", ".join(quote_name(key) for key in view.entity.keys)
    time, known = quote_name(view.time), known_since(view)
    place = f"{SEGMENT}, {POSITION}"
    if view.created is None:
        select = f"SELECT *, {time} AS __since FROM {quote_name(f'{name}_stored')}"
        order = f"__since, {place}"
    else:
        rank = f"row({time}, {known}, {place})"
        ranked = f"SELECT *, greatest({time}, {known}) AS __since, {rank} AS __rank FROM {quote_name(f'{name}_stored')}"
        order = "__since, __rank"
        best = f"max(__rank) OVER (PARTITION BY {keys} ORDER BY {order} ROWS UNBOUNDED PRECEDING)"
        select = f"SELECT * FROM (SELECT *, {best} AS __best FROM ({ranked})) WHERE __best = __rank"
    connection.execute(
        f"CREATE OR REPLACE TEMP VIEW {quote_name(name)} AS SELECT * FROM ({select}) "
        f"QUALIFY lead(__since) OVER (PARTITION BY {keys} ORDER BY {order}) IS DISTINCT FROM __since"
    )
