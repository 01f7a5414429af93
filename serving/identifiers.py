"""Identifiers of predictions: unique without asking anybody, and sorted by the time of the answer."""

from __future__ import annotations

import os
import time

# 18 random hexadecimal digits for each: 72 of the 74 random bits of a UUID of version 7.
_RANDOM_BYTES = 9


def new_ids(count: int) -> list[str]:
    """Make *count* identifiers: UUIDs of version 7 as 32 hexadecimal digits.

    One read of the system's randomness serves all of them; ``uuid.uuid4`` would read once for each.

    Examples
    --------
    >>> import uuid
    >>> first, second = new_ids(2)
    >>> uuid.UUID(first).version, first != second
    (7, True)
    """
    moment = f"{time.time_ns() // 1_000_000:012x}7"
    digits = os.urandom(_RANDOM_BYTES * count).hex()
    width = 2 * _RANDOM_BYTES
    parts = [digits[start : start + width] for start in range(0, width * count, width)]
    return [f"{moment}{part[:3]}8{part[3:]}" for part in parts]
