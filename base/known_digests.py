"""Digests of large files, computed once in each process for as long as a file stays as it was."""

from __future__ import annotations

import time
from pathlib import Path

from base.fingerprint import digest_file

_known: dict[str, tuple[tuple[int, int, int], str]] = {}
# A file that was written a moment ago may be written again without its time telling: clocks of file systems tick.
_SETTLED_NS = 200_000_000


def digest_once(path: Path) -> str:
    """Digest a file's content, reading it only if it changed since this process did so last.

    Examples
    --------
    >>> import tempfile
    >>> file = Path(tempfile.mkdtemp(), "rows")
    >>> _ = file.write_bytes(b"one"); one = digest_once(file)
    >>> _ = file.write_bytes(b"two"); one == digest_once(file)
    False
    """
    mark = _mark(path)
    known = _known.get(str(path))
    if known is not None and known[0] == mark:
        return known[1]
    digest = digest_file(path)
    if _mark(path) == mark and time.time_ns() - mark[1] > _SETTLED_NS:
        _known[str(path)] = (mark, digest)
    return digest


def remember_digest(path: Path, digest: str) -> None:
    """Note the digest of a file that was written just now, and that nobody else writes."""
    _known[str(path)] = (_mark(path), digest)


def _mark(path: Path) -> tuple[int, int, int]:
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino
