"""SQLite's connections: how each is set up, and that none outlives the file that it was made to."""

from __future__ import annotations

import os
import random
import sqlite3
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import Connection, Dialect, Engine, event
from sqlalchemy.exc import DisconnectionError

BUSY_TIMEOUT_MS = 30_000
"""How long a turn is waited for."""

# Whoever looks again pushes the writer off its core where there are few: soon at first, then at leisure.
_FIRST_LOOK_SECONDS = (0.001, 0.004)
_NEXT_LOOK_SECONDS = (0.004, 0.02)


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


def take_turn(connection: Connection) -> None:
    """Begin a writing transaction, after whoever writes now.

    SQLite's own wait doubles up to a tenth of a second, which is fifty times what a transaction takes: a queue of
    writers would mostly sleep. Here each looks again within milliseconds.

    With the execution option ``sync="afterwards"`` the commit does not wait for the disk: :func:`sync_log` does.
    """
    syncs = connection.get_execution_options().get("sync") != "afterwards"
    driver: Any = connection.connection.dbapi_connection
    deadline, wait = time.monotonic() + BUSY_TIMEOUT_MS / 1000, _FIRST_LOOK_SECONDS
    driver.execute(f"PRAGMA synchronous = {'FULL' if syncs else 'NORMAL'}")
    driver.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < deadline:
            try:
                driver.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if "locked" not in str(error):
                    break
                time.sleep(random.uniform(*wait))
                wait = _NEXT_LOOK_SECONDS
            else:
                return
        # Refused once more, as an error that SQLAlchemy knows.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        driver.execute(f"PRAGMA busy_timeout = {BUSY_TIMEOUT_MS}")


def sync_log(file: Path) -> None:
    """Have all that was committed to a database reach the disk.

    The turn is over by then and the next writer at work: whoever syncs, syncs for all that came before. So nobody is
    told that something was written before it would outlast a loss of power, and nobody waits for another one's disk.
    What is read before its writer has synced is lost, if it is, with all that came after it.
    """
    try:
        log = os.open(f"{file}-wal", os.O_RDONLY)
    except FileNotFoundError:
        return  # moved into the file itself, which SQLite has synced
    try:
        os.fsync(log)
    finally:
        os.close(log)


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
