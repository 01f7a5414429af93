"""Increments: whatever happens at the source, what has grown is what a full extraction would read."""

from __future__ import annotations

import os
import shutil
import sqlite3
import traceback
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from base.artifacts import ArtifactMissing, ArtifactStore
from base.errors import DataRefused, DefinitionError
from base.pipeline import Pipeline
from base.references import Snapshot
from base.rows.compaction import MOST_SMALL, compact_rows
from base.rows.reading import load_rows
from base.settings import Settings
from base.sources.retries import SourceAway
from base.user_code import UserCode
from registry.runs import list_runs
from registry.store import open_registry
from tasks.extraction import extract_rows
from tasks.run_record import keep_run
from tasks.snapshot_growth import Earlier, Extraction
from tests.pipelines import define, make_pipeline, make_trips

_START = datetime(2024, 5, 1, tzinfo=UTC)
_LATENESS = 24

# What happens between two extractions: rows come in, some late; known ones are corrected, taken out, or,
# where they have a key, moved to the newest moment, however old they are.
_days = st.lists(
    st.tuples(
        st.lists(st.integers(-_LATENESS + 1, 30), max_size=5),
        st.lists(st.tuples(st.integers(0, 30), st.integers(0, 3)), max_size=3),
        st.sets(st.integers(0, 30), max_size=1),
        st.sets(st.integers(0, 30), max_size=2),
    ),
    min_size=1,
    max_size=4,
)


class Warehouse:
    """A table whose rows are written by the hour they happened, counted from the newest one there."""

    def __init__(self, folder: Path) -> None:
        self.file = folder / "rows.db"
        self.file.unlink(missing_ok=True)
        self.connection = sqlite3.connect(self.file)
        self.connection.execute("CREATE TABLE trips (id INTEGER, at TEXT, distance REAL, late INTEGER)")
        self.n_rows = 0

    def insert(self, hour: int, distance: float = 1.0) -> None:
        moment = (_START + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S")
        self.connection.execute("INSERT INTO trips VALUES (?, ?, ?, 0)", (self.n_rows, moment, distance))
        self.connection.commit()
        self.n_rows += 1

    def correct(self, number: int, distance: float, since: int) -> None:
        moment = (_START + timedelta(hours=since)).strftime("%Y-%m-%d %H:%M:%S")
        self.connection.execute("UPDATE trips SET distance = ? WHERE id = ? AND at > ?", (distance, number, moment))
        self.connection.commit()

    def remove(self, number: int, since: int) -> None:
        moment = (_START + timedelta(hours=since)).strftime("%Y-%m-%d %H:%M:%S")
        self.connection.execute("DELETE FROM trips WHERE id = ? AND at > ?", (number, moment))
        self.connection.commit()

    def move(self, number: int, hour: int) -> None:
        moment = (_START + timedelta(hours=hour)).strftime("%Y-%m-%d %H:%M:%S")
        self.connection.execute("UPDATE trips SET at = ?, late = 1 WHERE id = ?", (moment, number))
        self.connection.commit()


def _define(folder: Path, *, key: list[str]) -> Pipeline:
    extract = {
        "connection": "warehouse",
        "table": "trips",
        "incremental": {"watermark": "at", "lateness": f"{_LATENESS} hours", "key": key},
    }
    return make_pipeline(folder / "trips", None, define(extract=extract), contract=None)


@pytest.mark.slow
@settings(max_examples=10)
@given(days=_days, keyed=st.booleans(), most_small=st.integers(0, 3))
def test_what_has_grown_is_what_a_full_extraction_reads(
    tmp_path_factory: pytest.TempPathFactory, days: list[Any], keyed: bool, most_small: int
) -> None:
    folder = tmp_path_factory.mktemp("grown")
    warehouse, pipeline = Warehouse(folder), _define(folder, key=["id"] if keyed else [])
    artifacts = ArtifactStore(str(folder / "store"))
    newest = 0
    warehouse.insert(0)
    warehouse.insert(0)
    earlier = _extract(pipeline, artifacts, warehouse)

    for hours, corrections, removals, moves in days:
        since = newest - _LATENESS
        for number, distance in corrections:
            warehouse.correct(number, distance, since)
        for number in removals:
            warehouse.remove(number, since)
        for hour in hours:
            warehouse.insert(newest + hour)
        # The watermark never goes back: a source of which all new rows were taken out is no growing one.
        warehouse.insert(newest := newest + max([0, *hours]))
        for number in moves if keyed else ():
            warehouse.move(number, newest)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tasks.snapshot_growth.compact_rows", partial(compact_rows, most_small=most_small))
            grown = _extract(pipeline, artifacts, warehouse, earlier)
        assert _rows(artifacts, grown.snapshot) == _rows(artifacts, _extract(pipeline, artifacts, warehouse).snapshot)
        earlier = grown
    warehouse.connection.close()
    shutil.rmtree(folder)


@pytest.mark.parametrize("key", [["id"], ["name"]], ids=["numbers", "texts"])
def test_an_increment_opens_no_segment_that_it_cannot_change(tmp_path: Path, key: list[str]) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=key)
    warehouse.connection.execute(
        "ALTER TABLE trips ADD COLUMN name TEXT GENERATED ALWAYS AS ('trip ' || (id * 7)) VIRTUAL"
    )
    artifacts = ArtifactStore(str(tmp_path / "store"))
    earlier = None
    for day in range(4):
        for hour in range(24):
            warehouse.insert(day * 24 + hour)
        earlier = _extract(pipeline, artifacts, warehouse, earlier)
    assert earlier is not None
    oldest, _, _, newest = earlier.snapshot.rows.segments
    away = Path(artifacts.url, oldest.artifact.key)
    away.rename(tmp_path / "away.parquet")

    warehouse.insert(96)
    grown = _extract(pipeline, artifacts, warehouse, earlier)
    warehouse.move(3, 97)
    with pytest.raises(ArtifactMissing):
        _extract(pipeline, artifacts, warehouse, grown)
    (tmp_path / "away.parquet").rename(away)
    moved = _extract(pipeline, artifacts, warehouse, grown)

    assert grown.counts["new"] == 1
    assert grown.snapshot.rows.segments[:4] == (*earlier.snapshot.rows.segments[:3], newest)
    assert moved.counts["corrected"] == 1
    assert moved.snapshot.rows.segments[0].n_dropped == 1


def test_many_small_segments_are_merged_before_the_next_one(tmp_path: Path) -> None:
    pipeline, artifacts = _folder(tmp_path), ArtifactStore(str(tmp_path / "store"))
    days = [_grow(pipeline, artifacts)]
    for number in range(MOST_SMALL):
        _write(tmp_path, f"day-{number:02}", 60 + number, 1)
        days.append(_grow(pipeline, artifacts, days[-1]))
    before = days[-1]
    _write(tmp_path, "next", 100, 5)

    grown = _grow(pipeline, artifacts, before)

    assert all(day.compacted is None for day in days)
    assert grown.compacted is not None
    merged = grown.compacted.snapshot
    assert [len(one.rows.segments) for one in (before.snapshot, merged, grown.snapshot)] == [MOST_SMALL + 1, 1, 2]
    assert (merged.parent, grown.snapshot.parent) == (before.snapshot.digest, merged.digest)
    assert load_rows(artifacts, merged.rows).equals(load_rows(artifacts, before.snapshot.rows))
    assert _rows(artifacts, grown.snapshot) == _rows(artifacts, _grow(pipeline, artifacts).snapshot)


def test_a_lateness_beside_whole_numbers_is_refused(tmp_path: Path) -> None:
    extract = {"source": "data.parquet", "incremental": {"watermark": "number", "lateness": "1 day"}}
    rows = make_trips(30).assign(number=range(30))
    pipeline = make_pipeline(tmp_path / "trips", rows, define(extract=extract), contract=None)

    with pytest.raises(DefinitionError, match="watermark 'number' holds whole numbers, such as 29, and a lateness of"):
        _grow(pipeline, ArtifactStore(str(tmp_path / "store")))


def test_a_run_says_what_was_new_late_and_corrected(tmp_path: Path) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=["id"])
    artifacts = ArtifactStore(str(tmp_path / "store"))
    for hour in range(100):
        warehouse.insert(hour)
    first = _extract(pipeline, artifacts, warehouse)
    warehouse.insert(100)
    warehouse.insert(101)
    warehouse.insert(90)
    warehouse.correct(95, 7.5, 0)
    warehouse.remove(94, 0)
    # Older than the lateness: it is read with the next full extraction.
    warehouse.insert(10)

    second = _extract(pipeline, artifacts, warehouse, first)

    assert first.counts == {"read": 100, "new": 100}
    assert second.counts == {"read": 26, "new": 2, "late": 1, "corrected": 1, "removed": 1}
    assert second.snapshot.parent == first.snapshot.digest
    old, new = second.snapshot.rows.segments
    assert old.artifact == first.snapshot.rows.segments[0].artifact
    assert (old.n_dropped, new.n_stored) == (2, 4)
    assert second.state["watermark"].startswith("2024-05-05T05:00")


def test_nothing_new_is_the_same_snapshot(tmp_path: Path) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=[])
    artifacts = ArtifactStore(str(tmp_path / "store"))
    for hour in range(30):
        warehouse.insert(hour)
    first = _extract(pipeline, artifacts, warehouse)

    second = _extract(pipeline, artifacts, warehouse, first)

    assert second.snapshot == first.snapshot
    assert second.counts == {"read": 24, "new": 0, "late": 0, "corrected": 0, "removed": 0}


def test_a_moment_hides_the_newest_rows_and_keeps_them_for_the_next_run(tmp_path: Path) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=["id"])
    artifacts = ArtifactStore(str(tmp_path / "store"))
    for hour in range(30):
        warehouse.insert(hour)

    earlier = _extract(pipeline, artifacts, warehouse, as_of=_START + timedelta(hours=9))
    later = _extract(pipeline, artifacts, warehouse, earlier)

    assert earlier.snapshot.n_rows == 10
    assert earlier.snapshot.watermark == _START + timedelta(hours=9)
    assert later.snapshot.n_rows == 30
    with pytest.raises(DataRefused, match="no rows as of"):
        _extract(pipeline, artifacts, warehouse, as_of=_START - timedelta(hours=1))


@pytest.mark.parametrize("again", [False, True])
def test_a_key_that_stands_twice_is_refused(tmp_path: Path, again: bool) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=["id"])
    artifacts = ArtifactStore(str(tmp_path / "store"))
    warehouse.insert(0)
    earlier = _extract(pipeline, artifacts, warehouse) if again else None
    warehouse.connection.execute("INSERT INTO trips SELECT * FROM trips")
    warehouse.connection.commit()

    with pytest.raises(DataRefused, match=r"column 'id': found key 0 in 2 rows, expected each key once"):
        _extract(pipeline, artifacts, warehouse, earlier)


def test_a_column_that_came_is_read_from_the_beginning(tmp_path: Path) -> None:
    warehouse, pipeline = Warehouse(tmp_path), _define(tmp_path, key=["id"])
    artifacts = ArtifactStore(str(tmp_path / "store"))
    for hour in range(50):
        warehouse.insert(hour)
    first = _extract(pipeline, artifacts, warehouse)
    warehouse.connection.execute("ALTER TABLE trips ADD COLUMN tips REAL DEFAULT 2")
    warehouse.connection.commit()

    second = _extract(pipeline, artifacts, warehouse, first)

    assert second.how == "afresh: the source's columns changed"
    assert (second.snapshot.n_rows, second.snapshot.parent) == (50, None)


def test_a_new_file_of_a_folder_is_read_alone(tmp_path: Path) -> None:
    pipeline, artifacts = _folder(tmp_path), ArtifactStore(str(tmp_path / "store"))
    first = _grow(pipeline, artifacts)
    _write(tmp_path, "c", 60, 30)

    second = _grow(pipeline, artifacts, first)
    unchanged = _grow(pipeline, artifacts, second)

    assert (first.snapshot.n_rows, second.how, second.counts) == (60, "1 new files", {"read": 30, "new": 30})
    assert second.snapshot.rows.segments[0] == first.snapshot.rows.segments[0]
    assert second.snapshot.parent == first.snapshot.digest
    assert _rows(artifacts, second.snapshot) == _rows(artifacts, _grow(pipeline, artifacts).snapshot)
    assert unchanged.snapshot == second.snapshot


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda folder: _write(folder, "a", 0, 29), "afresh: 'a.parquet' changed"),
        (lambda folder: (folder / "rows/b.parquet").unlink(), "afresh: 'b.parquet' is gone"),
    ],
)
def test_an_old_file_that_changed_is_a_reason_to_start_afresh(tmp_path: Path, change: Any, how: str) -> None:
    pipeline, artifacts = _folder(tmp_path), ArtifactStore(str(tmp_path / "store"))
    first = _grow(pipeline, artifacts)

    change(tmp_path)
    second = _grow(pipeline, artifacts, first)

    assert second.how == how
    assert second.snapshot.parent is None
    assert _rows(artifacts, second.snapshot) == _rows(artifacts, _grow(pipeline, artifacts).snapshot)


def test_a_side_source_that_changed_changes_all_rows(tmp_path: Path) -> None:
    stations = pd.DataFrame({"company": ["red", "blue"], "height": [1.5, 2.5]})
    extract = {
        "sources": {"trips": {"source": "data.parquet"}, "companies": {"source": "companies.csv"}},
        "main": "trips",
        "join": [{"source": "companies", "on": "company"}],
        "incremental": {"watermark": "at", "lateness": "1 day"},
    }
    pipeline = make_pipeline(tmp_path / "trips", make_trips(50), define(extract=extract), contract=None)
    stations.to_csv(tmp_path / "trips/companies.csv", index=False)
    artifacts = ArtifactStore(str(tmp_path / "store"))
    first = _grow(pipeline, artifacts)
    same = _grow(pipeline, artifacts, first)
    stations.assign(height=[1.5, 9.5]).to_csv(tmp_path / "trips/companies.csv", index=False)

    second = _grow(pipeline, artifacts, first)

    assert same.snapshot == first.snapshot
    n_missed = int((~make_trips(50)["company"].isin(["red", "blue"])).sum())
    assert first.counts["without a row in 'companies'"] == n_missed > 0
    assert first.snapshot.unmatched == second.snapshot.unmatched == {"companies": n_missed}
    assert second.how.startswith("afresh: source companies changed")
    table = load_rows(artifacts, second.snapshot.rows).to_pandas()
    assert set(table.loc[table["company"] == "blue", "height"]) == {9.5}
    assert table.loc[table["company"] == "green", "height"].isna().all()


def test_a_function_is_told_from_where_to_read(tmp_path: Path) -> None:
    code = (
        "import pandas as pd\n"
        "def load(since=None):\n"
        "    at = pd.date_range('2024-05-01', periods=48, freq='h', tz='UTC')\n"
        "    frame = pd.DataFrame({'at': at, 'late': [True, False] * 24, 'since': str(since)[:10]})\n"
        "    return frame if since is None else frame[frame['at'] > since]\n"
    )
    extract = {"source": "features:load", "incremental": {"watermark": "at"}}
    pipeline = make_pipeline(tmp_path / "trips", None, define(extract=extract), contract=None, features=code)
    artifacts = ArtifactStore(str(tmp_path / "store"))

    first = _grow(pipeline, artifacts)
    second = _grow(pipeline, artifacts, first)

    assert (first.counts["read"], second.counts["read"]) == (48, 0)


def test_no_password_reaches_the_record_of_a_run(tmp_path: Path) -> None:
    pytest.importorskip("psycopg")
    address = SecretStr("postgresql://me:hush-hush@127.0.0.1:9/sales")
    here = Settings(home=tmp_path, connections={"warehouse": address}, source_tries=2, source_wait_seconds=0)
    pipeline = make_pipeline(tmp_path / "trips", None, define(extract={"connection": "warehouse", "table": "trips"}))
    registry = open_registry(here)

    with pytest.raises(SourceAway) as caught:
        with keep_run(pipeline, here, as_of=None, trigger="person", reason="", prefect_run=None):
            extract_rows(pipeline, registry.artifacts, code=UserCode({}), as_of=None, settings=here)

    with registry.database.read() as session:
        (run,) = list_runs(session)
    registry.database.close()
    assert (run.status, "'warehouse' is away" in run.reason) == ("failed", True)
    assert "hush" not in "".join(traceback.format_exception(caught.value))
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert files
    assert all(b"hush-hush" not in path.read_bytes() for path in files)


def test_personal_values_are_nowhere_in_the_store(tmp_path: Path) -> None:
    trips = make_trips(50).assign(mail="ann@example.org", name="Ann Unlikely")
    contract = {
        "columns": {
            **{name: {"type": "time" if name == "at" else "number"} for name in ("at", "distance")},
            "mail": {"type": "text", "personal": "hash"},
            "name": {"type": "text", "personal": "drop"},
            "late": {"type": "boolean"},
        }
    }
    pipeline = make_pipeline(tmp_path / "trips", trips, contract=contract)
    artifacts = ArtifactStore(str(tmp_path / "store"))

    extraction = extract_rows(
        pipeline, artifacts, code=UserCode(pipeline.code), as_of=None, settings=Settings(home=tmp_path / "home")
    )

    table = load_rows(artifacts, extraction.snapshot.rows)
    assert "name" not in table.column_names
    assert len(set(table["mail"].to_pylist())) == 1
    stored = b"".join(path.read_bytes() for path in (tmp_path / "store").rglob("*") if path.is_file())
    assert b"ann@example.org" not in stored
    assert b"Unlikely" not in stored


def _extract(
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    warehouse: Warehouse,
    earlier: Extraction | None = None,
    as_of: datetime | None = None,
) -> Extraction:
    connections = {"warehouse": SecretStr(f"sqlite:///{warehouse.file}")}
    return extract_rows(
        pipeline,
        artifacts,
        code=UserCode(pipeline.code),
        as_of=as_of,
        settings=Settings(connections=connections),
        earlier=None if earlier is None else Earlier(earlier.whole, earlier.state),
    )


def _grow(pipeline: Pipeline, artifacts: ArtifactStore, earlier: Extraction | None = None) -> Extraction:
    return extract_rows(
        pipeline,
        artifacts,
        code=UserCode(pipeline.code),
        as_of=None,
        earlier=None if earlier is None else Earlier(earlier.whole, earlier.state),
    )


def _folder(tmp_path: Path) -> Pipeline:
    (tmp_path / "rows").mkdir()
    _write(tmp_path, "a", 0, 30)
    _write(tmp_path, "b", 30, 30)
    return make_pipeline(tmp_path / "trips", None, define(extract={"source": "../rows"}), contract=None)


def _write(folder: Path, name: str, start: int, n_rows: int) -> None:
    file = folder / "rows" / f"{name}.parquet"
    make_trips(200).iloc[start : start + n_rows].to_parquet(file)
    # An hour ago, as files of a source mostly are: the mark of a fresh one is not believed.
    moment = file.stat().st_mtime - 3600 + n_rows
    os.utime(file, (moment, moment))


def _rows(artifacts: ArtifactStore, snapshot: Snapshot) -> list[tuple[Any, ...]]:
    frame = load_rows(artifacts, snapshot.rows).to_pandas().astype(object)
    frame = frame.where(frame.notna(), None).replace({np.nan: None})
    return sorted(map(tuple, frame[sorted(frame.columns)].itertuples(index=False)), key=repr)
