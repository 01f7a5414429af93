"""Claims about transactions, migrations and types, on SQLite and on Postgres."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as cases
from hypothesis import strategies as st
from sqlalchemy import Column, Connection, Integer, MetaData, Table, insert, inspect, select, text
from sqlmodel import SQLModel

from base.database import Database, DatabaseBusy, DatabaseUnavailable, JsonDocument, UtcDateTime
from base.errors import ArgumentError
from base.settings import Settings
from registry import tables
from registry.store import MIGRATIONS, Registry
from tests.processes import run_at_once

_SCRATCH = Table(
    "scratch",
    MetaData(),
    Column("id", Integer, primary_key=True),
    Column("moment", UtcDateTime),
    Column("document", JsonDocument),
)

_EARLIEST, _LATEST = datetime(1, 1, 3), datetime(9999, 12, 29)  # noqa: DTZ001  (hypothesis adds the zones)


@pytest.fixture
def scratch(any_settings: Settings) -> Database:
    database = Database(any_settings.database)
    with database.write() as session:
        _SCRATCH.create(session.connection())
    return database


def _keep(database: Database, **values: Any) -> Any:
    """Write one row and read it back."""
    with database.write() as session:
        found = session.connection().execute(insert(_SCRATCH).values(**values).returning(_SCRATCH.c.id)).scalar_one()
    with database.read() as session:
        return session.connection().execute(select(_SCRATCH).where(_SCRATCH.c.id == found)).one()


@cases(max_examples=40)
@given(
    moment=st.datetimes(
        # The first and the last days have no name in every zone.
        min_value=_EARLIEST,
        max_value=_LATEST,
        timezones=st.none() | st.sampled_from([UTC, timezone(timedelta(hours=14)), timezone(-timedelta(hours=11))]),
    )
)
def test_a_moment_comes_back_in_utc(scratch: Database, moment: datetime) -> None:
    found = _keep(scratch, moment=moment).moment

    assert found == (moment if moment.tzinfo else moment.replace(tzinfo=UTC))
    assert found.utcoffset() == timedelta(0)


def test_no_moment_comes_back_as_none(scratch: Database) -> None:
    assert _keep(scratch, moment=None).moment is None


def test_what_is_no_number_is_null_on_both_databases(scratch: Database) -> None:
    found = _keep(scratch, document={"auc": math.nan, "losses": [math.inf, -math.inf, 0.5]}).document

    assert found == {"auc": None, "losses": [None, None, 0.5]}


def test_text_that_postgres_would_refuse_is_replaced_on_both(scratch: Database) -> None:
    assert _keep(scratch, document={"a\0b": "\ud800 ß 😀"}).document == {"a\ufffdb": "\ufffd ß 😀"}


def test_the_schema_of_the_migrations_is_the_schema_of_the_tables(any_registry: Registry) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    with any_registry.database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"target_metadata": SQLModel.metadata})

        assert compare_metadata(context, SQLModel.metadata) == []


def test_every_foreign_key_of_the_tables_is_in_the_schema(any_registry: Registry) -> None:
    inspector = inspect(any_registry.database.engine)

    for table in SQLModel.metadata.tables.values():
        found = {tuple(key["constrained_columns"]) for key in inspector.get_foreign_keys(table.name)}
        assert found == {tuple(key.column_keys) for key in table.foreign_key_constraints}


def test_a_migration_can_be_taken_back(any_registry: Registry) -> None:
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    with any_registry.database.engine.begin() as connection:
        config.attributes["connection"] = connection
        command.downgrade(config, "base")

    assert inspect(any_registry.database.engine).get_table_names() == ["alembic_version"]
    any_registry.database.migrate(MIGRATIONS)
    assert tables.Run.__tablename__ in inspect(any_registry.database.engine).get_table_names()


def test_processes_that_start_at_once_migrate_once(any_settings: Settings) -> None:
    def start(_number: int) -> int:
        database = Database(any_settings.database)
        database.migrate(MIGRATIONS)
        with database.read() as session:
            return int(session.connection().execute(text("SELECT count(*) FROM alembic_version")).scalar_one())

    assert run_at_once(8, start) == [1] * 8


def test_a_migration_that_fails_leaves_nothing(any_settings: Settings, tmp_path: Path) -> None:
    versions = tmp_path / "migrations" / "versions"
    versions.mkdir(parents=True)
    (versions.parent / "env.py").write_text((MIGRATIONS / "env.py").read_text())
    (versions / "0001_broken.py").write_text(
        "from alembic import op\nrevision, down_revision = '0001', None\n"
        "def upgrade():\n    op.execute('CREATE TABLE half (id INTEGER)')\n    raise RuntimeError('power cut')\n"
    )
    database = Database(any_settings.database)

    with pytest.raises(RuntimeError, match="power cut"):
        database.migrate(versions.parent)
    assert inspect(database.engine).get_table_names() == []


def test_the_database_of_a_newer_everfit_is_refused(any_registry: Registry) -> None:
    with any_registry.database.write() as session:
        session.connection().execute(text("UPDATE alembic_version SET version_num = '9999'"))

    with pytest.raises(DatabaseUnavailable, match=r"has revision '9999' of a newer Everfit, expected at most '0\d+'"):
        any_registry.database.migrate(MIGRATIONS)


def test_writers_that_read_first_take_turns(scratch: Database) -> None:
    _keep(scratch, document={"count": 0})

    def count_up(_number: int) -> None:
        for _ in range(10):
            with scratch.write() as session:
                counted = session.connection().execute(select(_SCRATCH.c.document)).scalar_one()["count"]
                session.connection().execute(_SCRATCH.update().values(document={"count": counted + 1}))

    assert run_at_once(8, count_up) == [None] * 8
    with scratch.read() as session:
        assert session.connection().execute(select(_SCRATCH.c.document)).scalar_one() == {"count": 80}


def test_a_writer_that_raises_changes_nothing(scratch: Database) -> None:
    def write_and_fail() -> None:
        with scratch.write() as session:
            session.connection().execute(insert(_SCRATCH).values(document={}))
            raise ArgumentError("changed my mind")

    with pytest.raises(ArgumentError, match="changed my mind"):
        write_and_fail()
    with scratch.read() as session:
        assert session.connection().execute(select(_SCRATCH)).all() == []


def test_a_reader_sees_one_moment(scratch: Database) -> None:
    def count(connection: Connection) -> int:
        return len(connection.execute(select(_SCRATCH.c.id)).all())

    with scratch.read() as session:
        before = count(session.connection())
        _keep(scratch, document={})

        assert count(session.connection()) == before == 0
    with scratch.read() as session:
        assert count(session.connection()) == 1


def test_a_reader_does_not_hold_a_writer_up(scratch: Database) -> None:
    with scratch.read() as session:
        session.connection().execute(select(_SCRATCH)).all()

        assert _keep(scratch, document={"written": True}).document == {"written": True}


def test_a_writer_whose_turn_does_not_come_is_told(any_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("base.database.BUSY_TIMEOUT_MS", 100)
    monkeypatch.setattr("base.engines.BUSY_TIMEOUT_MS", 100)
    monkeypatch.setattr("base.sqlite_files.BUSY_TIMEOUT_MS", 100)
    first, second = Database(any_settings.database), Database(any_settings.database)

    with first.write(), pytest.raises(DatabaseBusy, match="nothing was changed"), second.write():
        pytest.fail("two writers at once")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("my secret", "is no URL; expected one like"),
        ("mysql://me:secret@host/name", "names 'mysql'; expected 'sqlite' or 'postgresql'"),
        ("postgresql+asyncpg://me:secret@host/name", r"names 'postgresql\+asyncpg'; expected"),
    ],
)
def test_a_wrong_url_is_refused_without_its_password(url: str, message: str) -> None:
    with pytest.raises(ArgumentError, match=message) as caught:
        Database(url)
    assert "secret" not in str(caught.value)


def test_a_server_that_does_not_answer_is_named_without_its_password() -> None:
    database = Database("postgresql://me:secret@127.0.0.1:1/name?connect_timeout=2")

    with pytest.raises(DatabaseUnavailable, match=r"me:\*\*\*@127.0.0.1:1/name.* cannot be opened .*refused"):
        database.migrate(MIGRATIONS)


@pytest.mark.postgres
def test_a_database_that_is_not_there_is_named(postgres_url: str) -> None:
    with pytest.raises(DatabaseUnavailable, match='database "nowhere" does not exist'):
        Database(f"{postgres_url}/nowhere").migrate(MIGRATIONS)


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    (tmp_path / "everfit.db").write_text("a letter to my aunt, long enough to be no header of SQLite's " * 20)

    with pytest.raises(DatabaseUnavailable, match=r"everfit.db.* cannot be opened \(file is not a database\)"):
        Database(f"sqlite:///{tmp_path}/everfit.db").migrate(MIGRATIONS)


def test_a_home_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file where the folder should be")

    with pytest.raises(DatabaseUnavailable, match="has no folder, and none can be made"):
        Database(f"sqlite:///{tmp_path}/home/everfit.db")


def test_a_child_does_not_use_its_parents_connections(scratch: Database) -> None:
    with scratch.read() as session:
        session.connection().execute(select(_SCRATCH)).all()

        run_at_once(2, lambda number: _keep(scratch, document={"child": number}))
        session.connection().execute(select(_SCRATCH)).all()
    with scratch.read() as session:
        assert len(session.connection().execute(select(_SCRATCH)).all()) == 2


def _take_away(database: Database) -> Callable[[], None]:
    """Rename a database's files, and return what renames them back."""
    folder = Path(str(database.url.database)).parent
    aside = folder / "aside"
    aside.mkdir()
    for path in folder.glob("*.db*"):
        path.rename(aside / path.name)

    def give_back() -> None:
        for path in aside.iterdir():
            path.replace(folder / path.name)

    return give_back


def test_a_file_that_is_away_is_neither_used_by_open_connections_nor_made_anew_and_is_found_again(
    tmp_path: Path,
) -> None:
    database = Database(f"sqlite:///{tmp_path / 'some.db'}")
    with database.write() as session:
        session.connection().execute(text("CREATE TABLE thing (id INTEGER)"))
    give_back = _take_away(database)

    for way_in in (database.read, database.write, database.read):
        with pytest.raises(DatabaseUnavailable, match="unable to open"), way_in() as session:
            session.connection().execute(text("SELECT count(*) FROM thing"))
    made = list(tmp_path.glob("*.db*"))
    give_back()

    assert made == []
    for _ in range(3):
        with database.read() as session:
            assert session.connection().execute(text("SELECT count(*) FROM thing")).scalar() == 0
    database.close()


def test_who_may_not_create_finds_no_database_and_leaves_none(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'volume' / 'some.db'}", create=False)

    with pytest.raises(DatabaseUnavailable, match="unable to open"):
        database.migrate(MIGRATIONS)
    assert list(tmp_path.iterdir()) == []
    database.close()
