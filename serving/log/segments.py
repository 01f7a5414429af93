"""Append-only segments: JSON lines while they grow, Parquet once sealed; a killed process loses and doubles nothing.

A segment is ``ID.jsonl`` while a process appends to it, and ``ID.parquet`` afterwards. Its first line is a
header, each further one a batch; a last line without an end was cut off by a kill, and nobody was told that it
had been written. The writer holds a lock on the file, which the system takes from a dead process: whoever gets
the lock may seal the segment in its place.

Sealing writes the Parquet file aside, syncs it, renames it, and then removes the lines. Where a crash left
both, the Parquet file counts, since a segment is sealed only when nobody appends to it any more.
"""

from __future__ import annotations

import fcntl
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from base.errors import EverfitError

if TYPE_CHECKING:
    import pyarrow as pa

_log = logging.getLogger(__name__)

Document = dict[str, Any]
TableBuilder = Callable[[Document, list[Document]], "pa.Table"]


class SegmentDamaged(EverfitError):
    """A segment holds a line that no process of Everfit has written."""

    def __init__(self, path: Path, line: int) -> None:
        super().__init__(
            f"line {line} of the log's segment {str(path)!r} is no JSON, expected one document on each line; "
            "the disk or a person has changed it: mend that line, or move the file out of its folder"
        )
        self.path = path
        self.line = line


@dataclass(frozen=True)
class Lines:
    """What a segment's JSON lines hold: the header, and one document for each batch."""

    header: Document
    batches: list[Document]


class Segment:
    """A growing segment, locked by this process as long as it is open."""

    def __init__(self, folder: Path, header: Document) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self._descriptor = _create_locked(folder)
        self.n_rows = 0
        self._size = 0
        self._header = orjson.dumps(header) + b"\n"

    def append(self, batches: Sequence[Document], *, n_rows: int) -> None:
        """Hand batches to the operating system; when this returns, they survive the death of the process.

        A loss of power they may not survive yet: that needs a sync of the disk for each answer.

        Raises
        ------
        OSError
            If the disk does not take all of them; then none of them is in the segment.
        """
        data = (b"" if self._size else self._header) + b"".join(orjson.dumps(batch) + b"\n" for batch in batches)
        try:
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self._descriptor, rest) :]
        except OSError:
            with suppress(OSError):
                os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)
        self.n_rows += n_rows

    def close(self) -> None:
        """Give the lock back; what was appended stays as lines until somebody seals it."""
        os.close(self._descriptor)


class SegmentedLog:
    """One stream of batches over many segments; threads may append at the same time."""

    def __init__(
        self, folder: Path, header: Document, build_table: TableBuilder, *, segment_rows: int, sealer: Executor
    ) -> None:
        self._folder = folder
        self._header = header
        self._build_table = build_table
        self._segment_rows = segment_rows
        self._sealer = sealer
        self._lock = threading.Lock()
        self._segment: Segment | None = None

    def append(self, batches: Sequence[Document], *, n_rows: int) -> None:
        """Append batches, and have a full segment sealed in the background.

        Raises
        ------
        OSError
            If the disk does not take them; the next append tries with a new segment.
        """
        with self._lock:
            if self._segment is None:
                self._segment = Segment(self._folder, self._header)
            try:
                self._segment.append(batches, n_rows=n_rows)
            except OSError:
                self._segment.close()
                self._segment = None
                raise
            if self._segment.n_rows >= self._segment_rows:
                self._hand_over()

    def rotate(self) -> None:
        """Have the present segment sealed in the background; the next append begins another."""
        with self._lock:
            self._hand_over()

    def close(self) -> None:
        """Leave the present segment as lines: readers take them as they are, and the next start seals them."""
        with self._lock:
            if self._segment is not None:
                self._segment.close()
                self._segment = None

    def _hand_over(self) -> None:
        if self._segment is not None:
            self._sealer.submit(_seal_and_close, self._segment, self._build_table)
            self._segment = None


def adopt_segments(folder: Path, build_table: TableBuilder) -> int:
    """Seal the segments in *folder* that dead processes have left, and return how many there were."""
    count = 0
    for path in sorted(folder.glob("*.jsonl")):
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Whoever held the lock until now may have sealed the segment and removed its lines.
            if os.fstat(descriptor).st_nlink:
                seal_segment(path, build_table)
                count += 1
        except BlockingIOError:
            continue
        except Exception as error:
            # One bad file must not keep the service from starting, nor the other files from being sealed.
            _log.warning("segment %s stays as it is: %s: %s", path, type(error).__name__, error)
        finally:
            os.close(descriptor)
    return count


def seal_segment(path: Path, build_table: TableBuilder) -> None:
    """Turn a segment's lines into Parquet; the caller holds its lock.

    Raises
    ------
    SegmentDamaged
    """
    import pyarrow.parquet as pq

    target = path.with_suffix(".parquet")
    if not target.exists():
        lines = read_lines(path)
        if lines is not None:
            table = build_table(lines.header, lines.batches)
            # The name is the segment's own: what a crash leaves here, the next one to seal it overwrites.
            aside = path.with_suffix(".sealing")
            with aside.open("wb") as stream:
                pq.write_table(table, stream, compression="zstd", row_group_size=10_000)
                stream.flush()
                os.fsync(stream.fileno())
            aside.replace(target)
            _sync_folder(path.parent)
    path.unlink()


def read_lines(path: Path) -> Lines | None:
    """Read a segment's lines; None when not even one batch was written whole.

    Raises
    ------
    SegmentDamaged, FileNotFoundError
    """
    documents: list[Document] = []
    for number, line in enumerate(path.read_bytes().split(b"\n")[:-1], start=1):
        try:
            documents.append(orjson.loads(line))
        except orjson.JSONDecodeError as error:
            raise SegmentDamaged(path, number) from error
    return Lines(documents[0], documents[1:]) if len(documents) > 1 else None


def list_segments(folder: Path) -> tuple[list[Path], list[Path]]:
    """List the growing segments and the sealed ones, each batch in exactly one of them.

    The growing ones are listed first: one that is sealed meanwhile is then found among the sealed ones, never
    in neither list.
    """
    growing = sorted(folder.glob("*.jsonl"))
    sealed = sorted(folder.glob("*.parquet"))
    names = {path.stem for path in sealed}
    return [path for path in growing if path.stem not in names], sealed


def _create_locked(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(5)}.jsonl"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        # Between these two lines another process may adopt the file, empty as it is, and remove it.
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        os.close(descriptor)


def _seal_and_close(segment: Segment, build_table: TableBuilder) -> None:
    try:
        seal_segment(segment.path, build_table)
    except Exception:
        _log.exception("segment %s could not be sealed; it stays as lines until the next start", segment.path)
    finally:
        segment.close()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
