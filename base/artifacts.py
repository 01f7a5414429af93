"""Content-addressed files behind fsspec: written whole or not at all, verified when read."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.artifact import Artifact, ArtifactCorrupt, ArtifactMissing, ArtifactNotStored
from base.atomic_files import copy_stream, delete_leftovers, list_sizes, write_atomically, writing
from base.errors import ArgumentError
from base.fingerprint import digest_bytes
from base.known_digests import digest_once, remember_digest
from base.settings import Settings
from base.times import as_utc, utc_now

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

__all__ = ["STORED_AGAIN_AFTER", "Artifact", "ArtifactCorrupt", "ArtifactMissing", "ArtifactNotStored", "ArtifactStore"]

STORED_AGAIN_AFTER = timedelta(minutes=30)
"""Age from which a file in an object store is written again when its content is stored once more."""

_STORED = re.compile(r"(?P<digest>[0-9a-f]{64})(?P<suffix>[^/\\\x00]*)")


class ArtifactStore:
    """Files named after their content, in a folder or in any store that fsspec knows.

    Writing the same content twice is one file, and mends one that was damaged; a crash leaves at most a temporary
    file that nothing refers to.

    Examples
    --------
    >>> import tempfile
    >>> store = ArtifactStore(tempfile.mkdtemp())
    >>> kept = store.put_bytes(b"hello", suffix=".txt")
    >>> store.read_bytes(kept)
    b'hello'
    """

    def __init__(self, url: str, *, cache: Path | None = None) -> None:
        self.url = url
        self._is_local = "://" not in url or url.startswith(("file://", "local://"))
        self._root = url.removeprefix("file://").removeprefix("local://").rstrip("/")
        self._cache = cache or Path(tempfile.gettempdir()) / f"everfit-artifacts-{os.getuid()}"
        self._remote: AbstractFileSystem | None = None
        self._remote_root = ""

    @classmethod
    def from_settings(cls, settings: Settings) -> ArtifactStore:
        """Open the store that the settings name."""
        return cls(settings.artifacts, cache=settings.home.absolute() / "cache")

    def put_bytes(self, data: bytes, *, suffix: str = "") -> Artifact:
        """Store *data* and return the reference to it."""
        artifact = Artifact(digest=digest_bytes(data), size_bytes=len(data), suffix=suffix)
        with self._explained():
            if self._holds(artifact):
                pass
            elif self._is_local:
                write_atomically(Path(self._root, artifact.key), data)
            else:
                # An object store shows an object when all of it has arrived, so the final name is safe.
                self._remote_files().pipe_file(self._address(artifact), data)
        return artifact

    def put_file(self, path: Path, *, suffix: str | None = None) -> Artifact:
        """Store a file's content, leaving the file where it is.

        Raises
        ------
        ArtifactNotStored
            If the file changes meanwhile, or the store cannot be written.
        FileNotFoundError
            If the file is not there, or is taken away meanwhile.
        """
        suffix = path.suffix if suffix is None else suffix
        artifact = Artifact(digest=digest_once(path), size_bytes=path.stat().st_size, suffix=suffix)
        try:
            with self._explained():
                if not self._holds(artifact):
                    self._copy(path, artifact)
        except ArtifactNotStored as error:
            if not path.exists():
                raise FileNotFoundError(errno.ENOENT, "was taken away while it was stored", str(path)) from error
            raise
        return artifact

    def local_path(self, artifact: Artifact) -> Path:
        """Return a verified file on this machine with the artifact's content.

        Raises
        ------
        ArtifactMissing, ArtifactCorrupt
        """
        if self._is_local:
            path = Path(self._root, artifact.key)
            if not path.is_file():
                raise ArtifactMissing(artifact, self.url)
        else:
            path = self._cache / artifact.key
            if not path.is_file() or digest_once(path) != artifact.digest:
                self._fetch(artifact, path)
        found = digest_once(path)
        if found != artifact.digest:
            raise ArtifactCorrupt(artifact, found)
        return path

    def read_bytes(self, artifact: Artifact) -> bytes:
        """Return the verified content of a small artifact.

        Raises
        ------
        ArtifactMissing, ArtifactCorrupt
        """
        if not self._is_local:
            return self.local_path(artifact).read_bytes()
        try:
            data = Path(self._root, artifact.key).read_bytes()
        except FileNotFoundError as error:
            raise ArtifactMissing(artifact, self.url) from error
        found = hashlib.sha256(data).hexdigest()
        if found != artifact.digest:
            raise ArtifactCorrupt(artifact, found)
        return data

    def __contains__(self, artifact: Artifact) -> bool:
        """Tell whether the file is there, without reading it."""
        if self._is_local:
            path = Path(self._root, artifact.key)
            return path.is_file() and path.stat().st_size == artifact.size_bytes
        try:
            return bool(self._remote_files().size(self._address(artifact)) == artifact.size_bytes)
        except FileNotFoundError:
            return False

    def list_files(self) -> Iterator[Artifact]:
        """List every finished file of the store, whether something refers to it or not."""
        if self._is_local:
            sizes = list_sizes(Path(self._root, "sha256"))
        else:
            self._remote_files().invalidate_cache()
            found = self._remote_files().find(f"{self._remote_root}/sha256", detail=True)
            sizes = ((address.rpartition("/")[2], int(info["size"])) for address, info in found.items())
        for name, size in sizes:
            if parts := _STORED.fullmatch(name):
                yield Artifact(digest=parts["digest"], size_bytes=size, suffix=parts["suffix"])

    def touched(self, artifact: Artifact) -> datetime | None:
        """Tell when a file was last stored, if only once more; None: it is gone."""
        try:
            if self._is_local:
                return datetime.fromtimestamp(Path(self._root, artifact.key).stat().st_mtime, UTC)
            address = self._address(artifact)
            self._remote_files().invalidate_cache()
            return as_utc(self._remote_files().modified(address))
        except FileNotFoundError:
            return None

    def delete(self, artifact: Artifact, *, unless_since: datetime) -> bool:
        """Delete a file, unless it was stored again since a moment; tell whether it was deleted."""
        # In a folder nobody can store it between the look at its age and its end; elsewhere age alone protects.
        with self._explained(), self._locked(fcntl.LOCK_EX):
            if (touched := self.touched(artifact)) is None or touched >= unless_since:
                return False
            if self._is_local:
                Path(self._root, artifact.key).unlink(missing_ok=True)
            else:
                self._remote_files().rm_file(self._address(artifact))
            return True

    def delete_unfinished(self, *, before: datetime) -> int:
        """Delete what crashes left half-written before a moment, and return its size in bytes."""
        return delete_leftovers(Path(self._root), before=before) if self._is_local else 0

    def _copy(self, path: Path, artifact: Artifact) -> None:
        if not self._is_local:
            self._remote_files().put_file(str(path), self._address(artifact))
            return
        stored = Path(self._root, artifact.key)
        with writing(stored) as stream, path.open("rb") as content:
            if copy_stream(content, stream) != artifact.digest:
                problem = f"{path.name!r} was changed while it was read"
                raise ArtifactNotStored(self.url, problem, "let its writer finish, and try again")
        remember_digest(stored, artifact.digest)

    def _holds(self, artifact: Artifact) -> bool:
        """Tell whether the file need not be written; if so, it is made young, since retention spares young files."""
        # A folder's content is looked at, too; other stores cannot make a file young: an old one is written again.
        if not self._is_local:
            touched = self.touched(artifact) if artifact in self else None
            return touched is not None and utc_now() - touched < STORED_AGAIN_AFTER
        path = Path(self._root, artifact.key)
        with self._locked(fcntl.LOCK_SH):
            try:
                os.utime(path)
            except OSError:
                return False  # gone, or another user's, who alone may make it young
        return artifact in self and digest_once(path) == artifact.digest

    @contextmanager
    def _locked(self, kind: int) -> Iterator[None]:
        folder = None
        with suppress(FileNotFoundError):
            folder = os.open(self._root, os.O_RDONLY) if self._is_local else None
        try:
            if folder is not None:
                with suppress(OSError):  # a network's folder may know no locks; then age alone protects a file
                    fcntl.flock(folder, kind)
            yield
        finally:
            if folder is not None:
                os.close(folder)

    def _fetch(self, artifact: Artifact, path: Path) -> None:
        with writing(path) as stream:
            try:
                with self._remote_files().open(self._address(artifact), "rb") as content:
                    found = copy_stream(content, stream)
            except FileNotFoundError as error:
                raise ArtifactMissing(artifact, self.url) from error
            if found != artifact.digest:
                raise ArtifactCorrupt(artifact, found)

    def _address(self, artifact: Artifact) -> str:
        self._remote_files()
        return f"{self._remote_root}/{artifact.key}"

    def _remote_files(self) -> Any:
        if self._remote is None:
            from fsspec.core import url_to_fs

            try:
                self._remote, root = url_to_fs(self.url)
            except (ValueError, ImportError) as error:
                raise ArgumentError(f"EVERFIT_ARTIFACTS_URL {self.url!r} cannot be used: {error}") from error
            self._remote_root = str(root).rstrip("/")
        return self._remote

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            problem = error.strerror or f"{type(error).__name__}: {error}"
            raise ArtifactNotStored(self.url, problem, "see its free space and its owner") from error
