"""An index over the segments of one kind: which identifiers they hold, without reading all of them each time."""

from __future__ import annotations

import os
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import orjson

from serving.labels.blocks import Block, join_blocks
from serving.log.segments import Document, list_segments

DocumentReader = Callable[[Document, list[Document]], Block | None]
"""Makes a block of a growing segment's header and some of its lines; None where they hold no identifier."""

FileReader = Callable[[Path], Block | None]
"""Makes a block of a sealed segment."""

RangeReader = Callable[[Path], tuple[str, str] | None]
"""Reads the smallest and largest identifier out of a sealed segment's footer; None where it does not tell."""


@dataclass
class _Growing:
    offset: int = 0
    header: Document | None = None
    block: Block | None = None


class SegmentIndex:
    """The blocks of a folder of segments, read when they are asked for and kept up to a limit.

    A sealed segment never changes: its range of identifiers is read once, its block when an identifier may be in it.
    Of a growing one, only the lines that are new since the last question are read.

    Parameters
    ----------
    most_bytes : int
        Blocks of sealed segments beyond it are forgotten, those first that were not asked for the longest time.
    """

    def __init__(
        self,
        folder: Path,
        *,
        read_documents: DocumentReader,
        read_file: FileReader,
        read_range: RangeReader,
        most_bytes: int,
    ) -> None:
        self._folder = folder
        self._read_documents = read_documents
        self._read_file = read_file
        self._read_range = read_range
        self._most_bytes = most_bytes
        self._ranges: dict[Path, tuple[str, str] | None] = {}
        self._blocks: OrderedDict[Path, Block | None] = OrderedDict()
        self._growing: dict[Path, _Growing] = {}
        self._n_bytes = 0
        self.n_files_read = 0

    def blocks_of(self, ids: Sequence[str]) -> Iterator[Block]:
        """Yield the blocks that may hold some of these identifiers.

        Raises
        ------
        OSError
            If a segment cannot be read.
        """
        self.refresh()
        asked = sorted(ids)
        for known in self._growing.values():
            if known.block is not None and _overlaps(asked, known.block.first, known.block.last):
                yield known.block
        for path, extremes in list(self._ranges.items()):
            if extremes is not None and not _overlaps(asked, *extremes):
                continue
            block = None
            with suppress(FileNotFoundError):
                block = self._read_sealed(path)
            if block is not None and _overlaps(asked, block.first, block.last):
                yield block

    def refresh(self) -> None:
        """Read what is new: the further lines of growing segments, and the footers of segments sealed since."""
        growing, sealed = list_segments(self._folder)
        self._forget(growing, sealed)
        for path in growing:
            # One that is sealed since it was listed is the next question's to find.
            with suppress(FileNotFoundError):
                self._read_growing(path)
        for path in sealed:
            if path not in self._ranges:
                # One that is moved away since it was listed is as if it had not been there.
                with suppress(FileNotFoundError):
                    self._ranges[path] = self._read_range(path)

    def _read_sealed(self, path: Path) -> Block | None:
        if path in self._blocks:
            self._blocks.move_to_end(path)
            return self._blocks[path]
        block = self._read_file(path)
        self.n_files_read += 1
        self._blocks[path] = block
        self._n_bytes += 0 if block is None else block.n_bytes
        while self._n_bytes > self._most_bytes and len(self._blocks) > 1:
            _, forgotten = self._blocks.popitem(last=False)
            self._n_bytes -= 0 if forgotten is None else forgotten.n_bytes
        return block

    def _read_growing(self, path: Path) -> None:
        known = self._growing.setdefault(path, _Growing())
        documents, known.offset = _read_lines_from(path, known.offset)
        if documents and known.header is None:
            known.header, documents = documents[0], documents[1:]
        if documents and known.header is not None:
            added = self._read_documents(known.header, documents)
            if added is not None:
                known.block = added if known.block is None else join_blocks(known.block, added)

    def _forget(self, growing: Sequence[Path], sealed: Sequence[Path]) -> None:
        self._growing = {path: known for path, known in self._growing.items() if path in set(growing)}
        there = set(sealed)
        self._ranges = {path: extremes for path, extremes in self._ranges.items() if path in there}
        for path in [path for path in self._blocks if path not in there]:
            block = self._blocks.pop(path)
            self._n_bytes -= 0 if block is None else block.n_bytes


def _read_lines_from(path: Path, offset: int) -> tuple[list[Document], int]:
    """Read the whole lines from an offset on, and where the next ones will begin."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with os.fdopen(descriptor, "rb", closefd=False) as stream:
            stream.seek(offset)
            # The file is stretched ahead of its lines with zeros, and a last line without an end is not written yet.
            data = stream.read().partition(b"\0")[0]
    finally:
        os.close(descriptor)
    whole, newline, _ = data.rpartition(b"\n")
    if not newline:
        return [], offset
    return [orjson.loads(line) for line in whole.split(b"\n")], offset + len(whole) + 1


def _overlaps(ids: Sequence[str], first: str, last: str) -> bool:
    """Tell whether one of some sorted identifiers lies in [first, last]."""
    place = bisect_left(ids, first)
    return place < len(ids) and ids[place] <= last
