"""The files of a source: found, told apart from what they were before, and brought to this machine."""

from __future__ import annotations

import glob
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Protocol

from base.cores import map_on_cores
from base.errors import DefinitionError, nearest
from base.fingerprint import digest_document
from base.known_digests import digest_once
from base.settings import Settings
from base.sources.formats import FORMATS, find_format
from base.sources.retries import SourceChanged, ask_patiently

FileStates = dict[str, dict[str, str]]
"""What each file was, by name: the digest of its content, and a mark that tells a change without reading it."""

_PARTITION = re.compile(r"(?P<key>[^=/]+)=(?P<value>[^=/]*)")
_NO_PARTITION = "__HIVE_DEFAULT_PARTITION__"
# A file written in the same tick of the clock may keep its mark; such a mark is not believed.
_FRESH_SECONDS = 2.0


class FileStore(Protocol):
    """Where files lie: a folder, an object store, a web server."""

    def mark(self, address: str) -> str:
        """Return what changes whenever the file does, or an empty text where nothing tells."""

    def digest(self, address: str, mark: str) -> str:
        """Return a digest of the file's content."""

    def size(self, address: str) -> int | None:
        """Return how many bytes the file has, where that can be told."""

    def modified(self, address: str) -> datetime | None:
        """Return when the file was written last, in UTC, where that can be told."""

    def fetch(self, address: str, into: Path) -> Path:
        """Return the path of a file on this machine with that content, written into *into* where needed."""


@dataclass(frozen=True)
class SourceFile:
    """One file of a source, by its name below the source's root."""

    name: str
    address: str
    mark: str
    store: FileStore
    partitions: Mapping[str, str | None] = field(default_factory=dict)


class LocalFiles:
    """Files on this machine."""

    def mark(self, address: str) -> str:
        status = Path(address).stat()
        return f"{status.st_size}:{status.st_mtime_ns}:{status.st_ino}"

    def digest(self, address: str, mark: str) -> str:
        return digest_once(Path(address))

    def size(self, address: str) -> int | None:
        return Path(address).stat().st_size

    def modified(self, address: str) -> datetime | None:
        return datetime.fromtimestamp(Path(address).stat().st_mtime, UTC)

    def fetch(self, address: str, into: Path) -> Path:
        return Path(address)


def find_files(source: str, folder: Path, settings: Settings) -> list[SourceFile]:
    """List the files of a source, ordered by name.

    Parameters
    ----------
    source : str
        A file, a folder (all files of a known format in and below it), a glob, or the URL of one; a relative
        path starts at *folder*. Folders such as ``year=2024`` are partitions, whose values become columns.

    Raises
    ------
    DefinitionError
        If there is none, or its format is unknown.
    SourceAway
        If where they lie does not answer.
    """
    if source.startswith(("file://", "local://")):
        source = source.split("://", maxsplit=1)[1]
    if "://" in source:
        from base.sources.remote import find_remote_files

        return ask_patiently(source, lambda: find_remote_files(source, settings), settings)
    store, paths = LocalFiles(), source_files(source, folder)
    root = paths[0].parent if len(paths) == 1 and not (folder / source).is_dir() else _root(source, folder)
    return [
        SourceFile(
            path.relative_to(root).as_posix(), str(path), store.mark(str(path)), store, _partitions(path, root, source)
        )
        for path in paths
    ]


def describe_files(files: list[SourceFile], known: FileStates | None = None) -> FileStates:
    """Digest each file; one whose mark is that of *known* is not read again."""

    def describe(file: SourceFile) -> tuple[str, dict[str, str]]:
        before = (known or {}).get(file.name)
        is_known = before is not None and file.mark and before["mark"] == file.mark
        digest = before["digest"] if before and is_known else file.store.digest(file.address, file.mark)
        return file.name, {"digest": digest, "mark": "" if _is_fresh(file) else file.mark}

    # A network's store is asked for one file after the other, so as not to be flooded.
    are_here = all(isinstance(file.store, LocalFiles) for file in files)
    return dict(map_on_cores(describe, files) if are_here else map(describe, files))


def check_unchanged(source: str, files: list[SourceFile]) -> None:
    """Look whether the files are still what they were when they were found.

    Raises
    ------
    SourceChanged
    """
    for file in files:
        try:
            mark = file.store.mark(file.address)
        except FileNotFoundError:
            mark = "gone"
        if mark != file.mark:
            raise SourceChanged(source, file.name)


def source_digest(source: str, folder: Path, settings: Settings | None = None) -> str:
    """Digest the content of all files of a source, and their names; where the source lies does not count.

    Raises
    ------
    DefinitionError
        If there is no such file, or its format is unknown.
    """
    return digest_states(describe_files(find_files(source, folder, settings or Settings())))


def digest_states(states: FileStates) -> str:
    """Digest the names and contents of files."""
    return digest_document({name: state["digest"] for name, state in states.items()})


def source_files(source: str, folder: Path) -> list[Path]:
    """List the files of a local source, ordered by name.

    Raises
    ------
    DefinitionError
        If there is none, or its format is unknown.
    """
    path = folder / source
    if path.is_file():
        if find_format(path.name) is None:
            raise DefinitionError(
                f"source {source!r} has the unknown format {path.suffix!r}, expected {FORMATS}", key="extract.source"
            )
        return [path]
    if path.is_dir():
        found = [item for item in path.rglob("*") if not is_hidden(item.relative_to(path).parts)]
    elif glob.has_magic(source):
        # Path.glob refuses a pattern that is absolute.
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        raise _no_such_file(source, path)
    files = sorted(item for item in found if item.is_file() and find_format(item.name) is not None)
    if not files:
        raise no_file_found(source, str(path))
    return files


def no_file_found(source: str, place: str) -> DefinitionError:
    """Say that a folder, prefix or glob holds nothing to read."""
    return DefinitionError(
        f"source {source!r} holds no file of a known format (looked at {place}), expected {FORMATS}",
        key="extract.source",
    )


def is_hidden(parts: tuple[str, ...]) -> bool:
    """Tell the marks that Spark and others leave beside the data, such as _SUCCESS and ._file."""
    return any(part.startswith((".", "_")) for part in parts)


def read_partitions(parts: tuple[str, ...]) -> dict[str, str | None]:
    """Read Hive partitions from the names of folders.

    Examples
    --------
    >>> read_partitions(("year=2024", "month=__HIVE_DEFAULT_PARTITION__", "part-0.parquet"))
    {'year': '2024', 'month': None}
    """
    from urllib.parse import unquote

    found = [match for part in parts[:-1] if (match := _PARTITION.fullmatch(part))]
    return {match["key"]: None if match["value"] == _NO_PARTITION else unquote(match["value"]) for match in found}


def _partitions(path: Path, root: Path, source: str) -> dict[str, str | None]:
    written = tuple(part for part in PurePosixPath(source).parts if not glob.has_magic(part))
    return {
        **read_partitions((*written, "") if root.name in written[-1:] else written),
        **read_partitions(path.relative_to(root).parts),
    }


def _is_fresh(file: SourceFile) -> bool:
    if not isinstance(file.store, LocalFiles) or not file.mark:
        return False
    return time.time() - int(file.mark.split(":")[1]) / 1e9 < _FRESH_SECONDS


def _no_such_file(source: str, path: Path) -> DefinitionError:
    parent = path.parent
    if not parent.is_dir():
        hint = f"; there is no folder {str(parent)!r} either"
    else:
        hint = nearest(path.name, [item.name for item in parent.iterdir()]) or f"; looked at {str(path)!r}"
    return DefinitionError(f"source {source!r}: there is no such file{hint}", key="extract.source")


def _root(source: str, folder: Path) -> Path:
    path = folder / source
    while glob.has_magic(str(path)):
        path = path.parent
    return path
