"""Files behind a URL: object stores through fsspec, web servers through httpx."""

from __future__ import annotations

import glob
import hashlib
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from email.utils import parsedate_to_datetime
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from base.errors import DefinitionError, EverfitError
from base.settings import Settings
from base.sources.files import SourceFile, is_hidden, no_file_found, read_partitions
from base.sources.formats import FORMATS, find_format
from base.sources.retries import SourceFailed, ask_patiently, describe_safely, is_away
from base.times import as_utc

_CHUNK_BYTES = 1 << 20
_TIMEOUT_SECONDS = 60.0
# The names under which stores tell that a file is another one than before.
_MARKS = ("ETag", "etag", "md5Hash", "content_md5", "generation", "Last-Modified", "LastModified", "mtime", "created")


def find_remote_files(source: str, settings: Settings) -> list[SourceFile]:
    """List the files behind a URL: one file, or for an object store all below a prefix, or of a glob.

    Raises
    ------
    DefinitionError
        If there is none, its format is unknown, or nothing here speaks its protocol.
    """
    protocol = source.split("://", maxsplit=1)[0]
    if protocol in ("http", "https"):
        return [_web_file(source, settings)]
    store = ObjectStore(source, settings)
    files = store.find()
    if not files:
        raise no_file_found(source, source)
    return files


class ObjectStore:
    """Files in a store that fsspec knows, with the options that the settings hold for its protocol."""

    def __init__(self, source: str, settings: Settings) -> None:
        from fsspec.core import url_to_fs

        self._source, self._settings = source, settings
        protocol = source.split("://", maxsplit=1)[0]
        options = settings.storage_options.get_secret_value().get(protocol, {})
        try:
            # Listings are kept by fsspec for as long as the process lives, and would hide what has changed.
            self._fs, self._path = url_to_fs(source, **{"use_listings_cache": False, **options})
        except (ValueError, ImportError) as error:
            raise DefinitionError(
                f"source {source!r}: nothing installed here reads {protocol!r} addresses "
                f"({describe_safely(error, settings)}); for s3, pip install 'everfit[s3]'",
                key="extract.source",
            ) from None

    def find(self) -> list[SourceFile]:
        """List the files of a known format."""
        with self._explained():
            return self._find()

    def _find(self) -> list[SourceFile]:
        path = str(self._path)
        try:
            if glob.has_magic(path):
                root = path
                while glob.has_magic(root):
                    root = str(PurePosixPath(root).parent)
                found = self._fs.glob(path, detail=True)
            elif self._fs.isfile(path):
                if find_format(path) is None:
                    raise _unknown_format(self._source)
                root = str(PurePosixPath(path).parent)
                found = {path: self._fs.info(path)}
            else:
                root = path.rstrip("/")
                found = self._fs.find(path, detail=True)
        except FileNotFoundError:
            found = {}
        files = []
        for address, info in sorted(found.items()):
            parts = PurePosixPath(address).relative_to(root).parts
            if info.get("type") == "file" and not is_hidden(parts) and find_format(address) is not None:
                partitions = read_partitions(PurePosixPath(address).parts)
                files.append(SourceFile("/".join(parts), address, _mark(info), self, partitions))
        return files

    def mark(self, address: str) -> str:
        with self._explained():
            self._fs.invalidate_cache()
            return _mark(self._fs.info(address))

    def digest(self, address: str, mark: str) -> str:
        if mark and not mark.startswith("size"):
            return _content_mark(mark)
        found = hashlib.sha256()
        with self._explained(), self._fs.open(address, "rb") as stream:
            while chunk := stream.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest()

    def size(self, address: str) -> int | None:
        with self._explained():
            size = self._fs.info(address).get("size")
        return None if size is None else int(size)

    def modified(self, address: str) -> datetime | None:
        with self._explained():
            try:
                return as_utc(self._fs.modified(address))
            except (NotImplementedError, AttributeError, KeyError, TypeError):
                return None

    def fetch(self, address: str, into: Path) -> Path:
        target = into / f"{secrets.token_hex(4)}-{PurePosixPath(address).name}"

        def ask() -> Path:
            with self._explained(), self._fs.open(address, "rb") as stream, target.open("wb") as file:
                while chunk := stream.read(_CHUNK_BYTES):
                    file.write(chunk)
            return target

        return ask_patiently(self._source, ask, self._settings)

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            if isinstance(error, EverfitError | FileNotFoundError) or is_away(error):
                raise
            way_out = "see whether EVERFIT_STORAGE_OPTIONS holds credentials that may read it, and its endpoint_url"
            raise SourceFailed(self._source, describe_safely(error, self._settings), way_out) from None


class WebFile:
    """A file on a web server."""

    def __init__(self, source: str, settings: Settings) -> None:
        self._source, self._settings = source, settings
        options = settings.storage_options.get_secret_value().get(urlsplit(source).scheme, {})
        self._headers = {str(name): str(value) for name, value in options.get("headers", {}).items()}

    def mark(self, address: str) -> str:
        import httpx

        with self._client() as client:
            answer = client.head(address)
            if answer.status_code in (405, 501):
                return ""
            if answer.status_code in (401, 403, 404, 410):
                raise self._refused(answer.status_code)
            answer.raise_for_status()
            return _mark({**httpx.Headers(answer.headers), "size": answer.headers.get("content-length", "")})

    def digest(self, address: str, mark: str) -> str:
        if mark and not mark.startswith("size"):
            return _content_mark(mark)
        found = hashlib.sha256()
        with self._client() as client, client.stream("GET", address) as answer:
            answer.raise_for_status()
            for chunk in answer.iter_bytes(_CHUNK_BYTES):
                found.update(chunk)
        return found.hexdigest()

    def size(self, address: str) -> int | None:
        size = self._ask_head(address).get("content-length", "")
        return int(size) if size.isdecimal() else None

    def modified(self, address: str) -> datetime | None:
        try:
            return as_utc(parsedate_to_datetime(self._ask_head(address)["last-modified"]))
        except (KeyError, ValueError):
            return None

    def _ask_head(self, address: str) -> dict[str, str]:
        with self._client() as client:
            answer = client.head(address)
        return {name.lower(): value for name, value in answer.headers.items()} if answer.is_success else {}

    def fetch(self, address: str, into: Path) -> Path:
        target = into / f"{secrets.token_hex(4)}-{PurePosixPath(urlsplit(address).path).name}"

        def ask() -> Path:
            with self._client() as client, client.stream("GET", address) as answer, target.open("wb") as file:
                if answer.status_code in (401, 403, 404, 410):
                    raise self._refused(answer.status_code)
                answer.raise_for_status()
                for chunk in answer.iter_bytes(_CHUNK_BYTES):
                    file.write(chunk)
            return target

        return ask_patiently(self._source, ask, self._settings)

    def _client(self) -> Any:
        import httpx

        return httpx.Client(headers=self._headers, follow_redirects=True, timeout=_TIMEOUT_SECONDS)

    def _refused(self, status: int) -> SourceFailed:
        way_out = "see whether the address is right, and whether EVERFIT_STORAGE_OPTIONS holds the headers it needs"
        return SourceFailed(self._source, f"the server answers {status}", way_out)


def _web_file(source: str, settings: Settings) -> SourceFile:
    path = urlsplit(source).path
    if find_format(path) is None:
        raise _unknown_format(source)
    store = WebFile(source, settings)
    return SourceFile(PurePosixPath(path).name, source, store.mark(source), store)


def _unknown_format(source: str) -> DefinitionError:
    suffix = PurePosixPath(urlsplit(source).path).suffix
    return DefinitionError(
        f"source {source!r} has the unknown format {suffix!r}, expected {FORMATS}", key="extract.source"
    )


def _mark(info: Any) -> str:
    names = {str(name).lower(): value for name, value in dict(info).items()}
    told = [f"{name.lower()}={names[name.lower()]}" for name in _MARKS if names.get(name.lower())]
    size = names.get("size")
    told = list(dict.fromkeys(told))
    return ";".join([*told, f"size={size}"]) if told else (f"size={size}" if size else "")


def _content_mark(mark: str) -> str:
    # An ETag tells the content alone; the same content written again keeps it, and gets another moment.
    told = mark.split(";")
    return told[0] if told[0].startswith("etag=") else mark
