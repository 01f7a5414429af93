"""Content-addressed files behind fsspec: written whole or not at all, verified when read."""

from __future__ import annotations

import hashlib
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field

from base.errors import ArgumentError, EverfitError
from base.fingerprint import digest_bytes, digest_file
from base.settings import Settings

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


class Artifact(BaseModel):
    """A reference to a stored file: its content's digest and its size; the name ends as the file would."""

    model_config = ConfigDict(frozen=True)

    # A reference comes from a document; none may lead out of the store.
    digest: str = Field(pattern=r"^[0-9a-f]{2,}$")
    size_bytes: int = Field(ge=0)
    suffix: str = Field("", pattern=r"^[^/\\\x00]*$")

    @property
    def key(self) -> str:
        """Where the file lies below the store's root.

        Examples
        --------
        >>> Artifact(digest="ab12", size_bytes=3, suffix=".json").key
        'sha256/ab/ab12.json'
        """
        return f"sha256/{self.digest[:2]}/{self.digest}{self.suffix}"


class ArtifactMissing(EverfitError):
    """A stored file that something refers to is gone."""

    def __init__(self, artifact: Artifact, store: str) -> None:
        super().__init__(
            f"artifact {artifact.key!r} is not in the store {store!r}; "
            "restore it from a backup, or run the pipeline again"
        )
        self.artifact = artifact


class ArtifactCorrupt(EverfitError):
    """A stored file is not what was written."""

    def __init__(self, artifact: Artifact, found: str) -> None:
        super().__init__(
            f"artifact {artifact.key!r} was changed after it was written: its content's digest is {found!r}; "
            "restore it from a backup, or delete it and run the pipeline again"
        )
        self.artifact = artifact
        self.found = found


class ArtifactNotStored(EverfitError):
    """A file could not be written into the store."""

    def __init__(self, store: str, problem: str, way_out: str) -> None:
        super().__init__(f"nothing was written into the store {store!r}: {problem}; {way_out}")


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
                self._filesystem().pipe_file(self._address(artifact), data)
        return artifact

    def put_file(self, path: Path, *, suffix: str | None = None) -> Artifact:
        """Store a file's content, leaving the file where it is.

        Raises
        ------
        ArtifactNotStored
            If the file changes meanwhile, or the store cannot be written.
        """
        suffix = path.suffix if suffix is None else suffix
        artifact = Artifact(digest=digest_file(path), size_bytes=path.stat().st_size, suffix=suffix)
        with self._explained():
            if self._holds(artifact):
                pass
            elif self._is_local:
                with _writing(Path(self._root, artifact.key)) as stream, path.open("rb") as content:
                    if _copy(content, stream) != artifact.digest:
                        problem = f"{path.name!r} was changed while it was read"
                        raise ArtifactNotStored(self.url, problem, "let its writer finish, and try again")
            else:
                self._filesystem().put_file(str(path), self._address(artifact))
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
            if not path.is_file() or digest_file(path) != artifact.digest:
                self._fetch(artifact, path)
        found = digest_file(path)
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
            return bool(self._filesystem().size(self._address(artifact)) == artifact.size_bytes)
        except FileNotFoundError:
            return False

    def _holds(self, artifact: Artifact) -> bool:
        """Tell whether the file need not be written; in a folder its content is looked at, too."""
        if artifact not in self:
            return False
        return not self._is_local or digest_file(Path(self._root, artifact.key)) == artifact.digest

    def _fetch(self, artifact: Artifact, path: Path) -> None:
        with _writing(path) as stream:
            try:
                with self._filesystem().open(self._address(artifact), "rb") as content:
                    found = _copy(content, stream)
            except FileNotFoundError as error:
                raise ArtifactMissing(artifact, self.url) from error
            if found != artifact.digest:
                raise ArtifactCorrupt(artifact, found)

    def _address(self, artifact: Artifact) -> str:
        self._filesystem()
        return f"{self._remote_root}/{artifact.key}"

    def _filesystem(self) -> Any:
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


def write_atomically(target: Path, data: bytes) -> None:
    """Write a file so that a crash leaves the old content or the new, never half of it."""
    with _writing(target) as stream:
        stream.write(data)


@contextmanager
def _writing(target: Path) -> Iterator[IO[bytes]]:
    is_new = not target.parent.exists()
    target.parent.mkdir(parents=True, exist_ok=True)
    # Not tempfile's: its files are for their owner alone, and a service may run as another user.
    temporary = target.parent / f".writing-{secrets.token_hex(8)}"
    try:
        with temporary.open("xb") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _fsync_folder(target.parent)
    if is_new:
        _fsync_folder(target.parent.parent)


def _copy(source: IO[bytes], target: IO[bytes]) -> str:
    """Copy a stream and return the digest of what was copied."""
    found = hashlib.sha256()
    while chunk := source.read(1 << 20):
        found.update(chunk)
        target.write(chunk)
    return found.hexdigest()


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
