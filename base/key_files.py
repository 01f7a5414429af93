"""Secret keys that are drawn once and kept in the home folder, readable by their owner alone."""

from __future__ import annotations

import os
import secrets
from collections.abc import Sequence
from pathlib import Path

KEY_BYTES = 32
"""How long a drawn key is; its file holds it as hexadecimal digits."""


def is_key(text: str) -> bool:
    """Tell whether a text is a drawn key.

    Examples
    --------
    >>> is_key("0f" * KEY_BYTES), is_key("0f"), is_key("zz" * KEY_BYTES)
    (True, False, False)
    """
    return len(text) == 2 * KEY_BYTES and set(text) <= set("0123456789abcdef")


def draw_key(file: Path) -> None:
    """Draw a key into a file that is not there; of two processes that do so at once, both end with the same key."""
    temporary = _write_aside(file, secrets.token_hex(KEY_BYTES))
    try:
        # A link is made whole or not at all, and never over another: who comes second takes the first one's.
        os.link(temporary, file)
    except FileExistsError:
        return
    finally:
        temporary.unlink(missing_ok=True)
    _fsync_folder(file.parent)


def replace_keys(file: Path, keys: Sequence[str]) -> None:
    """Write keys line by line in the place of those that a file holds, whole or not at all."""
    replace_text(file, _join(keys))


def replace_text(file: Path, text: str) -> None:
    """Write a file that its owner alone can read, whole or not at all."""
    temporary = _write_aside(file, text)
    try:
        temporary.replace(file)
    finally:
        temporary.unlink(missing_ok=True)
    _fsync_folder(file.parent)


def _join(keys: Sequence[str]) -> str:
    return "\n".join(keys) + "\n" if len(keys) > 1 else keys[0]


def _write_aside(file: Path, text: str) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    temporary = file.parent / f".{file.name}-{secrets.token_hex(8)}"
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    return temporary


def _fsync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
