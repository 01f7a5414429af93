"""Engine, transactions and migrations: SQLite in WAL mode by default, Postgres by URL."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import weakref
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from sqlalchemy import JSON, URL, Connection, DateTime, Dialect, Engine, create_engine, event, inspect, make_url, text
from sqlalchemy.exc import ArgumentError as BadUrl
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Session

from base.documents import as_document
from base.errors import ArgumentError, EverfitError
from base.sqlite_files import BUSY_TIMEOUT_MS, configure_sqlite, follow_file
from base.times import as_utc

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


class DatabaseUnavailable(EverfitError):
    """The database cannot be opened, or is none of Everfit's."""

    def __init__(self, url: URL, problem: str) -> None:
        super().__init__(
            f"the database {url.render_as_string(hide_password=True)!r} {problem}; "
            "see EVERFIT_DATABASE_URL and EVERFIT_HOME"
        )


class DatabaseBusy(EverfitError):
    """Another process has been writing for longer than anybody should."""

    def __init__(self, url: URL) -> None:
        super().__init__(
            f"another process has been writing to {url.render_as_string(hide_password=True)!r} for more than "
            f"{BUSY_TIMEOUT_MS // 1000} seconds; nothing was changed: end it, or try again"
        )


class UtcDateTime(TypeDecorator[datetime]):
    """A moment in UTC; SQLite would silently drop the zone and hand back a naive one."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else as_utc(value)

    def process_result_value(self, value: datetime | None, dialect: Any) -> datetime | None:
        return None if value is None else as_utc(value)


class JsonDocument(TypeDecorator[Any]):
    """A JSON document that reads back equal from SQLite and from Postgres; see :mod:`base.documents`."""

    impl = JSON
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        if dialect.name != "postgresql":
            return dialect.type_descriptor(JSON())
        # The drivers' dialects that come with it would cost every command on SQLite a tenth of a second.
        from sqlalchemy.dialects.postgresql import JSONB

        return dialect.type_descriptor(JSONB())

    def process_bind_param(self, value: Any, dialect: Any) -> Any:
        return as_document(value)


class Database:
    """A database with two ways in: :meth:`read` sees one moment, :meth:`write` is one transaction.

    Writers take turns, on both databases and from the start of the transaction: on SQLite by ``BEGIN
    IMMEDIATE``, on Postgres by an advisory lock. So a transaction may read, decide and write (the next number,
    the run under way, the last entry of the ledger) without another one coming between. They are few and short.

    Without *create*, a SQLite file that is not there is an error, never made.

    What *known* holds, every writing session has in its ``info``: the part of the settings on which it depends what
    is written in one transaction.
    """

    def __init__(self, url: str, *, known: Mapping[str, Any] | None = None, create: bool = True) -> None:
        self.url = _parse_url(url)
        self.known = dict(known or {})
        self.engine = _create_engine(self.url, create=create)
        _forget_connections_after_fork(self.engine)

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that reads a consistent state and writes nothing.

        What was read stays readable afterwards: closing lets the rows go as they are, a rollback would empty them.
        """
        engine = self.engine
        if engine.dialect.name == "postgresql":
            engine = engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
        with self._explained(), Session(engine, expire_on_commit=False, autoflush=False) as session:
            yield session

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Give a session whose changes are committed together at the end, or not at all.

        The turn is taken before anything is read, and asked for again when a conflict refuses it. Whoever has it
        meets no other writer, so nothing afterwards can fail that a second try would cure.

        Raises
        ------
        DatabaseBusy
            If the turn does not come within 30 seconds.
        """
        engine = self.engine.execution_options(begin="immediate")
        if engine.dialect.name == "postgresql":
            # A server may have another default, under which what is read is as old as the wait for the turn.
            engine = engine.execution_options(isolation_level="READ COMMITTED")
        with self._explained(), self._take_turn(engine) as connection:
            with Session(connection, expire_on_commit=False, info=self.known) as session:
                yield session
                session.flush()
            connection.commit()

    @contextmanager
    def _take_turn(self, engine: Engine) -> Iterator[Connection]:
        deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
        while True:
            connection = engine.connect()
            try:
                connection.begin()
                break
            except DBAPIError as error:
                connection.close()
                if not _passes(error) or time.monotonic() > deadline:
                    raise
                time.sleep(random.uniform(0.005, 0.05))
        with connection:
            yield connection

    def migrate(self, migrations: Path) -> None:
        """Bring the schema to the newest revision in *migrations*; processes that start at once take turns.

        The usual case, a schema that is up to date, costs one query: alembic is not even imported.

        Raises
        ------
        DatabaseUnavailable
            If the database cannot be opened, is no database, or belongs to a newer Everfit.
        """
        revisions = {path.stem.split("_")[0] for path in (migrations / "versions").glob("[0-9]*.py")}
        with self._explained():
            if self._revision() == max(revisions):
                return
            from alembic import command
            from alembic.config import Config

            config = Config()
            config.set_main_option("script_location", migrations.as_posix().replace("%", "%%"))
            with self._take_turn(self.engine.execution_options(begin="immediate")) as connection:
                found = _find_revision(connection)
                if found is not None and found not in revisions:
                    raise DatabaseUnavailable(
                        self.url, f"has revision {found!r} of a newer Everfit, expected at most {max(revisions)!r}"
                    )
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            return _find_revision(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            problem = str(error.orig).strip().partition("\n")[0]
            if problem.startswith("database is locked") or getattr(error.orig, "sqlstate", None) == "55P03":
                raise DatabaseBusy(self.url) from error
            if _cannot_open(error, problem):
                raise DatabaseUnavailable(self.url, f"cannot be opened ({problem})") from error
            raise


def _passes(error: DBAPIError) -> bool:
    """Tell whether a refused turn comes when it is asked for again: locks, a lost race, a victim of a deadlock."""
    # SQLite answers at once, without its busy timeout, while another process opens or recovers the same file.
    if isinstance(error.orig, sqlite3.OperationalError):
        return "locked" in str(error.orig) or "locking protocol" in str(error.orig)
    return getattr(error.orig, "sqlstate", None) in ("40001", "40P01", "55P03")


def _find_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)


def _cannot_open(error: DBAPIError, problem: str) -> bool:
    # psycopg gives no SQLSTATE when it never reached the server, and one of class 08, 28 or 3D when it was sent away.
    state = getattr(error.orig, "sqlstate", "")
    known = ("unable to open", "file is not a database", "disk I/O error", "attempt to write a readonly database")
    return problem.startswith(known) or state is None or state[:2] in ("08", "28", "3D", "57")


def _parse_url(url: str) -> URL:
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


def _create_engine(url: URL, *, create: bool) -> Engine:
    if url.get_backend_name() == "postgresql":
        try:
            patience = {name: value for name, value in _PATIENCE.items() if name not in url.query}
            engine = create_engine(url, pool_pre_ping=True, connect_args=patience)
        except ModuleNotFoundError as error:
            raise DatabaseUnavailable(url, "needs psycopg: pip install 'everfit[postgres]'") from error
        event.listen(engine, "begin", _begin_postgres)
        return engine
    if create and url.database and url.database != ":memory:":
        try:
            Path(url.database).parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise DatabaseUnavailable(url, f"has no folder, and none can be made ({error.strerror})") from error
    engine = create_engine(url)
    event.listen(engine, "connect", configure_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    if url.database and url.database != ":memory:" and not url.database.startswith("file:"):
        follow_file(engine, Path(url.database).absolute(), create=create)
    return engine


def _forget_connections_after_fork(engine: Engine) -> None:
    # Parent and child would talk over one socket, or close one another's locks; the warm worker forks.
    held = weakref.ref(engine)

    def forget() -> None:
        if (forked := held()) is not None:
            forked.dispose(close=False)

    os.register_at_fork(after_in_child=forget)


def _begin_sqlite(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE" if _is_writing(connection) else "BEGIN")


def _begin_postgres(connection: Connection) -> None:
    if _is_writing(connection):
        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_TIMEOUT_MS}")
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITE_LOCK})")


def _is_writing(connection: Connection) -> bool:
    return bool(connection.get_execution_options().get("begin") == "immediate")
