"""What can be wrong with a database, in words: it is busy, it went away, it cannot be opened."""

from __future__ import annotations

import sqlite3

from sqlalchemy import URL
from sqlalchemy.exc import DBAPIError

from base.errors import EverfitError
from base.sqlite_files import BUSY_TIMEOUT_MS

# SQLSTATEs: the turn did not come; a server that is being stopped or started, or was told to end the connection.
_LOCK_TIMEOUT = "55P03"
_CLOSING = ("57P01", "57P02", "57P03", "57P05")
# A conflict, or a deadlock that this transaction had to give way in.
_CONFLICTS = ("40001", "40P01")
_SENT_AWAY = ("08", "28", "3D", "57")
_BROKEN_FILE = (
    "unable to open",
    "file is not a database",
    "disk I/O error",
    "attempt to write a readonly database",
)


class DatabaseUnavailable(EverfitError):
    """The database cannot be opened, or is none of Everfit's."""

    def __init__(self, url: URL, problem: str) -> None:
        super().__init__(
            f"the database {url.render_as_string(hide_password=True)!r} {problem}; "
            "see EVERFIT_DATABASE_URL and EVERFIT_HOME"
        )


class DatabaseAway(DatabaseUnavailable):
    """The connection was lost in the middle: what was being written was written wholly, or not at all.

    Nobody can tell which from here. Who asks again under the same key learns it, as everybody at the desk does.
    """

    def __init__(self, url: URL, problem: str) -> None:
        super().__init__(url, f"went away ({problem}): what was being written is there wholly or not at all, ask again")


class DatabaseBusy(EverfitError):
    """Another process has been writing for longer than anybody should."""

    def __init__(self, url: URL) -> None:
        super().__init__(
            f"another process has been writing to {url.render_as_string(hide_password=True)!r} for more than "
            f"{BUSY_TIMEOUT_MS // 1000} seconds; nothing was changed: end it, or try again"
        )


def explain_trouble(url: URL, error: DBAPIError) -> EverfitError | None:
    """Return what a driver's error means to whoever asked, or None where it speaks of a statement of ours."""
    problem = str(error.orig).strip().partition("\n")[0]
    state = getattr(error.orig, "sqlstate", "")
    if problem.startswith("database is locked") or state == _LOCK_TIMEOUT:
        return DatabaseBusy(url)
    if error.connection_invalidated or state in _CLOSING:
        return DatabaseAway(url, problem)
    # psycopg gives no SQLSTATE when it never reached the server, and one of these classes when it was sent away.
    if problem.startswith(_BROKEN_FILE) or state is None or state[:2] in _SENT_AWAY:
        return DatabaseUnavailable(url, f"cannot be opened ({problem})")
    return None


def passes_with_time(error: DBAPIError) -> bool:
    """Tell whether a refused turn comes when it is asked for again: locks, a lost race, a victim of a deadlock."""
    # SQLite answers at once, without its busy timeout, while another process opens or recovers the same file.
    if isinstance(error.orig, sqlite3.OperationalError):
        return "locked" in str(error.orig) or "locking protocol" in str(error.orig)
    return getattr(error.orig, "sqlstate", None) in (*_CONFLICTS, _LOCK_TIMEOUT)
