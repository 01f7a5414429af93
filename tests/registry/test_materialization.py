"""Materialising feature views: each event once, late and corrected ones too, whoever dies and whoever else does it."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from base.errors import DataRefused, UserCodeError
from base.references import Rows
from base.settings import Settings
from features.declarations import DeclaredView, read_views
from features.online_store import OnlineStore, entity_key
from registry.feature_views import find_rows, list_views
from registry.materialization import Materialized, materialize_view
from registry.store import Registry

_START = datetime(2024, 1, 1, tzinfo=UTC)
_VIEW = """
name: stock
entity: {name: product, keys: [sku]}
source: stock.parquet
time: at
features: {pieces: {type: integer, unit: pieces}}
"""


@pytest.fixture
def online(any_settings: Settings) -> Iterator[OnlineStore]:
    store = OnlineStore.from_settings(any_settings)
    yield store
    store.close()


def _write(folder: Path, events: list[tuple[str | None, int | None, int | None]]) -> DeclaredView:
    frame = pd.DataFrame(events, columns=["sku", "at", "pieces"])
    frame["at"] = [None if pd.isna(hour) else _START + timedelta(hours=int(hour)) for hour in frame["at"]]
    frame["pieces"] = frame["pieces"].astype("Int64")
    frame.to_parquet(folder / "stock.parquet")
    (folder / "features").mkdir(exist_ok=True)
    if not (folder / "features" / "stock.yaml").exists():
        (folder / "features" / "stock.yaml").write_text(_VIEW)
    return read_views(folder)["stock"]


def _online(store: OnlineStore, declared: DeclaredView, sku: str) -> Any:
    key = entity_key([sku])
    found = store.read(declared.digest, [key])
    return found[key].features["pieces"] if key in found else None


def test_only_new_events_are_stored_and_an_older_one_never_replaces_a_newer_online(
    any_registry: Registry, online: OnlineStore, tmp_path: Path
) -> None:
    events: list[tuple[str | None, int | None, int | None]] = [("a", 1, 10), ("b", 1, 20)]
    first = materialize_view(any_registry, online, _write(tmp_path, events))
    again = materialize_view(any_registry, online, _write(tmp_path, events))
    declared = _write(tmp_path, [*events, ("a", 0, 5), ("b", 1, 21), ("c", 3, 1)])
    late = materialize_view(any_registry, online, declared)

    assert [one.n_new for one in (first, again, late)] == [2, 0, 3]
    assert (late.n_rows, late.n_keys) == (5, 3)
    assert [_online(online, declared, sku) for sku in "abc"] == [10, 21, 1]
    rows = find_rows(any_registry, "stock", declared.digest)
    assert rows is not None
    assert len(rows.segments) == 2


def test_events_after_until_wait_for_the_next_time(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    online = OnlineStore.from_settings(settings)
    declared = _write(tmp_path, [("a", 1, 10), ("a", 5, 50)])

    early = materialize_view(registry, online, declared, until=_START + timedelta(hours=2))
    assert (early.n_new, _online(online, declared, "a")) == (1, 10)

    late = materialize_view(registry, online, declared)
    assert (late.n_new, _online(online, declared, "a")) == (1, 50)


def test_with_a_lateness_older_events_are_not_looked_for(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    online = OnlineStore.from_settings(settings)
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "stock.yaml").write_text(f"{_VIEW}lateness: 2 hours\n")
    materialize_view(registry, online, _write(tmp_path, [("a", 10, 1)]))

    done = materialize_view(registry, online, _write(tmp_path, [("a", 10, 1), ("a", 8, 2), ("a", 7, 3)]))

    assert done.n_new == 1


def test_rows_without_a_key_or_a_time_are_left_out_and_counted(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    online = OnlineStore.from_settings(settings)

    done = materialize_view(registry, online, _write(tmp_path, [("a", 1, 1), (None, 1, 1), ("a", None, 1)]))

    assert (done.n_rows, done.n_left_out) == (1, 2)


def test_a_death_between_the_stores_is_mended_by_the_next_materialisation(
    registry: Registry, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    online = OnlineStore.from_settings(settings)
    declared = _write(tmp_path, [("a", 1, 10)])

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("registry.materialization._fill_online", die)
        with pytest.raises(KeyboardInterrupt):
            materialize_view(registry, online, declared)
    assert _online(online, declared, "a") is None

    done = materialize_view(registry, online, declared)

    assert (done.n_new, done.n_rows, _online(online, declared, "a")) == (0, 1, 10)


def test_an_online_store_that_was_lost_is_filled_again(registry: Registry, settings: Settings, tmp_path: Path) -> None:
    declared = _write(tmp_path, [("a", 1, 10)])
    lost = OnlineStore.from_settings(settings)
    materialize_view(registry, lost, declared)
    lost.close()
    other = OnlineStore(f"sqlite:///{tmp_path / 'other.db'}")

    materialize_view(registry, other, declared)

    assert _online(other, declared, "a") == 10


def test_two_at_once_store_each_event_once(any_registry: Registry, online: OnlineStore, tmp_path: Path) -> None:
    declared = _write(tmp_path, [(f"product {number % 50}", number, number) for number in range(500)])

    def materialize(_: int) -> Materialized:
        return materialize_view(any_registry, online, declared)

    with ThreadPoolExecutor(4) as pool:
        done = list(pool.map(materialize, range(4)))

    assert sum(one.n_new for one in done) == 500
    assert {one.n_rows for one in done} == {500}
    assert _online(online, declared, "product 7") == 457
    with any_registry.database.read() as session:
        (row,) = list_views(session)
    assert (row.n_rows, row.n_online) == (500, len(Rows.model_validate(row.rows).segments))


def test_another_declaration_begins_another_history_and_words_do_not(
    registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    online = OnlineStore.from_settings(settings)
    file = tmp_path / "features" / "stock.yaml"
    first = _write(tmp_path, [("a", 1, 10)])
    materialize_view(registry, online, first)

    file.write_text(f"{_VIEW}owner: shop@example.com\nfreshness: 1 day\n")
    reworded = read_views(tmp_path)["stock"]
    file.write_text(_VIEW.replace("type: integer", "type: number"))
    retyped = read_views(tmp_path)["stock"]

    assert reworded.digest == first.digest
    assert materialize_view(registry, online, reworded).n_new == 0
    assert retyped.digest != first.digest
    assert materialize_view(registry, online, retyped).n_new == 1


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (("pieces:", "peces:"), DataRefused, "'peces': found no such column.*did you mean 'pieces'"),
        (("type: integer", "type: text"), DataRefused, "'pieces': found int64, expected text"),
        (("time: at", "time: att"), DataRefused, "did you mean 'at'"),
        (("stock.parquet", "stock:load"), UserCodeError, "KeyError: 'x' \\(stock.py, line 2\\)"),
    ],
)
def test_a_source_that_is_not_as_declared_is_refused(
    registry: Registry,
    settings: Settings,
    tmp_path: Path,
    change: tuple[str, str],
    error: type[Exception],
    message: str,
) -> None:
    _write(tmp_path, [("a", 1, 10)])
    (tmp_path / "stock.py").write_text("def load():\n    return {}['x']\n")
    (tmp_path / "features" / "stock.yaml").write_text(_VIEW.replace(*change))

    with pytest.raises(error, match=message):
        materialize_view(registry, OnlineStore.from_settings(settings), read_views(tmp_path)["stock"])
    with registry.database.read() as session:
        assert list_views(session) == []
