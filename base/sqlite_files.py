"""SQLite's connections: how each is set up, and that none outlives the file that it was made to."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Dialect, Engine, event
from sqlalchemy.exc import DisconnectionError

BUSY_TIMEOUT_MS = 30_000
"""How long a turn is waited for."""


def configure_sqlite(connection: Any, _record: object) -> None:
    """Set a new connection up."""
    # The driver would begin transactions late and by its own rules; SQLAlchemy's begin event does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    cursor.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")
    _turn_to_wal(cursor)
    cursor.execute("PRAGMA synchronous = FULL")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.close()


def follow_file(engine: Engine, file: Path, *, create: bool) -> None:
    """Use no connection whose file is gone or was replaced, and make no new file in its place.

    An open file outlives its name: what is read and written there nobody else would ever see, and a connection to an
    empty file that was made while the true one was away would stay in the pool.

    Parameters
    ----------
    create : bool
        Whether the first connection may make the file.
    """
    has_existed = not create

    def choose_file(_dialect: Dialect, _record: object, arguments: list[Any], options: dict[str, Any]) -> None:
        if has_existed:
            arguments[0] = f"file:{quote(file.as_posix())}?mode=rw"
            options["uri"] = True

    def remember(_connection: object, record: Any) -> None:
        nonlocal has_existed
        record.info["file"] = _identify(file)
        has_existed = has_existed or record.info["file"] is not None

    def check(_connection: object, record: Any, _proxy: object) -> None:
        if record.info.get("file") != _identify(file):
            raise DisconnectionError(f"the file {str(file)!r} is gone, or another one has its name")

    event.listen(engine, "do_connect", choose_file)
    event.listen(engine, "connect", remember)
    event.listen(engine, "checkout", check)


def _identify(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _turn_to_wal(cursor: sqlite3.Cursor) -> None:
    # The mode is kept in the file, so only the first process changes it. While others open the file at the same
    # moment SQLite may refuse that at once instead of waiting its busy timeout.
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        try:
            cursor.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return  # a database in memory has no journal to turn
