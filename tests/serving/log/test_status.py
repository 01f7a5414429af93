"""Claims about the status of the log: nothing missing goes unnoticed, and nothing that is explained is an alarm."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import orjson
import pytest

from registry.manifest import ModelManifest
from registry.store import Registry
from registry.traffic import artifact_of, list_moved
from serving.log.prediction_log import PredictionLog
from serving.log.status import ModelStatus, read_status
from serving.log.upkeep import adopt_all, move_all
from tests.serving.log.samples import fill, folder_of, make_batch


def _status(home: Path, registry: Registry | None = None) -> ModelStatus:
    (status,) = read_status(home, registry)
    return status


def _lose_a_line(home: Path) -> None:
    path = sorted(folder_of(home).glob("*.jsonl"))[-1]
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2] + lines[3:]))


def _lose_the_last_line(home: Path) -> None:
    path = sorted(folder_of(home).glob("*.jsonl"))[-1]
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def _lose_a_file(home: Path) -> None:
    sorted(folder_of(home).iterdir())[1].unlink()


def _lose_the_first_file(home: Path) -> None:
    sorted(folder_of(home).iterdir())[0].unlink()


def _damage_a_file(home: Path) -> None:
    sorted(folder_of(home).glob("*.parquet"))[0].write_bytes(b"PAR1")


def _copy_a_file(home: Path) -> None:
    path = sorted(folder_of(home).glob("*.parquet"))[0]
    path.with_name(f"0{path.name}").write_bytes(path.read_bytes())


@pytest.mark.parametrize("stage", ["as it was left", "sealed", "moved"])
def test_counters_and_segments_agree_wherever_the_rows_are(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, stage: str
) -> None:
    fill(tmp_path, manifest, 10)
    if stage == "sealed":
        adopt_all(tmp_path)
    elif stage == "moved":
        move_all(tmp_path, registry)

    status = _status(tmp_path, registry)

    assert status.gaps == ()
    assert (status.totals.accepted, status.totals.stored, status.totals.in_flight, status.n_found) == (30, 30, 0, 30)
    assert status.count("moved")[1] == (30 if stage == "moved" else 0)


@pytest.mark.parametrize(
    ("lose", "words"),
    [
        (_lose_a_line, "is followed by row"),
        (_lose_the_last_line, "3 are in none"),
        (_lose_a_file, "are in no segment"),
        (_lose_the_first_file, "rows 0 to 11"),
        (_damage_a_file, "cannot be read"),
        (_copy_a_file, "and in another segment"),
    ],
)
def test_what_is_missing_or_twice_is_named(
    tmp_path: Path, manifest: ModelManifest, lose: Callable[[Path], None], words: str
) -> None:
    fill(tmp_path, manifest, 14)
    if lose is _lose_the_last_line or lose is _lose_a_line:
        log = PredictionLog(tmp_path, segment_rows=1000)
        for _ in range(3):
            log.accounts.accept("trips", 3)
            log.append(manifest, 1, [make_batch({}, {}, {})])
        log.close()
    assert _status(tmp_path).gaps == ()

    lose(tmp_path)

    gaps = _status(tmp_path).gaps
    assert any(words in gap for gap in gaps), gaps


def test_a_moved_file_that_the_store_has_lost_is_named(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    fill(tmp_path, manifest, 3)
    move_all(tmp_path, registry)
    with registry.database.read() as session:
        (moved,) = list_moved(session)
    registry.artifacts.local_path(artifact_of(moved)).unlink()

    (gap,) = _status(tmp_path, registry).gaps

    assert moved.id in gap
    assert "restore it from a backup" in gap


def test_what_a_dead_process_had_not_counted_yet_is_explained_and_no_gap(
    tmp_path: Path, manifest: ModelManifest
) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    log.accounts.accept("trips", 2)
    log.append(manifest, 1, [make_batch({}, {})])
    log.accounts.save()
    (accounts,) = (tmp_path / "traffic" / "accounts").glob("*.json")
    behind = accounts.read_bytes()
    log.accounts.accept("trips", 4)
    log.append(manifest, 1, [make_batch({}, {}, {})])
    log.close()
    accounts.write_bytes(behind)

    status = _status(tmp_path)

    assert status.gaps == ()
    assert status.writers[0].accounts.life == "dead"
    assert "the 3 rows that it stored since" in status.writers[0].notes[0]


def test_rows_under_way_when_the_process_ended_are_told(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    log.accounts.accept("trips", 5)
    log.append(manifest, 1, [make_batch({}, {})])
    log.close()

    status = _status(tmp_path)

    assert (status.totals.in_flight, status.gaps) == (3, ())
    assert "3 accepted rows had no answer" in status.writers[0].notes[0]


def test_rows_stored_that_nobody_accepted_are_an_alarm(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    log.append(manifest, 1, [make_batch({}, {})])
    log.close()

    assert "stored or rejected 2 rows more than it accepted" in _status(tmp_path).gaps[0]


def test_what_another_host_has_not_moved_yet_is_no_gap(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    fill(there, manifest, 2, segment_rows=1000)
    move_all(there, registry)
    fill(there, manifest, 3, segment_rows=1000)
    (growing,) = folder_of(there).iterdir()
    kept = growing.read_bytes()
    move_all(there, registry)
    with registry.database.write() as session:
        moved = max(list_moved(session), key=lambda one: one.id)
        session.delete(moved)
    growing.write_bytes(kept)

    status = _status(here, registry)

    assert status.gaps == ()
    assert [one.accounts.life for one in status.writers] == ["elsewhere", "elsewhere"]
    assert any("still on host" in note for one in status.writers for note in one.notes)
    assert _status(there, registry).gaps == ()


def test_a_writer_that_died_before_its_first_accounts_is_told(tmp_path: Path, manifest: ModelManifest) -> None:
    fill(tmp_path, manifest, 2)
    (accounts,) = (tmp_path / "traffic" / "accounts").glob("*.json")
    writer = orjson.loads(accounts.read_bytes())["writer"]["name"]
    accounts.unlink()

    status = _status(tmp_path)

    assert status.gaps == ()
    assert writer in status.notes[0]


def test_a_living_writer_is_counted_while_it_writes(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=4)
    for _ in range(10):
        log.accounts.accept("trips", 3)
        log.append(manifest, 1, [make_batch({}, {}, {})])
        log.accounts.save()
        status = _status(tmp_path)
        assert status.gaps == ()
        assert status.writers[0].accounts.life == "alive"
    log.close()
    assert _status(tmp_path).n_found == 30
