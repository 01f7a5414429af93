"""Digests of what a result depends on: documents, code, installed libraries."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable, Mapping
from functools import cache
from importlib import import_module
from pathlib import Path

from base.documents import Document, as_document


def digest_bytes(data: bytes) -> str:
    """Return the SHA-256 of *data* as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def digest_document(document: object) -> str:
    """Digest a JSON document, whatever the order of its keys, as a database would give it back.

    1 and 1.0 are different: ``max_features=1`` is one feature, ``max_features=1.0`` is all of them.

    Raises
    ------
    ArgumentError
        If something in it is no document: its text could hold an address, and the digest would mean nothing.

    Examples
    --------
    >>> digest_document({"a": 1, "b": 2}) == digest_document({"b": 2, "a": 1})
    True
    """
    return digest_bytes(write_document(document))


def write_document(document: object) -> bytes:
    """Write a JSON document in the one form that is digested."""
    return write_plain(as_document(document))


def write_plain(document: Document) -> bytes:
    """Do what :func:`write_document` does, for what :func:`base.documents.as_document` or a database has given back."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        errors="surrogatepass"
    )


def digest_file(path: Path) -> str:
    """Digest a file's content without holding it in memory."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def digest_files(files: Mapping[str, bytes]) -> str:
    """Digest a set of named files: content and names count, order does not."""
    return digest_document({name: digest_bytes(content) for name, content in files.items()})


@cache
def digest_package(name: str) -> str:
    """Digest the Python source of one of Everfit's own packages, or of one of its modules."""
    module = import_module(name)
    source = Path(str(module.__file__))
    paths = sorted(source.parent.rglob("*.py")) if source.name == "__init__.py" else [source]
    return digest_files({path.relative_to(source.parent).as_posix(): path.read_bytes() for path in paths})


@cache
def digest_environment() -> str:
    """Digest the installed libraries and the Python version: the lock as it really is, not as it was meant."""
    return digest_document(describe_environment())


def describe_environment() -> list[str]:
    """List the Python version and the installed libraries, as :func:`digest_environment` digests them."""
    return [f"python-{sys.version_info.major}.{sys.version_info.minor}", *installed_libraries()]


def installed_versions(names: Iterable[str]) -> dict[str, str]:
    """Tell which versions of libraries are installed; ``missing`` where one is not.

    Examples
    --------
    >>> installed_versions(["no-such-library"])
    {'no-such-library': 'missing'}
    """
    versions = dict(name.rpartition("-")[::2] for name in installed_libraries())
    return {name: versions.get(name.lower().replace("-", "_"), versions.get(name, "missing")) for name in names}


@cache
def installed_libraries() -> tuple[str, ...]:
    """List ``name-version`` of every installed library, from the names of the dist-info folders.

    Reading 200 metadata files costs 0.2 s; their folders' names hold the same two facts.
    """
    folders = {Path(entry) for entry in sys.path if entry.endswith("-packages")}
    names = {
        info.name.removesuffix(".dist-info").lower()
        for folder in folders
        if folder.is_dir()
        for info in folder.glob("*.dist-info")
    }
    return tuple(sorted(name for name in names if not name.startswith("everfit-")))
