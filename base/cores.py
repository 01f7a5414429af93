"""The cores that this process may use, and work that is spread over them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from typing import TypeVar

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

# More threads than this wait for the disk, not for a core.
_MOST_THREADS = 8


def count_cores() -> int:
    """Count the cores that this process may use, which in a container may be fewer than the machine has."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:  # not on every system
        cores = os.cpu_count() or 1
    return max(1, min(cores, _MOST_THREADS))


def map_on_cores(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> list[_Result]:
    """Call a function for each item in as many threads as there are cores; results in the items' order.

    Worth it only for work that leaves the interpreter's lock: hashing, copying, reading Parquet. When calls fail,
    the error of the first of them is raised, after all have ended.

    Examples
    --------
    >>> map_on_cores(len, ["a", "bc", ""])
    [1, 2, 0]
    """
    from concurrent.futures import ThreadPoolExecutor

    waiting = list(items)
    if len(waiting) < 2:
        return [function(item) for item in waiting]
    with ThreadPoolExecutor(min(count_cores(), len(waiting)), thread_name_prefix="everfit-cores") as pool:
        return list(pool.map(function, waiting))
