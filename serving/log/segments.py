"""Segments of the log on disk: JSON lines while they grow, Parquet once sealed, each batch in exactly one of them.

A segment is ``ID.jsonl`` while a process appends to it, and ``ID.parquet`` afterwards. Its first line is a
header, which names its writer and the number of its first row in that writer's stream; each further one is a batch.
A last line without an end was cut off by a kill, and nobody was told that it had been written. What the file was
stretched by, ahead of the next lines, reads as zeros and counts for nothing.

The writer holds a lock on the file, which the system takes from a dead process: whoever gets the lock may seal the
segment in its place (:mod:`serving.log.sealing`). Sealed ones are moved to the artifact store
(:mod:`serving.log.moving`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson

from base.errors import EverfitError

if TYPE_CHECKING:
    import pyarrow as pa

Document = dict[str, Any]
TableBuilder = Callable[[Document, list[Document]], "pa.Table"]

HEADER_KEY = b"everfit"
"""Under which a Parquet file's metadata hold the header of the segment."""

GROWING = ".jsonl"
SEALED = ".parquet"


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


def segment_folder(home: Path, model: str, kind: str) -> Path:
    """Where the segments of one kind (``predictions``, ``labels``) of a model lie on this machine."""
    return home / "traffic" / model / kind


def read_lines(path: Path) -> Lines | None:
    """Read a segment's lines; None when not even one batch was written whole.

    Raises
    ------
    SegmentDamaged, FileNotFoundError
    """
    documents: list[Document] = []
    # No line holds a zero: the first one is where the file was only stretched.
    for number, line in enumerate(path.read_bytes().partition(b"\0")[0].split(b"\n")[:-1], start=1):
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
    growing = sorted(folder.glob(f"*{GROWING}"))
    sealed = sorted(folder.glob(f"*{SEALED}"))
    names = {path.stem for path in sealed}
    return [path for path in growing if path.stem not in names], sealed
