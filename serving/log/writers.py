"""Who writes a part of the prediction log: one process, named so that no two are ever taken for one another."""

from __future__ import annotations

import os
import re
import secrets
import socket
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from base.times import utc_now

_UNSAFE = re.compile(r"[^A-Za-z0-9.]+")
_LONGEST_HOST = 63


@dataclass(frozen=True)
class Writer:
    """One process's log: its host and number, when it began, and a random part, since numbers come back."""

    name: str
    host: str
    pid: int
    started_at: datetime

    def as_json(self) -> dict[str, Any]:
        """The writer as accounts and segments hold it."""
        return asdict(self) | {"started_at": self.started_at.isoformat()}


def this_writer() -> Writer:
    """Name a log of this process.

    Examples
    --------
    >>> this_writer() != this_writer(), this_writer().pid == os.getpid()
    (True, True)
    """
    host, pid = socket.gethostname(), os.getpid()
    safe = _UNSAFE.sub("-", host)[:_LONGEST_HOST].strip("-.") or "host"
    return Writer(f"{safe}_{pid}_{secrets.token_hex(5)}", host, pid, utc_now())
