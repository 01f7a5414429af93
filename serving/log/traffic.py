"""Read the prediction log: served rows and labels as frames, whatever version served them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

import pandas as pd

from base.times import as_utc
from registry.store import Registry
from registry.tables import TrafficSegment
from serving.log.batches import SHADOW
from serving.log.frames import (
    OWN_COLUMNS,
    empty_traffic,
    read_growing_predictions,
    read_sealed_columns,
    read_sealed_predictions,
)
from serving.log.kinds import PREDICTIONS
from serving.log.reading import read_segments

Shadows = Literal["without", "with", "only"]


def read_traffic(
    home: Path,
    model: str,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    registry: Registry | None = None,
    shadow: Shadows = "without",
    since: datetime | None = None,
    choose: Callable[[list[TrafficSegment]], list[TrafficSegment]] = list,
) -> pd.DataFrame:
    """Read the served rows of a model whose event time lies in [start, stop), oldest first.

    Parameters
    ----------
    registry : Registry, optional
        Where the segments are recorded that were moved to the artifact store; without it, what was moved is not read.
    shadow : {"without", "with", "only"}, default="without"
        Whether answers are read that a version gave only to be tried, and nobody saw.
    since : datetime, optional
        Only what was answered since then; files that were finished before are not opened.
    choose : callable, optional
        Says which of the moved segments within the range are opened; default: all.

    Returns
    -------
    DataFrame
        ``id``, ``version``, ``predicted_at``, ``event_time`` (the model's time column where a row has it, else
        ``predicted_at``), ``prediction`` (the value, or the probability of the second class; where there are
        more classes, the position of the likeliest, and ``probabilities`` beside it), ``arm``, ``path``, ``kind`` and
        ``micros`` (see :class:`serving.log.prediction_log.LoggedBatch`), and the inputs, typed as in training. A column
        that a version did not have is missing in its rows.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    first, last = (None if start is None else as_utc(start)), (None if stop is None else as_utc(stop))
    frames = read_segments(
        home,
        model,
        PREDICTIONS,
        read_sealed=lambda path: _read_since(path, since, lambda: read_sealed_predictions(path, first, last)),
        read_growing=lambda path: _read_since(path, since, lambda: read_growing_predictions(path, first, last)),
        registry=registry,
        start=first,
        stop=last,
        choose=lambda moved: choose([one for one in moved if _reaches(one, since)]),
    )
    if shadow != "with":
        frames = [frame[(frame["arm"] == SHADOW) == (shadow == "only")] for frame in frames]
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return empty_traffic()
    own = [name for name in OWN_COLUMNS if any(name in frame for frame in frames)]
    traffic = pd.concat(frames, ignore_index=True)
    inputs = [name for name in traffic.columns if name not in own]
    return traffic[own + inputs].sort_values(["event_time", "id"], ignore_index=True)


def read_event_times(
    home: Path,
    model: str,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    registry: Registry | None = None,
) -> pd.Series[Any]:
    """Read the ``event_time`` of the rows that :func:`read_traffic` reads, oldest first, and nothing else of them."""
    first, last = (None if start is None else as_utc(start)), (None if stop is None else as_utc(stop))
    frames = read_segments(
        home,
        model,
        PREDICTIONS,
        read_sealed=lambda path: read_sealed_columns(path, first, last, ["event_time", "arm"]),
        read_growing=lambda path: read_growing_predictions(path, first, last)[["event_time", "arm"]],
        registry=registry,
        start=first,
        stop=last,
    )
    moments = [frame.loc[frame["arm"] != SHADOW, "event_time"] for frame in frames if len(frame)]
    found: pd.Series[Any] = pd.concat([empty_traffic()["event_time"], *moments], ignore_index=True)
    return found.sort_values(ignore_index=True)


def _read_since(path: Path, since: datetime | None, read: Callable[[], pd.DataFrame]) -> pd.DataFrame:
    if since is None:
        return read()
    # A file is written after the answers that it holds.
    if path.stat().st_mtime < since.timestamp():
        return empty_traffic()
    frame = read()
    return frame[frame["predicted_at"] >= pd.Timestamp(since)]


def _reaches(segment: TrafficSegment, since: datetime | None) -> bool:
    return since is None or segment.last_predicted_at is None or as_utc(segment.last_predicted_at) >= since
