"""Growing segments: lines that one process appends, and the stream of segments that it writes one after the other."""

from __future__ import annotations

import fcntl
import os
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

import orjson

from base.atomic_files import fsync_folder
from serving.log.segments import GROWING, Document

# A file that need not get longer with each group is synced in two thirds of the time.
_STRETCH_BYTES = 1 << 20


class Segment:
    """A growing segment, locked by this process as long as it is open."""

    def __init__(self, folder: Path, header: Document) -> None:
        _make_folder(folder)
        self.path, self._descriptor = _create_locked(folder)
        # Without this, a loss of power could take the file's name with all that was synced into it.
        fsync_folder(folder)
        self.began = time.monotonic()
        self.n_rows = 0
        self._size = 0
        self._stretched = 0
        self._header = orjson.dumps(header) + b"\n"

    @property
    def descriptor(self) -> int:
        """The open file, which holds the lock."""
        return self._descriptor

    def append(self, data: bytes, *, n_rows: int, synced: bool) -> None:
        """Write lines; they survive the death of the process, and where *synced* a loss of power.

        Raises
        ------
        OSError
            If the disk does not take all of them; then none of them is in the segment.
        """
        data = data if self._size else self._header + data
        size = self._size + len(data)
        try:
            if synced and size > self._stretched:
                self._stretch(size)
            offset, rest = self._size, memoryview(data)
            while rest:
                written = os.pwrite(self._descriptor, rest, offset)
                offset, rest = offset + written, rest[written:]
            if synced:
                os.fdatasync(self._descriptor)
        except OSError:
            self._cut()
            raise
        self._size = size
        self.n_rows += n_rows

    def close(self) -> None:
        """Give the lock back; what was appended stays as lines until somebody seals it."""
        if self._size == 0:
            # A full disk refuses thousands of requests, and each would leave an empty file.
            with suppress(OSError):
                self.path.unlink()
        elif self._stretched > self._size:
            self._cut()
        os.close(self._descriptor)

    def _stretch(self, size: int) -> None:
        # A disk with too little left for the stretch may still take the lines.
        with suppress(OSError):
            os.posix_fallocate(self._descriptor, self._size, size - self._size + _STRETCH_BYTES)
            self._stretched = size + _STRETCH_BYTES

    def _cut(self) -> None:
        with suppress(OSError):
            os.ftruncate(self._descriptor, self._size)
        self._stretched = self._size


class Stream:
    """One process's rows of one kind and version, numbered from 0 over all its segments.

    Parameters
    ----------
    header : dict
        What the segments' first lines say, beside the number of their first row (``first``).
    hand_over : callable
        Takes each segment that gets no more rows, still locked, to be sealed.
    """

    def __init__(
        self, folder: Path, header: Document, *, segment_rows: int, hand_over: Callable[[Segment], None]
    ) -> None:
        self._folder = folder
        self._header = header
        self._segment_rows = segment_rows
        self._hand_over = hand_over
        self._lock = threading.Lock()
        self._segment: Segment | None = None
        self._next = 0

    def append(self, batches: Sequence[tuple[Document, int]], *, synced: bool) -> None:
        """Append documents, each with its number of rows, and hand over a full segment.

        Raises
        ------
        OSError
            If the disk does not take them; the next append tries with a new segment.
        TypeError
            If one of them is no JSON; nothing was written.
        """
        with self._lock:
            lines, number = [], self._next
            for document, n_rows in batches:
                lines.append(orjson.dumps({"seq": number, "n": n_rows, **document}, option=orjson.OPT_APPEND_NEWLINE))
                number += n_rows
            if self._segment is None:
                self._segment = Segment(self._folder, self._header | {"first": self._next})
            try:
                self._segment.append(b"".join(lines), n_rows=number - self._next, synced=synced)
            except OSError:
                self._segment.close()
                self._segment = None
                raise
            self._next = number
            if self._segment.n_rows >= self._segment_rows:
                self._let_go(self._segment)

    def rotate(self, *, older_than: float = 0.0) -> None:
        """Have the present segment sealed, if it began so many seconds ago; the next append begins another."""
        with self._lock:
            segment = self._segment
            if segment is not None and time.monotonic() - segment.began >= older_than:
                self._let_go(segment)

    def close(self) -> None:
        """Leave the present segment as lines: readers take them as they are, and the next start seals them."""
        with self._lock:
            if self._segment is not None:
                self._segment.close()
                self._segment = None

    def _let_go(self, segment: Segment) -> None:
        self._segment = None
        self._hand_over(segment)


def _make_folder(folder: Path) -> None:
    missing = [each for each in (folder, *folder.parents) if not each.exists()]
    for each in reversed(missing):
        each.mkdir(exist_ok=True)
        fsync_folder(each.parent)


def _create_locked(folder: Path) -> tuple[Path, int]:
    while True:
        path = folder / f"{time.time_ns() // 1_000_000:012x}-{secrets.token_hex(5)}{GROWING}"
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        # Between these two lines another process may adopt the file, empty as it is, and remove it.
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(descriptor).st_nlink:
                return path, descriptor
        os.close(descriptor)
