"""Feature views whose rows come from a database, by a connection that the settings name; and what they hide."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from pydantic import SecretStr
from sqlalchemy import create_engine, text

from base.errors import DefinitionError
from base.references import Rows
from base.rows.personal import hash_value, personal_key
from base.settings import Settings
from features.declarations import DeclaredView, read_views
from features.online_store import OnlineStore, entity_key
from registry.feature_views import find_rows
from registry.materialization import materialize_view
from registry.store import Registry

_START = datetime(2024, 5, 1, tzinfo=UTC)
_VIEW = """
name: customers
entity: {name: customer, keys: [customer]}
connection: warehouse
table: customers
time: since
lateness: 1 day
features:
  visits: {type: integer}
  city: {type: text}
"""


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The URL of an empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'rows.db'}"
    return str(request.getfixturevalue("postgres_database"))


def _insert(url: str, *rows: tuple[str, int, int, str]) -> None:
    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(
            text("CREATE TABLE IF NOT EXISTS customers (customer text, since timestamp, visits integer, city text)")
        )
        for customer, hour, visits, city in rows:
            values = {"c": customer, "s": str((_START + timedelta(hours=hour)).replace(tzinfo=None)), "v": visits}
            statement = "INSERT INTO customers VALUES (:c, CAST(:s AS timestamp), :v, :t)"
            if url.startswith("sqlite"):
                statement = "INSERT INTO customers VALUES (:c, :s, :v, :t)"
            connection.execute(text(statement), values | {"t": city})
    engine.dispose()


def _declare(folder: Path, view: str = _VIEW) -> DeclaredView:
    (folder / "features").mkdir(exist_ok=True)
    (folder / "features" / "customers.yaml").write_text(view)
    return read_views(folder)["customers"]


def _settings(tmp_path: Path, url: str) -> Settings:
    return Settings(home=tmp_path / "home", connections={"warehouse": SecretStr(url)}, source_wait_seconds=0)


@pytest.mark.parametrize("place", ["table: customers", 'query: "SELECT * FROM customers WHERE visits >= 0"'])
def test_a_table_or_query_is_materialised_and_only_what_may_be_new_is_asked_for(
    url: str, place: str, registry: Registry, tmp_path: Path
) -> None:
    settings = _settings(tmp_path, url)
    online = OnlineStore(f"sqlite:///{tmp_path / 'online.db'}")
    declared = _declare(tmp_path, _VIEW.replace("table: customers", place))
    _insert(url, ("ann", 0, 1, "Oslo"), ("bob", 50, 2, "Rome"))
    first = materialize_view(registry, online, declared, settings=settings)
    # Of these, the second is no later than the lateness allows, and the first one is.
    _insert(url, ("ann", 20, 7, "Oslo"), ("ann", 26, 3, "Oslo"), ("bob", 51, 4, "Rome"))

    second = materialize_view(registry, online, declared, settings=settings)

    assert (first.n_new, second.n_new, second.n_keys) == (2, 2, 2)
    found = online.read(declared.digest, [entity_key(["ann"]), entity_key(["bob"])])
    assert {key: value.features["visits"] for key, value in found.items()} == {'["ann"]': 3, '["bob"]': 4}


def test_personal_keys_and_features_are_hashed_or_dropped_before_anything_is_stored(
    registry: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = f"sqlite:///{tmp_path / 'rows.db'}"
    settings = _settings(tmp_path, url)
    view = _VIEW.replace("keys: [customer]", "keys: [customer], personal: [customer]")
    view = view.replace("city: {type: text}", "city: {type: text, personal: hash}")
    view = view.replace("visits: {type: integer}", "visits: {type: integer, personal: drop}")
    _insert(url, ("zebra-1", 0, 770077, "zebratown"))
    online = OnlineStore(f"sqlite:///{settings.home / 'online.db'}")
    declared = _declare(tmp_path, view)

    materialize_view(registry, online, declared, settings=settings)

    key = personal_key(settings)
    name = entity_key([hash_value("zebra-1", key)])
    (value,) = online.read(declared.digest, [name]).values()
    assert value.features == {"city": hash_value("zebratown", key)}
    rows = find_rows(registry, "customers", declared.digest)
    assert rows is not None
    online.close()
    kept = b"".join(file.read_bytes() for file in settings.home.rglob("*") if file.is_file()) + _events(registry, rows)
    for secret in ("zebra-1", "zebratown", "770077"):
        assert secret.encode() not in kept
        assert secret not in caplog.text
    assert declared.digest != _declare(tmp_path).digest


def _events(registry: Registry, rows: Rows) -> bytes:
    return b"".join(
        repr(pq.read_table(registry.artifacts.local_path(segment.artifact)).to_pydict()).encode()
        for segment in rows.segments
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("connection: warehouse\n", ""), "'query' and 'table' need 'connection'"),
        (("table: customers", "table: customers\nsource: customers.csv"), "give either 'source' or 'connection'"),
        (("connection: warehouse", "connection: 'postgresql://me:hush@db/x'"), "holds a password"),
        (("keys: [customer]", "keys: [customer], personal: [name]"), "personal names 'name', expected keys: customer"),
    ],
)
def test_a_wrong_place_is_named_and_no_password_is_told(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(DefinitionError, match=message) as caught:
        _declare(tmp_path, _VIEW.replace(*change))

    assert "hush" not in str(caught.value)


def test_a_password_in_python_is_not_told_either(tmp_path: Path) -> None:
    (tmp_path / "feature_views.py").write_text(
        "from features.entities import Entity\nfrom features.views import Feature, FeatureView\n"
        "view = FeatureView(name='v', entity=Entity(name='e', keys=['k']), source='https://me:hush@x.org/a.csv',\n"
        "    time='at', features={'f': Feature(type='text')})\n"
    )

    with pytest.raises(DefinitionError, match="this holds a password") as caught:
        read_views(tmp_path)
    assert "hush" not in str(caught.value)


def test_a_connection_that_there_is_not_is_named(registry: Registry, tmp_path: Path) -> None:
    online: Any = OnlineStore(f"sqlite:///{tmp_path / 'online.db'}")

    with pytest.raises(DefinitionError, match="connection 'warehouse' is not in EVERFIT_CONNECTIONS"):
        materialize_view(registry, online, _declare(tmp_path), settings=Settings(home=tmp_path))
