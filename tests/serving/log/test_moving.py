"""Claims about moving: at every moment, killed at every point, by two at once: each row is read exactly once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from base.artifacts import ArtifactStore
from base.errors import EverfitError
from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import Registry, open_registry
from registry.traffic import list_moved, record_segment
from serving.labels.label import Label
from serving.labels.reading import read_labels
from serving.log.moving import move_segment, move_segments
from serving.log.prediction_log import PredictionLog
from serving.log.upkeep import adopt_all, keep_up, move_all
from serving.log.upkeep_rounds import round_apart
from tests.processes import start_process
from tests.serving.conftest import wait_until
from tests.serving.labels.logs import log_labels
from tests.serving.log.samples import NOON, assert_once, fill, fill_day, folder_of, make_batch, read_ids


class Killed(BaseException):
    """Stands for the end of the process: no handler runs but those that close files."""


@contextmanager
def _killed_after(step: str, patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a move die right after a step."""
    put, record = ArtifactStore.put_file, record_segment

    def put_and_die(store: ArtifactStore, path: Path, **more: Any) -> Any:
        put(store, path, **more)
        raise Killed

    def record_and_die(*arguments: Any) -> Any:
        record(*arguments)
        raise Killed

    def die(_path: Path, missing_ok: bool = False) -> None:
        raise Killed

    with patch.context() as patched:
        if step == "put_file":
            patched.setattr(ArtifactStore, "put_file", put_and_die)
        elif step == "record_segment":
            # It dies before the transaction is committed.
            patched.setattr("serving.log.moving.record_segment", record_and_die)
        else:
            patched.setattr(Path, "unlink", die)
        with pytest.raises(Killed):
            yield


@pytest.mark.parametrize("step", ["put_file", "record_segment", "commit"])
def test_a_mover_that_dies_leaves_every_row_once_and_the_next_one_ends_its_work(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    ids = fill(tmp_path, manifest, 4, segment_rows=1000)
    adopt_all(tmp_path)

    with _killed_after(step, monkeypatch):
        move_segments(tmp_path, registry)

    assert read_ids(tmp_path, registry) == sorted(ids)
    assert move_segments(tmp_path, registry).n_segments == 1
    assert list(folder_of(tmp_path).iterdir()) == []
    assert read_ids(tmp_path, registry) == sorted(ids)


@pytest.mark.postgres
def test_on_both_databases_a_segment_is_recorded_once_by_two_movers(
    tmp_path: Path, any_registry: Registry, manifest: ModelManifest
) -> None:
    ids = fill(tmp_path, manifest, 20, segment_rows=3)
    adopt_all(tmp_path)
    paths = sorted(folder_of(tmp_path).glob("*.parquet"))
    errors: list[BaseException] = []
    barrier = threading.Barrier(2)

    def move() -> None:
        barrier.wait()
        for path in paths:
            try:
                move_segment(path, "predictions", any_registry)
            except FileNotFoundError:
                continue
            except BaseException as error:
                errors.append(error)

    threads = [threading.Thread(target=move) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert errors == []
    with any_registry.database.read() as session:
        assert sorted(one.id for one in list_moved(session)) == sorted(path.stem for path in paths)
    assert read_ids(tmp_path, any_registry) == sorted(ids)


def test_what_cannot_be_moved_stays_and_is_moved_later(
    tmp_path: Path, registry: Registry, manifest: ModelManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = fill(tmp_path, manifest, 4, segment_rows=1000)
    adopt_all(tmp_path)

    def refuse(*_: Any, **__: Any) -> None:
        raise EverfitError("the store is away")

    with monkeypatch.context() as patch:
        patch.setattr(ArtifactStore, "put_file", refuse)
        moved = move_all(tmp_path, registry)

    assert (moved.n_segments, len(moved.failures)) == (0, 1)
    assert "the store is away" in moved.failures[0]
    assert read_ids(tmp_path, registry) == sorted(ids)
    assert move_all(tmp_path, registry).n_segments == 1
    assert read_ids(tmp_path, registry) == sorted(ids)


def test_a_damaged_file_stays_and_the_others_are_moved(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    for day in range(3):
        fill_day(tmp_path, manifest, NOON + timedelta(days=day))
    damaged = sorted(folder_of(tmp_path).iterdir())[1]
    damaged.write_bytes(b"no Parquet at all")

    moved = move_all(tmp_path, registry)

    assert (moved.n_segments, len(moved.failures)) == (2, 1)
    assert damaged.name in moved.failures[0]


def test_hosts_that_share_a_registry_read_what_each_has_moved_and_their_own(
    tmp_path: Path, settings: Settings, registry: Registry, manifest: ModelManifest
) -> None:
    homes = [tmp_path / "one", tmp_path / "other"]
    moved = [name for home in homes for name in fill(home, manifest, 3, segment_rows=1000)]
    for home in homes:
        move_all(home, registry)
    local = [fill(home, manifest, 2, segment_rows=1000) for home in homes]

    for home, own in zip(homes, local, strict=True):
        assert read_ids(home, registry) == sorted([*moved, *own])


def test_lines_that_a_crash_left_beside_a_moved_segment_count_for_nothing(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    ids = fill(tmp_path, manifest, 3, segment_rows=1000)
    (lines,) = folder_of(tmp_path).iterdir()
    kept = lines.read_bytes()
    adopt_all(tmp_path)
    move_segments(tmp_path, registry)
    lines.write_bytes(kept)

    for _ in ("as it was left", "sealed and moved again"):
        assert read_ids(tmp_path, registry) == sorted(ids)
        move_all(tmp_path, registry)
    assert list(folder_of(tmp_path).iterdir()) == []


def test_labels_are_moved_like_predictions(tmp_path: Path, registry: Registry, manifest: ModelManifest) -> None:
    log = PredictionLog(tmp_path, segment_rows=1000)
    log_labels(log, [Label("a", 1, NOON)])
    log.close()

    assert move_all(tmp_path, registry).n_segments == 1

    assert list((tmp_path / "traffic" / "trips" / "labels").iterdir()) == []
    assert read_labels(tmp_path, "trips", registry=registry)["id"].tolist() == ["a"]


def test_the_service_moves_by_itself_what_is_sealed(
    tmp_path: Path, registry: Registry, manifest: ModelManifest
) -> None:
    left = fill(tmp_path, manifest, 2, segment_rows=1000)
    log = PredictionLog(tmp_path, segment_rows=6, segment_seconds=0.1, upkeep_seconds=0.05)
    log.start(lambda with_count: keep_up(tmp_path, registry, with_count=with_count))
    batch = make_batch({"distance": 1.0}, {"distance": 2.0})
    log.append(manifest, 1, [batch])

    wait_until(lambda: not list(folder_of(tmp_path).iterdir()), "moving")

    assert read_ids(tmp_path, registry) == sorted([*left, *batch.ids])
    log.close()


def test_a_round_in_a_process_of_its_own_moves_what_is_sealed_and_tells_what_failed(
    settings: Settings, registry: Registry, manifest: ModelManifest
) -> None:
    home = settings.home
    left = fill(home, manifest, 2, segment_rows=1000)

    failures = round_apart(settings, True)

    assert failures == []
    assert read_ids(home, registry) == sorted(left)
    assert not list(folder_of(home).iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_a_process_killed_while_it_logs_seals_and_moves_leaves_every_row_once(
    tmp_path: Path, settings: Settings, registry: Registry, manifest: ModelManifest, round_: int
) -> None:
    acknowledged = tmp_path / "acknowledged"
    acknowledged.touch()

    def work() -> None:
        log = PredictionLog(tmp_path, segment_rows=7, upkeep_seconds=0.01)
        registry = open_registry(settings)
        log.start(lambda with_count: keep_up(tmp_path, registry, with_count=with_count))
        with acknowledged.open("a", buffering=1) as stream:
            while True:
                batch = make_batch({"distance": 1.0}, {"distance": 2.0})
                log.append(manifest, 1, [batch])
                stream.write("".join(f"{name}\n" for name in batch.ids))

    process = start_process(work)
    wait_until(lambda: acknowledged.stat().st_size > 30_000 * (round_ + 1), "logging")
    process.kill()
    process.join()
    told = [line for line in acknowledged.read_text().split("\n") if len(line) == 32]

    for _ in ("as it was left", "adopted and moved"):
        found = read_ids(tmp_path, registry)
        assert_once(found, told)
        assert len(found) - len(told) <= 2
        move_all(tmp_path, registry)
    assert list(folder_of(tmp_path).iterdir()) == []
