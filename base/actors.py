"""Who acts: the name that the ledger keeps."""

from __future__ import annotations

import getpass
import os


def name_person() -> str:
    """Name the person at the keyboard, as the operating system knows them; a container may know only a number."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        return f"user {os.getuid()}"
