"""Files that are written whole or not at all, whenever the process dies."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from datetime import datetime
from pathlib import Path
from typing import IO

_UNFINISHED = ".writing-"
_is_synced: ContextVar[bool] = ContextVar("is_synced", default=True)


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new, never half of it."""
    with writing(target) as stream:
        stream.write(data)


@contextmanager
def writing(target: Path) -> Iterator[IO[bytes]]:
    """Give a stream whose content becomes the file *target* at the end, or nothing does."""
    is_new = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are for their owner alone, and a service may run as another user.
    temporary = target.parent / f"{_UNFINISHED}{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            if _is_synced.get():
                os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if not _is_synced.get():
        return
    fsync_folder(target.parent)
    if is_new:
        fsync_folder(target.parent.parent)


@contextmanager
def without_syncing() -> Iterator[None]:
    """Leave it to the system when files reach the disk meanwhile, for what can be computed again.

    A process that dies loses nothing by it, a loss of power what was written last. A backtest writes some hundred
    small files a minute, and would wait for the disk where it could compute.
    """
    token = _is_synced.set(False)
    try:
        yield
    finally:
        _is_synced.reset(token)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder survive a loss of power, as their files' content does already."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def delete_leftovers(folder: Path, *, before: datetime) -> int:
    """Delete what crashes left half-written below a folder before a moment; return its size in bytes."""
    n_bytes = 0
    for path in folder.rglob(f"{_UNFINISHED}*"):
        with suppress(FileNotFoundError):
            found = path.stat()
            if found.st_mtime < before.timestamp():
                path.unlink()
                n_bytes += found.st_size
    return n_bytes


def list_sizes(folder: Path) -> Iterator[tuple[str, int]]:
    """List the name and size of every file below a folder; others may write and delete there meanwhile."""
    for path in folder.rglob("*"):
        with suppress(FileNotFoundError):
            if path.is_file():
                yield path.name, path.stat().st_size


def copy_stream(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream and return the digest of what was copied."""
    found = hashlib.sha256()
    while chunk := source.read(1 << 20):
        found.update(chunk)
        target.write(chunk)
    return found.hexdigest()
