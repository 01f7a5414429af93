"""The archive that a model file is: looked through before anything in it is read."""

from __future__ import annotations

import io
import math
import zipfile
from collections.abc import Iterable
from typing import IO

import numpy as np

from base.errors import EverfitError

# The largest model that was met was a tenth of this; a compressed file of a megabyte can unpack to a thousand.
_LARGEST_UNPACKED_BYTES = 16 << 30
_MOST_ENTRIES = 200_000
# A description is some kilobytes; one of a forest of a thousand trees has ten megabytes.
_LARGEST_SCHEMA_BYTES = 256 << 20
_LONGEST_HEADER = 10_000
_MAGIC_BYTES = 12


class ModelFileRefused(EverfitError):
    """A model file that holds what is not allowed, or is no model file."""

    def __init__(self, problem: str, types: Iterable[str] = ()) -> None:
        super().__init__(f"the model file is refused: {problem}")
        self.types = tuple(types)


def check_archive(data: bytes) -> None:
    """Check what the archive says of itself: its size, its names, and the arrays' shapes against their bytes.

    Raises
    ------
    ModelFileRefused
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            _check_entries(archive.infolist())
            for entry in archive.infolist():
                if entry.filename.endswith(".npy"):
                    with archive.open(entry) as stream:
                        _check_array(entry, stream)
    except ModelFileRefused:
        raise
    except Exception as error:
        # A broken archive makes zipfile and zlib raise a dozen kinds.
        raise ModelFileRefused(f"it is no skops file ({type(error).__name__}: {error})") from error


def _check_entries(entries: list[zipfile.ZipInfo]) -> None:
    size = sum(entry.file_size for entry in entries)
    if size > _LARGEST_UNPACKED_BYTES:
        raise ModelFileRefused(f"it unpacks to {size:,} bytes, expected at most {_LARGEST_UNPACKED_BYTES:,}")
    if len(entries) > _MOST_ENTRIES:
        raise ModelFileRefused(f"it holds {len(entries):,} files, expected at most {_MOST_ENTRIES:,}")
    seen = set()
    for entry in entries:
        name = entry.filename
        if name in seen or "/" in name or "\\" in name or name.startswith("."):
            what = "twice" if name in seen else "which is no plain name"
            raise ModelFileRefused(f"it holds the file {name[:200]!r}, {what}")
        seen.add(name)
        if name == "schema.json" and entry.file_size > _LARGEST_SCHEMA_BYTES:
            raise ModelFileRefused(
                f"its schema.json has {entry.file_size:,} bytes, expected at most {_LARGEST_SCHEMA_BYTES:,}"
            )


def _check_array(entry: zipfile.ZipInfo, stream: IO[bytes]) -> None:
    """Compare an array's shape with the bytes that are there: memory is taken for the one before the other is read."""
    major, _ = np.lib.format.read_magic(stream)
    read = np.lib.format.read_array_header_1_0 if major == 1 else np.lib.format.read_array_header_2_0
    shape, _, kind = read(stream, max_header_size=_LONGEST_HEADER)
    if kind.hasobject:
        raise ModelFileRefused(f"its array {entry.filename!r} holds Python objects, which only a pickle can")
    claimed = math.prod(shape) * kind.itemsize
    if claimed < 0 or claimed > entry.file_size - _MAGIC_BYTES:
        raise ModelFileRefused(
            f"its array {entry.filename!r} says that it has {claimed:,} bytes, and {entry.file_size:,} are there"
        )
