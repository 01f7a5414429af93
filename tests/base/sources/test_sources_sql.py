"""Databases as sources: SQLite and Postgres, by table and by query, all of it and above a watermark."""

from __future__ import annotations

import logging
import sqlite3
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from pydantic import SecretStr, ValidationError
from sqlalchemy import create_engine, text

from base.errors import DataRefused, DefinitionError
from base.extract_spec import ExtractSpec, SourceSpec
from base.settings import Settings
from base.sources.cuts import Cut
from base.sources.reading import Site, read_rows
from base.sources.retries import SourceAway, SourceFailed
from base.user_code import UserCode

_START = datetime(2024, 5, 1, tzinfo=UTC)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.db'}"
    return str(request.getfixturevalue("postgres_database"))


def _site(tmp_path: Path, url: str, **settings: Any) -> Site:
    connections = {"warehouse": SecretStr(url)}
    return Site(
        tmp_path, Settings(home=tmp_path, connections=connections, source_wait_seconds=0, **settings), UserCode({})
    )


def _fill(url: str, *statements: str) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


def _read(site: Site, tmp_path: Path, spec: SourceSpec, cut: Cut | None = None) -> pa.Table:
    into = tmp_path / "into"
    into.mkdir(exist_ok=True)
    content = read_rows(spec, site, into, cut=cut)
    assert isinstance(content, pa.Table)
    return content


def _hours(n: int) -> str:
    return ", ".join(f"({i}, '{(_START + timedelta(hours=i)).replace(tzinfo=None)}', {i / 2})" for i in range(n))


def test_a_table_and_a_query_give_the_same_rows(url: str, tmp_path: Path) -> None:
    _fill(url, "CREATE TABLE trips (id integer, at timestamp, fare numeric)", f"INSERT INTO trips VALUES {_hours(5)}")
    site = _site(tmp_path, url)

    table = _read(site, tmp_path, SourceSpec(connection="warehouse", table="trips"))
    query = _read(site, tmp_path, SourceSpec(connection="warehouse", query="SELECT * FROM trips -- all: '12:30';"))

    assert table.equals(query)
    assert table["id"].to_pylist() == [0, 1, 2, 3, 4]
    assert (table.schema.field("id").type, table.schema.field("fare").type) == (pa.int64(), pa.float64())


@pytest.mark.parametrize("column", ["at timestamp", "at date", "at text"])
def test_only_rows_above_the_watermark_are_read_however_it_is_stored(column: str, url: str, tmp_path: Path) -> None:
    _fill(url, f"CREATE TABLE trips (id integer, {column}, fare numeric)", f"INSERT INTO trips VALUES {_hours(96)}")
    _fill(url, "INSERT INTO trips VALUES (-1, NULL, 0)")
    spec = SourceSpec(connection="warehouse", query="SELECT id, at FROM trips WHERE fare >= 0 ORDER BY id")
    is_date = "date" in column and url.startswith("postgres")

    table = _read(_site(tmp_path, url), tmp_path, spec, Cut("at", _START + timedelta(hours=90)))

    assert sorted(table["id"].to_pylist()) == [-1, *([] if is_date else range(91, 96))]


def test_a_whole_number_can_be_the_watermark(url: str, tmp_path: Path) -> None:
    _fill(url, "CREATE TABLE trips (id integer, at timestamp, fare numeric)", f"INSERT INTO trips VALUES {_hours(9)}")

    spec = SourceSpec(connection="warehouse", table="trips")
    table = _read(_site(tmp_path, url), tmp_path, spec, Cut("id", 6))

    assert table["id"].to_pylist() == [7, 8]


def test_an_empty_answer_keeps_its_columns(url: str, tmp_path: Path) -> None:
    _fill(url, "CREATE TABLE trips (id integer, at timestamp, fare numeric)")

    table = _read(_site(tmp_path, url), tmp_path, SourceSpec(connection="warehouse", table="trips"))

    assert (table.num_rows, table.column_names) == (0, ["id", "at", "fare"])


def test_types_that_later_chunks_show_are_found(monkeypatch: pytest.MonkeyPatch, url: str, tmp_path: Path) -> None:
    monkeypatch.setattr("base.sources.sql.CHUNK_ROWS", 2)
    _fill(url, "CREATE TABLE t (id integer, gone text, part real)")
    _fill(url, "INSERT INTO t VALUES (1, NULL, 1), (2, NULL, 2), (3, 'a', 2.5), (4, NULL, NULL), (5, NULL, NULL)")

    table = _read(
        _site(tmp_path, url), tmp_path, SourceSpec(connection="warehouse", query="SELECT * FROM t ORDER BY id")
    )

    assert table.to_pydict() == {
        "id": [1, 2, 3, 4, 5],
        "gone": [None, None, "a", None, None],
        "part": [1.0, 2.0, 2.5, None, None],
    }


@pytest.mark.postgres
def test_every_type_of_postgres_becomes_one_of_five(postgres_database: str, tmp_path: Path) -> None:
    query = (
        "SELECT 1::smallint a, 2.50::numeric b, true c, 'x'::varchar d, date '2024-05-01' e, "
        "timestamptz '2024-05-01 02:00+02' f, interval '90 seconds' g, "
        "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'::uuid h, 'NaN'::float8 i, time '09:30' j"
    )

    table = _read(_site(tmp_path, postgres_database), tmp_path, SourceSpec(connection="warehouse", query=query))

    (row,) = table.to_pylist()
    assert list(row.values()) == [
        1,
        float(Decimal("2.5")),
        True,
        "x",
        datetime.combine(date(2024, 5, 1), datetime.min.time(), UTC),
        _START,
        90.0,
        "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
        None,
        "09:30:00",
    ]


def test_a_column_of_mixed_types_is_named(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rows.db") as connection:
        connection.execute("CREATE TABLE t (n)")
        connection.executemany("INSERT INTO t VALUES (?)", [(1,), ("old",)])
    site = _site(tmp_path, f"sqlite:///{tmp_path / 'rows.db'}")

    with pytest.raises(DataRefused, match=r"column 'n': found int '1' \(row 0\) and str 'old' \(row 1\)"):
        _read(site, tmp_path, SourceSpec(connection="warehouse", table="t"))


def test_a_query_that_writes_is_refused(url: str, tmp_path: Path) -> None:
    _fill(url, "CREATE TABLE trips (id integer)", "INSERT INTO trips VALUES (1)")

    with pytest.raises(SourceFailed, match="'warehouse' cannot be read"):
        _read(
            _site(tmp_path, url), tmp_path, SourceSpec(connection="warehouse", query="DELETE FROM trips RETURNING id")
        )
    table = _read(_site(tmp_path, url), tmp_path, SourceSpec(connection="warehouse", table="trips"))
    assert table.num_rows == 1


@pytest.mark.parametrize(("changes", "words"), [({"table": "tripz"}, "tripz"), ({"query": "SELEKT 1"}, "SELEKT")])
def test_a_wrong_query_is_no_reason_to_ask_again(changes: dict[str, str], words: str, url: str, tmp_path: Path) -> None:
    _fill(url, "CREATE TABLE trips (id integer)")

    with pytest.raises(SourceFailed, match=words):
        _read(_site(tmp_path, url), tmp_path, SourceSpec(connection="warehouse", **changes))


def test_a_connection_that_the_settings_do_not_have_is_named(tmp_path: Path) -> None:
    with pytest.raises(DefinitionError, match=r"'wharehouse' is not in EVERFIT_CONNECTIONS.*mean 'warehouse'"):
        _read(_site(tmp_path, "sqlite://"), tmp_path, SourceSpec(connection="wharehouse", table="t"))


@pytest.mark.parametrize(
    "address",
    [
        "postgresql+psycopg://me:hush-hush@127.0.0.1:9/sales",
        "postgresql+psycopg://me:hush%2Dhush@127.0.0.1:9/sales",
    ],
)
def test_a_database_that_is_away_is_named_and_its_password_is_not(
    address: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    pytest.importorskip("psycopg")
    site = _site(tmp_path, address, source_tries=2)

    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(SourceAway, match=r"'warehouse' is away.*asked 2 times") as caught,
    ):
        _read(site, tmp_path, SourceSpec(connection="warehouse", table="t"))

    said = f"{caught.value!r} {caught.value} {caplog.text}"
    assert "hush" not in said
    assert caught.value.__suppress_context__


@pytest.mark.parametrize(
    "document",
    [
        {"source": "s3://key:hush-hush@bucket/rows.parquet"},
        {"source": "https://host/rows.csv?sig=hush-hush"},
        {"connection": "postgresql://me:hush-hush@host/sales", "table": "t"},
        {"sources": {"a": {"source": "https://me:hush-hush@host/a.csv"}}, "main": "a"},
    ],
)
def test_a_definition_with_a_password_is_refused_without_repeating_it(document: dict[str, Any], tmp_path: Path) -> None:
    from tests.pipelines import define, make_pipeline

    with pytest.raises(DefinitionError, match="EVERFIT_CONNECTIONS") as caught:
        make_pipeline(tmp_path / "trips", None, define(extract=document))

    assert "hush-hush" not in str(caught.value)


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "expected a source"),
        ({"source": "a.csv", "connection": "w", "table": "t"}, "not both"),
        ({"connection": "w"}, "needs one of 'query' and 'table'"),
        ({"query": "SELECT 1"}, "need 'connection'"),
        ({"source": "a.csv", "sources": {"b": {"source": "b.csv"}}, "main": "b"}, "not both"),
        ({"sources": {"b": {"source": "b.csv"}}}, "'main' is missing"),
        ({"sources": {"a": {"source": "a.csv"}, "b": {"source": "b.csv"}}, "main": "a"}, "neither main nor joined"),
        ({"source": "a.csv", "join": [{"source": "b", "on": "id"}]}, "no 'sources'"),
    ],
)
def test_sources_that_do_not_fit_together_are_refused(document: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        ExtractSpec.model_validate(document)
