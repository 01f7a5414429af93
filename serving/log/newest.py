"""The newest logged predictions, and one by its id, without reading all of the log."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd

from registry.store import Registry
from registry.tables import TrafficSegment
from serving.log.traffic import read_traffic

# An id is made before its prediction is logged, by a clock that need not be the log's.
_CLOCKS_DIFFER = timedelta(minutes=10)
_UUID_DIGITS = 32
_UUID_VERSION = 12


def read_newest(home: Path, model: str, n_rows: int, *, registry: Registry | None = None) -> pd.DataFrame:
    """Read the predictions that were logged last, newest first, those of shadow versions included."""
    traffic = read_traffic(
        home, model, registry=registry, shadow="with", choose=lambda segments: choose_newest(segments, n_rows)
    )
    return traffic.sort_values(["predicted_at", "id"], ascending=False, ignore_index=True).head(n_rows)


def read_prediction(home: Path, model: str, name: str, *, registry: Registry | None = None) -> pd.DataFrame:
    """Read what was logged under one id."""
    traffic = read_traffic(home, model, registry=registry, shadow="with", choose=_around(name))
    return traffic[traffic["id"] == name].reset_index(drop=True)


def choose_newest(segments: list[TrafficSegment], n_rows: int) -> list[TrafficSegment]:
    """Choose the segments that must hold the newest rows, whatever lies in each."""
    newest = sorted(segments, key=lambda one: one.last_predicted_at or one.moved_at, reverse=True)
    chosen, n_found = [], 0
    since: datetime | None = None
    for one in newest:
        last = one.last_predicted_at or one.moved_at
        # Enough rows are as new as *since*: a segment that ends before has none of the newest.
        if n_found >= n_rows and since is not None and last < since:
            break
        chosen.append(one)
        if n_found < n_rows:
            first = one.first_predicted_at or datetime.min.replace(tzinfo=UTC)
            since = first if since is None else min(since, first)
            n_found += one.n_rows
    return chosen


def moment_of(name: str) -> datetime | None:
    """Read when an id was made; None for one that Everfit did not make.

    Examples
    --------
    >>> moment_of("0192b7d3c0007abc8def0123456789ab").year, moment_of("mine")
    (2024, None)
    """
    if len(name) != _UUID_DIGITS or name[_UUID_VERSION] != "7":
        return None
    try:
        return datetime.fromtimestamp(int(name[:_UUID_VERSION], 16) / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _around(name: str) -> Callable[[list[TrafficSegment]], list[TrafficSegment]]:
    made = moment_of(name)

    def choose(segments: list[TrafficSegment]) -> list[TrafficSegment]:
        return [
            one
            for one in segments
            if made is None
            or one.first_predicted_at is None
            or one.last_predicted_at is None
            or one.first_predicted_at - _CLOCKS_DIFFER <= made <= one.last_predicted_at + _CLOCKS_DIFFER
        ]

    return choose
