"""Profile stored rows, files and tables: all of them in a stream, or a bounded sample in stretches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from base.changes.profiles import STRETCH, Profile, profile_view
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.reading import POSITION, SEGMENT, load_rows, view_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow as pa

    from base.artifacts import ArtifactStore
    from base.extract_spec import SourceSpec
    from base.references import Rows
    from base.sources.reading import Site

VIEW = "rows"

# Above this, more stretches of the reference add little to what may happen by itself.
_MOST_STRETCHES = 200
_SHORTEST_STRETCH = 25
_PIECES = 20
_NUMBER = "__number"


def profile_rows(artifacts: ArtifactStore, rows: Rows) -> Profile:
    """Profile all rows that count, in a stream."""
    with open_rows(artifacts, rows) as connection:
        return profile_view(connection, VIEW)


def profile_source(source: SourceSpec, site: Site) -> Profile:
    """Profile all rows of a file, folder, URL, table or query; what does not fit into memory is streamed."""
    with open_source(source, site) as connection:
        return profile_view(connection, VIEW)


def profile_table(table: pa.Table, *, stretch_rows: int | None = None) -> Profile:
    """Profile a normalised table in the order of its rows, in stretches of *stretch_rows* where that is given."""
    import numpy as np
    import pyarrow as pa

    if stretch_rows is not None and table.num_rows:
        length = max(_SHORTEST_STRETCH, stretch_rows)
        number = np.arange(table.num_rows) // length
        n_whole = table.num_rows // length
        # What is left over at the end is shorter than the others and would look stranger than it is.
        chosen = np.unique(np.linspace(0, max(0, n_whole - 1), min(n_whole, _MOST_STRETCHES)).astype(int))
        if n_whole:
            table = table.append_column(STRETCH, pa.array(number, mask=~np.isin(number, chosen)))
    with open_duckdb() as connection:
        connection.register(VIEW, table)
        return profile_view(connection, VIEW)


def sample_rows(artifacts: ArtifactStore, rows: Rows, *, most_rows: int) -> pa.Table:
    """Read pieces of consecutive rows at even distances: so much is read however long the history is.

    Returns
    -------
    pyarrow.Table
        In the order of time; all rows, where there are no more than *most_rows*.
    """
    if rows.n_rows <= most_rows:
        return load_rows(artifacts, rows)
    pieces = list(_choose_pieces(rows, most_rows))
    picked = " OR ".join(f"({SEGMENT} = {at} AND {POSITION} BETWEEN {first} AND {last})" for at, first, last in pieces)
    order = "" if rows.time is None else f"{quote_name(rows.time)}, "
    with open_duckdb() as connection:
        view_rows(connection, artifacts, rows, name=VIEW)
        found: pa.Table = connection.sql(
            f"SELECT * EXCLUDE ({SEGMENT}, {POSITION}) FROM {quote_name(VIEW)} WHERE {picked} "
            f"ORDER BY {order}{SEGMENT}, {POSITION}"
        ).to_arrow_table()
    return found


def sample_view(connection: duckdb.DuckDBPyConnection, *, most_rows: int) -> pa.Table:
    """Read pieces of consecutive rows of :data:`VIEW` at even distances, in its order; all rows where there are few."""
    n_rows = int(connection.execute(f"SELECT count(*) FROM {quote_name(VIEW)}").fetchall()[0][0])
    picked = "TRUE"
    if n_rows > most_rows:
        length = -(-most_rows // _PIECES)
        starts = [number * (n_rows - length) // (_PIECES - 1) + 1 for number in range(_PIECES)]
        picked = " OR ".join(f"{_NUMBER} BETWEEN {start} AND {start + length - 1}" for start in starts)
    found: pa.Table = connection.sql(
        f"SELECT * EXCLUDE ({_NUMBER}) FROM (SELECT *, row_number() OVER () AS {_NUMBER} FROM {quote_name(VIEW)}) "
        f"WHERE {picked}"
    ).to_arrow_table()
    inner = [name for name in found.column_names if name not in (SEGMENT, POSITION)]
    return found.select(inner)


def _choose_pieces(rows: Rows, most_rows: int) -> Iterator[tuple[int, int, int]]:
    length = -(-most_rows // _PIECES)
    n_stored = sum(segment.n_stored for segment in rows.segments)
    for number in range(_PIECES):
        start = number * (n_stored - length) // (_PIECES - 1)
        for index, segment in enumerate(rows.segments):
            first, last = max(0, start), min(segment.n_stored, start + length) - 1
            if first <= last:
                yield index, first, last
            start -= segment.n_stored


@contextmanager
def open_source(source: SourceSpec, site: Site) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a source's rows, in the loop's types, as the view :data:`VIEW`."""
    from base.sources.reading import read_rows

    with tempfile.TemporaryDirectory(prefix="everfit-profile-") as into, open_duckdb() as connection:
        content = read_rows(source, site, Path(into))
        if isinstance(content, Path):
            connection.execute(f"CREATE TEMP VIEW {quote_name(VIEW)} AS FROM read_parquet({quote_text(content)})")
        else:
            connection.register(VIEW, content)
        yield connection


@contextmanager
def open_rows(artifacts: ArtifactStore, rows: Rows) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open stored rows that count as the view :data:`VIEW`."""
    with open_duckdb() as connection:
        view_rows(connection, artifacts, rows, name=VIEW)
        yield connection
