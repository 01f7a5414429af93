"""Engine, transactions and migrations: SQLite in WAL mode by default, Postgres by URL."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    Connection,
    DateTime,
    Dialect,
    Engine,
    Insert,
    Table,
    inspect,
    text,
)
from sqlalchemy.exc import DBAPIError
from sqlalchemy.types import TypeDecorator, TypeEngine
from sqlmodel import Session, SQLModel

from base.database_troubles import (
    DatabaseAway,
    DatabaseBusy,
    DatabaseUnavailable,
    explain_trouble,
    passes_with_time,
)
from base.documents import as_document
from base.engines import make_engine, parse_url, sqlite_file
from base.sqlite_files import BUSY_TIMEOUT_MS, sync_log
from base.times import as_utc

__all__ = [
    "Database",
    "DatabaseAway",
    "DatabaseBusy",
    "DatabaseUnavailable",
    "JsonDocument",
    "UtcDateTime",
    "insert_row",
]


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
        self.url = parse_url(url)
        self.known = dict(known or {})
        self.engine = make_engine(self.url, create=create)
        self._file = sqlite_file(self.url)
        sync = "with the commit" if self._file is None else "afterwards"
        self._reading, self._writing = self.engine, self.engine.execution_options(begin="immediate", sync=sync)
        if self.engine.dialect.name == "postgresql":
            self._reading = self.engine.execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)
            # A server may have another default, under which what is read is as old as the wait for the turn.
            self._writing = self._writing.execution_options(isolation_level="READ COMMITTED")

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Give a session that reads a consistent state and writes nothing.

        What was read stays readable afterwards: closing lets the rows go as they are, a rollback would empty them.
        """
        with self._explained(), Session(self._reading, expire_on_commit=False, autoflush=False) as session:
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
        with self._explained(), self._take_turn(self._writing) as connection:
            with Session(connection, expire_on_commit=False, info=self.known) as session:
                yield session
                session.flush()
            connection.commit()
            self._sync()

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
                if not passes_with_time(error) or time.monotonic() > deadline:
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
            with self._take_turn(self._writing) as connection:
                found = _find_revision(connection)
                if found is not None and found not in revisions:
                    raise DatabaseUnavailable(
                        self.url, f"has revision {found!r} of a newer Everfit, expected at most {max(revisions)!r}"
                    )
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                connection.commit()
                self._sync()

    def close(self) -> None:
        """Give back every connection."""
        self.engine.dispose()

    def _sync(self) -> None:
        """Let what was committed outlast a loss of power, before anybody is told of it."""
        if self._file is not None:
            try:
                sync_log(self._file)
            except OSError as error:
                raise DatabaseUnavailable(self.url, f"did not keep what was written ({error.strerror})") from error

    def _revision(self) -> str | None:
        with self.engine.connect() as connection:
            return _find_revision(connection)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except DBAPIError as error:
            if (explained := explain_trouble(self.url, error)) is not None:
                raise explained from error
            raise


def insert_row(session: Session, row: SQLModel) -> None:
    """Write a row that is whole and to which nothing else in the session refers.

    It costs a quarter of what the session's own bookkeeping does, which looks at every object that it holds.
    """
    table = type(row).__table__  # type: ignore[attr-defined]
    session.connection().execute(
        _insert_into(table), {column.name: getattr(row, column.name) for column in table.columns}
    )


@cache
def _insert_into(table: Table) -> Insert:
    return table.insert()


def _find_revision(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    found = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    return None if found is None else str(found)
