"""Engines: how a database is connected to, by its URL, and how its writers take turns."""

from __future__ import annotations

import os
import weakref
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError as BadUrl

from base.database_troubles import DatabaseUnavailable
from base.errors import ArgumentError
from base.sqlite_files import BUSY_TIMEOUT_MS, configure_sqlite, follow_file, take_turn

# An arbitrary number that only Everfit's writing transactions use on Postgres.
_WRITE_LOCK = 7_302_013
# A network that swallows packets would else be waited for a quarter of an hour; seconds, the last one milliseconds.
_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def parse_url(url: str) -> URL:
    """Read a database's URL; Postgres is asked by psycopg, however it is named.

    Raises
    ------
    ArgumentError
        If it is no URL, or of another database.
    """
    try:
        parsed = make_url(url)
    except BadUrl:
        # The text is not shown: it may hold a password.
        raise ArgumentError("EVERFIT_DATABASE_URL is no URL; expected one like 'postgresql://user@host/name'") from None
    driver = parsed.drivername
    if driver in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if driver not in ("sqlite", "sqlite+pysqlite", "postgresql+psycopg"):
        raise ArgumentError(f"EVERFIT_DATABASE_URL names {driver!r}; expected 'sqlite' or 'postgresql'")
    return parsed


def make_engine(url: URL, *, create: bool) -> Engine:
    """Make the engine of a database; its transactions with the execution option ``begin="immediate"`` take turns.

    Without *create*, a SQLite file that is not there is an error, never made.

    Raises
    ------
    DatabaseUnavailable
        If there is no driver, or no folder for the file.
    """
    if url.get_backend_name() == "postgresql":
        try:
            patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
            engine = create_engine(url, pool_pre_ping=True, connect_args=patience)
        except ModuleNotFoundError as error:
            raise DatabaseUnavailable(url, "needs psycopg: pip install 'everfit[postgres]'") from error
        event.listen(engine, "begin", _begin_postgres)
        _forget_connections_after_fork(engine)
        return engine
    if create and url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(url, f"has no folder, and none can be made ({error.strerror})") from error
    engine = create_engine(url)
    event.listen(engine, "connect", configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    if (file := sqlite_file(url)) is not None:
        follow_file(engine, file, create=create)
    _forget_connections_after_fork(engine)
    return engine


def sqlite_file(url: URL) -> Path | None:
    """Return the file of a SQLite database, or None for one in memory or by a URI of its own."""
    has_file = url.get_backend_name() == "sqlite" and url.database and url.database != ":memory:"
    return Path(url.database).absolute() if has_file and url.database and not url.database.startswith("file:") else None


def _forget_connections_after_fork(engine: Engine) -> None:
    # Parent and child would talk over one socket, or close one another's locks; the warm worker forks.
    held = weakref.ref(engine)

    def forget() -> None:
        if (forked := held()) is not None:
            forked.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


def _begin_sqlite(connection: Connection) -> None:
    if _is_writing(connection):
        take_turn(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_postgres(connection: Connection) -> None:
    if _is_writing(connection):
        # One way there and back, while others wait; the parts of a list are computed in its order.
        patience = f"set_config('lock_timeout', '{BUSY_TIMEOUT_MS}', true)"
        connection.exec_driver_sql(f"SELECT {patience}, pg_advisory_xact_lock({_WRITE_LOCK})")


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("begin") == "immediate")
