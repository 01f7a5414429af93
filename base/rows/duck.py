"""DuckDB connections: bounded in memory, spilling to disk, installing no extension."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from base.cores import count_cores

if TYPE_CHECKING:
    import duckdb

_MEMORY_LIMIT = "1GB"


@contextmanager
def open_duckdb(
    *, memory_limit: str = _MEMORY_LIMIT, threads: int | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """Open a connection in memory that spills into a temporary folder, and close it.

    It installs and loads no extension, and its time zone is UTC. Without *threads* it uses all cores.

    Examples
    --------
    >>> with open_duckdb() as connection:
    ...     connection.execute("SELECT 1 + 1").fetchone()
    (2,)
    """
    import duckdb

    with tempfile.TemporaryDirectory(prefix="everfit-duckdb-") as spill:
        connection = duckdb.connect(
            config={
                "memory_limit": memory_limit,
                "threads": threads or count_cores(),
                "temp_directory": spill,
                "preserve_insertion_order": True,
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
            }
        )
        try:
            connection.execute("SET TimeZone = 'UTC'")
            yield connection
        finally:
            connection.close()


def quote_name(name: str) -> str:
    """Write a column's name for SQL.

    Examples
    --------
    >>> print(quote_name('a "wide" name'))
    "a ""wide"" name"
    """
    escaped = name.replace('"', '""')
    return f'"{escaped}"'


def quote_text(text: str | Path) -> str:
    """Write a text for SQL.

    Examples
    --------
    >>> print(quote_text("it's"))
    'it''s'
    """
    escaped = str(text).replace("'", "''")
    return f"'{escaped}'"
