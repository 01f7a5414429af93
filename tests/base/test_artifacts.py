"""Claims about the artifact store: whole or not at all, verified when read, one file for one content."""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from base.artifacts import (
    Artifact,
    ArtifactCorrupt,
    ArtifactMissing,
    ArtifactNotStored,
    ArtifactStore,
)
from base.atomic_files import write_atomically
from base.errors import ArgumentError
from base.fingerprint import digest_bytes
from base.settings import Settings
from tests.processes import run_at_once, start_process

# Large enough that most of the time is spent on copying, and small enough for twenty kills.
_LARGE = 12 << 20


@pytest.fixture(params=["folder", "file://", "memory://"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[ArtifactStore]:
    """A store in a folder, at a file URL, and in any other filesystem of fsspec's."""
    place = {"folder": str(tmp_path / "store"), "file://": f"file://{tmp_path}/store/"}
    yield ArtifactStore(place.get(request.param, f"memory://{tmp_path.name}/store"), cache=tmp_path / "cache")
    if request.param == "memory://":
        import fsspec

        fsspec.filesystem("memory").store.clear()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


@pytest.mark.parametrize("content", [b"", b"hello", bytes(range(256)) * 10_000])
def test_what_is_stored_reads_back(store: ArtifactStore, tmp_path: Path, content: bytes) -> None:
    (tmp_path / "source.bin").write_bytes(content)

    kept = store.put_bytes(content, suffix=".bin")
    assert store.put_file(tmp_path / "source.bin") == kept
    assert kept == Artifact(digest=digest_bytes(content), size_bytes=len(content), suffix=".bin")
    assert kept in store
    assert store.read_bytes(kept) == store.local_path(kept).read_bytes() == content
    assert store.local_path(kept).suffix == ".bin"


def test_the_same_content_is_one_file(folder: Path) -> None:
    store = ArtifactStore(str(folder))

    assert store.put_bytes(b"same") == store.put_bytes(b"same")
    assert len(_files(folder)) == 1


def test_a_missing_file_is_named(store: ArtifactStore) -> None:
    ghost = Artifact(digest="ab" * 32, size_bytes=3, suffix=".json")

    assert ghost not in store
    for read in (store.read_bytes, store.local_path):
        with pytest.raises(
            ArtifactMissing, match=rf"artifact 'sha256/ab/{ghost.digest}.json' is not in the store"
        ) as error:
            read(ghost)
        assert error.value.artifact == ghost


@pytest.mark.parametrize("damage", [b"hellO", b"hell", b"hello!", b""])
def test_a_changed_byte_is_found_and_the_next_put_mends_it(folder: Path, damage: bytes) -> None:
    store = ArtifactStore(str(folder))
    kept = store.put_bytes(b"hello")
    (folder / kept.key).write_bytes(damage)

    for read in (store.read_bytes, store.local_path):
        with pytest.raises(ArtifactCorrupt, match="was changed after it was written"):
            read(kept)
    assert store.put_bytes(b"hello") == kept
    assert store.read_bytes(kept) == b"hello"


def test_a_changed_byte_of_a_remote_file_is_found_and_never_cached(tmp_path: Path) -> None:
    import fsspec

    store = ArtifactStore("memory://remote", cache=tmp_path / "cache")
    kept = store.put_bytes(b"hello")
    fsspec.filesystem("memory").pipe_file(f"/remote/{kept.key}", b"hellO")

    with pytest.raises(ArtifactCorrupt):
        store.read_bytes(kept)
    assert _files(tmp_path / "cache") == []


def test_a_damaged_cache_is_fetched_again(tmp_path: Path) -> None:
    store = ArtifactStore("memory://cached", cache=tmp_path / "cache")
    kept = store.put_bytes(b"hello")
    store.local_path(kept).write_bytes(b"hellO")

    assert store.read_bytes(kept) == b"hello"


def test_two_processes_that_store_the_same_content_at_once_agree(folder: Path) -> None:
    store, content = ArtifactStore(str(folder)), os.urandom(1 << 20)

    first, *others = run_at_once(6, lambda _number: store.put_bytes(content))
    assert others == [first] * 5
    assert [path.name for path in _files(folder)] == [first.digest]
    assert store.read_bytes(first) == content


def test_a_process_killed_while_it_writes_leaves_no_half_file(folder: Path, tmp_path: Path) -> None:
    store = ArtifactStore(str(folder))
    earlier = store.put_bytes(b"written before")
    chance = random.Random(7)

    source = tmp_path / "rows.parquet"
    source.write_bytes(bytes(_LARGE))

    def write_for_ever() -> None:
        while True:
            with source.open("r+b") as stream:
                stream.write(os.urandom(8))
            store.put_file(source, suffix="")

    for _ in range(20):
        child = start_process(write_for_ever)
        assert child.pid is not None
        time.sleep(chance.uniform(0.02, 0.4))
        os.kill(child.pid, signal.SIGKILL)
        child.join()

    final = [path for path in _files(folder) if not path.name.startswith(".writing-")]
    assert len(final) > 1
    for path in final:
        assert digest_bytes(path.read_bytes()) == path.name
    assert store.read_bytes(earlier) == b"written before"
    again = store.put_file(source)
    assert digest_bytes(store.read_bytes(again)) == again.digest


def test_a_write_that_raises_leaves_the_old_content_and_no_temporary_file(tmp_path: Path) -> None:
    target = tmp_path / "state.json"
    write_atomically(target, b"old")

    with pytest.raises(TypeError):
        write_atomically(target, "text, not bytes")  # type: ignore[arg-type]
    assert target.read_bytes() == b"old"
    assert _files(tmp_path) == [target]


def test_a_file_that_changes_while_it_is_stored_is_refused(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "growing.csv"
    source.write_bytes(b"a,b\n")
    monkeypatch.setattr("base.artifacts.digest_once", lambda _path: "0" * 64)

    with pytest.raises(ArtifactNotStored, match=r"'growing\.csv' was changed while it was read; let its writer finish"):
        ArtifactStore(str(folder)).put_file(source)
    assert _files(folder) == []


def test_a_file_that_is_taken_away_while_it_is_stored_is_no_fault_of_the_store(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tmp_path / "moved.csv"
    source.write_bytes(b"a,b\n")

    def take_away(_store: ArtifactStore, _artifact: Artifact) -> bool:
        source.unlink()
        return False

    monkeypatch.setattr(ArtifactStore, "_holds", take_away)

    with pytest.raises(FileNotFoundError, match=r"taken away while it was stored: '.*/moved\.csv'"):
        ArtifactStore(str(folder)).put_file(source)
    assert _files(folder) == []


def test_a_store_that_cannot_be_written_is_named(folder: Path) -> None:
    folder.write_text("a file where the folder should be")

    with pytest.raises(ArtifactNotStored, match=r"nothing was written into the store '.*/store': Not a directory"):
        ArtifactStore(str(folder)).put_bytes(b"x")


def test_a_store_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="EVERFIT_ARTIFACTS_URL 'nothing://x' cannot be used: Protocol not known"):
        ArtifactStore("nothing://x", cache=tmp_path).put_bytes(b"x")


def test_stored_files_can_be_read_by_whom_the_umask_lets(folder: Path) -> None:
    before = os.umask(0o022)
    try:
        kept = ArtifactStore(str(folder)).put_bytes(b"shared")
    finally:
        os.umask(before)

    assert (folder / kept.key).stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize(
    "reference",
    [
        {"digest": "../../etc/passwd", "size_bytes": 1},
        {"digest": "ab", "size_bytes": 1, "suffix": "/../../secret"},
        {"digest": "ab", "size_bytes": 1, "suffix": "\\x"},
        {"digest": "", "size_bytes": 1},
        {"digest": "ab", "size_bytes": -1},
    ],
)
def test_a_reference_cannot_lead_out_of_the_store(reference: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        Artifact.model_validate(reference)


def test_the_settings_name_the_store(tmp_path: Path) -> None:
    local = ArtifactStore.from_settings(Settings(home=tmp_path))
    remote = ArtifactStore.from_settings(Settings(home=tmp_path, artifacts_url="memory://bucket"))
    kept = remote.put_bytes(b"far")

    assert local.local_path(local.put_bytes(b"near")).is_relative_to(tmp_path / "artifacts")
    assert remote.local_path(kept).is_relative_to(tmp_path / "cache")
