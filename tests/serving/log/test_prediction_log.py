"""Claims about the prediction log: as durable as it says, refused or counted where it cannot be, never half."""

from __future__ import annotations

import errno
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from base.atomic_files import fsync_folder
from base.log_spec import LogSpec
from registry.manifest import ModelManifest
from serving.log import growing
from serving.log.batches import is_sampled
from serving.log.prediction_log import PredictionLog
from serving.log.traffic import read_traffic
from tests.serving.log.samples import make_batch, read_ids
from tests.serving.models import make_rows


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk with room for little."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "none", folder], check=False, stderr=subprocess.DEVNULL
    )
    if mounted.returncode:
        pytest.skip("mounting a small disk needs root")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


def _with(manifest: ModelManifest, **log: Any) -> ModelManifest:
    return manifest.model_copy(update={"log": LogSpec(**log)})


@pytest.mark.parametrize(("durability", "n_synced"), [("fsync", True), ("flush", False)])
def test_done_is_told_after_the_sync_that_the_pipeline_wants(
    log: PredictionLog, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch, durability: str, n_synced: bool
) -> None:
    steps: list[str] = []
    sync = os.fdatasync

    def watch(file: int) -> None:
        steps.append("synced")
        sync(file)

    monkeypatch.setattr(os, "fdatasync", watch)
    is_done = threading.Event()

    def done(error: OSError | None) -> None:
        steps.append(f"done {error}")
        is_done.set()

    log.commit(_with(manifest, durability=durability), 1, [make_batch({"distance": 1.0})], done)

    assert is_done.wait(10)
    assert steps == ["synced"] * n_synced + ["done None"]


def test_what_waits_is_synced_together(
    tmp_path: Path, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    gate, syncs, sync = threading.Event(), list[int](), os.fdatasync

    def wait_and_sync(file: int) -> None:
        gate.wait(10)
        syncs.append(file)
        sync(file)

    monkeypatch.setattr(os, "fdatasync", wait_and_sync)
    n_waiting = threading.Semaphore(0)
    for _ in range(50):
        log.commit(manifest, 1, [make_batch({"distance": 1.0})], lambda _error: n_waiting.release())
    gate.set()
    for _ in range(50):
        assert n_waiting.acquire(timeout=10)
    log.close()

    assert len(syncs) <= 3
    assert len(read_ids(tmp_path)) == 50


def test_rows_that_are_no_json_are_refused_alone(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    outcomes: list[OSError | None] = []
    told = threading.Semaphore(0)

    def done(error: OSError | None) -> None:
        outcomes.append(error)
        told.release()

    for value in (1.0, object(), 2.0):
        log.commit(manifest, 1, [make_batch({"distance": value})], done)
    for _ in range(3):
        assert told.acquire(timeout=10)
    log.close()

    assert [error is None for error in outcomes] == [True, False, True]
    assert sorted(read_traffic(tmp_path, "trips")["distance"]) == [1, 2]


def test_a_sample_holds_the_rows_that_their_ids_choose_and_the_others_are_counted(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    batch = make_batch(*make_rows(400))
    log.accounts.accept("trips", 400)

    log.append(_with(manifest, durability="sampled", sample=0.25), 1, [batch])

    chosen = sorted(name for name in batch.ids if is_sampled(name, 0.25))
    assert read_ids(tmp_path) == chosen
    totals = log.accounts.snapshot()["trips"]
    assert (totals.stored, totals.rejected, totals.in_flight) == (len(chosen), {"sampled": 400 - len(chosen)}, 0)
    assert 50 < len(chosen) < 150


def test_a_disk_that_is_full_refuses_whole_answers_and_takes_them_again_when_it_is_free(
    small_disk: Path, manifest: ModelManifest
) -> None:
    log = PredictionLog(small_disk, segment_rows=100_000)
    acknowledged: list[str] = []

    def fill_up() -> None:
        for seed in range(1000):
            batch = make_batch(*make_rows(30, seed=seed))
            log.accounts.accept("trips", 30)
            log.append(manifest, 1, [batch])
            acknowledged.extend(batch.ids)

    with pytest.raises(OSError, match="No space left"):
        fill_up()
    log.accounts.reject("trips", "not_logged", 30)

    assert "No space left" in (log.trouble or "")
    assert "refused" in (log.trouble or "")
    assert read_ids(small_disk) == sorted(acknowledged)
    next(folder for folder in (small_disk / "traffic" / "trips").iterdir()).rename(small_disk / "traffic" / "away")
    subprocess.run(["rm", "-r", small_disk / "traffic" / "away"], check=True)
    log.accounts.accept("trips", 1)
    log.append(manifest, 1, [make_batch({"distance": 7.0})])
    assert log.trouble is None
    assert read_traffic(small_disk, "trips")["distance"].tolist() == [7]
    totals = log.accounts.snapshot()["trips"]
    assert (totals.stored, totals.in_flight) == (len(acknowledged) + 1, 0)
    log.close()


@pytest.mark.parametrize("on_full", ["refuse", "go_on"])
def test_a_pipeline_says_whether_answers_are_given_that_are_not_logged(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch, on_full: str
) -> None:
    pipeline = _with(manifest, on_full=on_full)
    log.append(pipeline, 1, [make_batch({"distance": 1.0})])
    write = os.pwrite

    def write_half(descriptor: int, data: memoryview, offset: int) -> int:
        if len(data) < 20:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(descriptor, data[: len(data) // 2], offset)

    log.accounts.accept("trips", 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "pwrite", write_half)
        if on_full == "refuse":
            with pytest.raises(OSError, match="No space left"):
                log.append(pipeline, 1, [make_batch({"distance": 2.0})])
        else:
            log.append(pipeline, 1, [make_batch({"distance": 2.0})])
    trouble = log.trouble or ""
    log.append(pipeline, 1, [make_batch({"distance": 3.0})])

    assert ("refused" in trouble, "given without being logged" in trouble) == (on_full == "refuse", on_full == "go_on")
    assert log.trouble is None
    assert sorted(read_traffic(tmp_path, "trips")["distance"]) == [1, 3]
    assert log.accounts.snapshot()["trips"].rejected == ({} if on_full == "refuse" else {"not_logged": 1})


def test_a_closed_log_says_so_instead_of_taking_rows(tmp_path: Path, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=10)
    log.close()

    with pytest.raises(OSError, match="closed"):
        log.append(manifest, 1, [make_batch({"distance": 1.0})])


def test_the_folder_of_a_new_segment_is_synced_before_anybody_is_told(
    log: PredictionLog, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    synced: list[Path] = []

    def watch(folder: Path) -> None:
        synced.append(folder)
        fsync_folder(folder)

    monkeypatch.setattr(growing, "fsync_folder", watch)

    log.append(manifest, 1, [make_batch({"distance": 1.0})])

    assert [folder.name for folder in synced][-3:] == ["traffic", "trips", "predictions"]
