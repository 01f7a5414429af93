"""Tables and queries of any database that SQLAlchemy knows, read in chunks by a cursor on the server."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

from base.errors import DataRefused, DefinitionError, Fault, nearest
from base.settings import Settings
from base.sources.cuts import Cut, bind_above, count_above
from base.sources.retries import SourceFailed, describe_safely, is_away

if TYPE_CHECKING:
    import pyarrow as pa
    from sqlalchemy import Connection, Executable

    from base.extract_spec import SourceSpec

CHUNK_ROWS = 20_000
# As SQLAlchemy finds a parameter in a text: a user's query has none, whatever colons stand in it.
_PARAMETER = re.compile(r"(?<![:\w\\]):(?=\w)(?!:)")
_CONNECT_SECONDS = 10


def stream_query(spec: SourceSpec, settings: Settings, cut: Cut | None) -> Iterator[pa.Table]:
    """Read a table or query in chunks; each has the types that its values have, a column of nulls ``null``.

    Raises
    ------
    DefinitionError
        If the settings have no such connection.
    SourceFailed
        If the database refuses the query.
    DataRefused
        If a column holds values of several types.
    """
    with _connect(spec.connection, settings) as connection:
        try:
            statement = _select(spec, connection, cut)
            result = connection.execution_options(stream_results=True, yield_per=CHUNK_ROWS).execute(statement)
            names = list(result.keys())
            n_rows = 0
            for chunk in result.partitions(CHUNK_ROWS):
                yield _to_table(spec.connection, names, chunk, n_rows)
                n_rows += len(chunk)
            if not n_rows:
                yield _to_table(spec.connection, names, [], 0)
        except Exception as error:
            raise _explain(spec.connection, error, settings) from None


def count_query(spec: SourceSpec, settings: Settings, cut: Cut | None) -> tuple[int, datetime | None]:
    """Count the rows of a table or query, all of them or those above a cut, and return the newest moment of these.

    Rows above a cut are read: how a database compares dates and texts says no more than about where they begin.

    Raises
    ------
    DefinitionError, SourceFailed, DataRefused
        As :func:`stream_query`.
    """
    from sqlalchemy import text

    if cut is None:
        with _connect(spec.connection, settings) as connection:
            try:
                _, rows = _name_rows(spec, connection)
                return int(connection.execute(text(f"SELECT count(*) FROM {rows}")).scalar_one()), None
            except Exception as error:
                raise _explain(spec.connection, error, settings) from None
    found = [count_above(chunk, cut) for chunk in stream_query(spec, settings, cut)]
    return sum(n_rows for n_rows, _ in found), max((moment for _, moment in found if moment is not None), default=None)


@contextmanager
def _connect(name: str, settings: Settings) -> Iterator[Connection]:
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError
    from sqlalchemy.pool import NullPool

    if name not in settings.connections:
        raise DefinitionError(
            f"connection {name!r} is not in EVERFIT_CONNECTIONS, which has "
            f"{', '.join(map(repr, settings.connections)) or 'none'}{nearest(name, settings.connections)}; set it to "
            f'JSON such as {{"{name}": "postgresql+psycopg://user:password@host/database"}}',
            key="extract.connection",
        )
    try:
        url = make_url(settings.connections[name].get_secret_value())
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        waits = {"connect_timeout": _CONNECT_SECONDS} if url.get_backend_name() == "postgresql" else {}
        engine = create_engine(url, poolclass=NullPool, connect_args=waits, hide_parameters=True)
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        problem = "no SQLAlchemy URL" if isinstance(error, ArgumentError) else describe_safely(error, settings)
        raise DefinitionError(
            f"connection {name!r} in EVERFIT_CONNECTIONS cannot be used: {problem}; expected such as "
            "postgresql+psycopg://user:password@host/database, with its driver installed",
            key="extract.connection",
        ) from None
    try:
        connection = engine.connect()
    except Exception as error:
        raise _explain(name, error, settings) from None
    try:
        if engine.dialect.name == "postgresql":
            connection = connection.execution_options(postgresql_readonly=True)
        elif engine.dialect.name == "sqlite":
            connection.execute(text("PRAGMA query_only = ON"))
        yield connection
    finally:
        connection.close()
        engine.dispose()


def _name_rows(spec: SourceSpec, connection: Connection) -> tuple[str, str]:
    """Write what is asked as a query, and as what stands after FROM."""
    if spec.table:
        quote = connection.dialect.identifier_preparer.quote_identifier
        rows = ".".join(quote(part) for part in spec.table.split("."))
        return f"SELECT * FROM {rows}", rows
    query = _PARAMETER.sub(r"\\:", spec.query.strip().rstrip(";"))
    return query, f"({query}\n) AS everfit_rows"


def _select(spec: SourceSpec, connection: Connection, cut: Cut | None) -> Executable:
    from sqlalchemy import text

    query, rows = _name_rows(spec, connection)
    if cut is None:
        return text(query)
    column = connection.dialect.identifier_preparer.quote_identifier(cut.column)
    # One value shows how the database writes the column: as a moment, a date, a text or a number.
    example = connection.execute(text(f"SELECT {column} FROM {rows} WHERE {column} IS NOT NULL LIMIT 1")).scalar()
    limit = bind_above(example, cut)
    if limit is None:
        return text(query)
    above = text(f"SELECT * FROM {rows} WHERE {column} > :everfit_above OR {column} IS NULL")
    return above.bindparams(everfit_above=limit)


def _to_table(source: str, names: list[str], chunk: Any, start: int) -> pa.Table:
    import pyarrow as pa

    from base.rows.tables import check_names

    check_names(names, what=f"the answer of {source!r}")
    columns = list(zip(*chunk, strict=True)) if chunk else [()] * len(names)
    arrays, faults = {}, []
    for name, values in zip(names, columns, strict=True):
        try:
            arrays[name] = _to_array(values)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            faults.append(_mixture(name, values, start))
    if faults:
        way_out = "cast the column in the query, such as CAST(... AS TEXT), or mend the values"
        raise DataRefused(f"the answer of {source!r}", faults, way_out)
    return pa.table(arrays)


def _to_array(values: tuple[Any, ...]) -> pa.Array:
    import pyarrow as pa

    if any(isinstance(value, Decimal | UUID) for value in values):
        values = tuple(
            float(value) if isinstance(value, Decimal) else str(value) if isinstance(value, UUID) else value
            for value in values
        )
    return pa.array(values, from_pandas=True)


def _mixture(name: str, values: tuple[Any, ...], start: int) -> Fault:
    first: tuple[int, Any] | None = None
    for row, value in enumerate(values, start=start):
        if value is None:
            continue
        if first is None:
            first = (row, value)
        elif type(value) is not type(first[1]):
            one, other = (f"{type(item).__name__} {str(item)[:40]!r} (row {at})" for at, item in (first, (row, value)))
            return Fault(name, f"{one} and {other}", "values of one type")
    return Fault(name, f"{type(first[1]).__name__ if first else 'nothing'}", "numbers, text, booleans or times")


def _explain(name: str, error: Exception, settings: Settings) -> Exception:
    from sqlalchemy.exc import SQLAlchemyError

    if is_away(error) or not isinstance(error, SQLAlchemyError):
        return error
    way_out = f"correct the query, or the connection {name!r} in EVERFIT_CONNECTIONS"
    return SourceFailed(name, describe_safely(error, settings), way_out)
