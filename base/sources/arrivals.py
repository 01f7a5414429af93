"""What has come into a source since it was read last: counted without reading what is known."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from pathlib import Path

from base.extract_spec import SourceSpec
from base.section import is_function
from base.sources.cuts import Cut, count_above
from base.sources.files import FileStates, SourceFile, describe_files, find_files
from base.sources.formats import count_rows_of
from base.sources.function import call_source, takes_since
from base.sources.reading import Site


@dataclass(frozen=True)
class Known:
    """How far a source has been read: its files, its newest rows, and how many rows there were."""

    files: FileStates | None
    cut: Cut | None
    n_rows: int


@dataclass(frozen=True)
class Arrivals:
    """What is new in a source: rows, bytes where they can be told, and when the newest of it came.

    ``why_not`` says why nothing can be counted.
    """

    n_rows: int | None = None
    n_bytes: int | None = None
    newest: datetime | None = None
    why_not: str = ""


def count_arrivals(spec: SourceSpec, site: Site, known: Known) -> Arrivals:
    """Count what has come into a source since it was read last.

    Files are told apart by their marks; only those that are new or have changed are opened (of Parquet, only the
    footer). A database counts by itself. A function is asked where it takes ``since``; to call another one would
    mean to read everything.

    Raises
    ------
    SourceAway, SourceFailed, DataRefused, DefinitionError, UserCodeError
    """
    if spec.connection:
        from base.sources.sql import count_query

        n_rows, newest = count_query(spec, site.settings, known.cut)
        return Arrivals(n_rows if known.cut is not None else max(0, n_rows - known.n_rows), newest=newest)
    if is_function(spec.source):
        return _ask_function(spec, site, known)
    files = find_files(spec.source, site.folder, site.settings)
    newest = max((moment for file in files if (moment := file.store.modified(file.address)) is not None), default=None)
    before = known.files or {}
    now = describe_files(files, before)
    changed = [file for file in files if now[file.name]["digest"] != before.get(file.name, {}).get("digest")]
    if not changed:
        return Arrivals(0, 0, newest)
    is_grown = all(file.name not in before for file in changed) and all(name in now for name in before)
    counted = changed if is_grown else files
    n_rows = sum(_count_rows(file, now[file.name]["digest"]) for file in counted)
    return Arrivals(n_rows if is_grown else max(0, n_rows - known.n_rows), _count_bytes(changed, before), newest)


def _count_bytes(changed: Sequence[SourceFile], before: FileStates) -> int | None:
    total = 0
    for file in changed:
        size = file.store.size(file.address)
        if size is None:
            return None
        # A mark of this machine begins with the file's size; of others, the whole file counts as new.
        was = before.get(file.name, {}).get("mark", "").split(":")[0]
        total += max(0, size - (int(was) if was.isdecimal() else 0))
    return total


def _count_rows(file: SourceFile, digest: str) -> int:
    return _count_once(_Counted(file, digest))


@dataclass(frozen=True, eq=False)
class _Counted:
    """A file by its content: the same content is counted once, wherever it lies."""

    file: SourceFile
    digest: str

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Counted) and (self.digest, self.file.name) == (other.digest, other.file.name)

    def __hash__(self) -> int:
        return hash((self.digest, self.file.name))


@lru_cache(maxsize=4096)
def _count_once(counted: _Counted) -> int:
    with tempfile.TemporaryDirectory(prefix="everfit-count-") as folder:
        return count_rows_of(counted.file.store.fetch(counted.file.address, Path(folder)))


def _ask_function(spec: SourceSpec, site: Site, known: Known) -> Arrivals:
    if known.cut is None or not takes_since(site.code.function(spec.source)):
        return Arrivals(
            why_not=f"{spec.source} must be read whole to be counted; give it a parameter `since` and the pipeline "
            "extract.incremental, or train on a schedule"
        )
    rows = call_source(spec.source, site.code, known.cut)
    n_rows, newest = count_above(rows, known.cut)
    return Arrivals(n_rows, rows.nbytes, newest)
