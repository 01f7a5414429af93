"""Match labels that name a key and a time to the predictions that they are about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from registry.store import Registry
from serving.labels.key_values import plain_key_value
from serving.labels.label import KeyedLabel
from serving.labels.stored import write_key
from serving.log.traffic import read_traffic

# Labels whose times lie further apart are looked up apart, so that two of them do not read the year between.
_APART = timedelta(days=1)
_MICROSECOND = timedelta(microseconds=1)


@dataclass
class _Served:
    """The predictions of one key, in the order of their event times."""

    times: list[pd.Timestamp] = field(default_factory=list)
    ids: list[str] = field(default_factory=list)

    def find(self, time: pd.Timestamp, within: timedelta) -> list[str]:
        moments = np.array([moment.value for moment in self.times])
        place = int(np.searchsorted(moments, time.value, side="right"))
        if place == 0 or self.times[place - 1] < time - within:
            return []
        first = int(np.searchsorted(moments, moments[place - 1], side="left"))
        return self.ids[first:place]


def match_keys(
    home: Path, model: str, keyed: Sequence[KeyedLabel], *, registry: Registry | None = None
) -> list[list[str]]:
    """Find the predictions that each label is about: those of its key at its time, or else the last ones before.

    Only segments that hold event times between the earliest and the latest moment asked for are read.

    Returns
    -------
    list of list of str
        For each label the ids of predictions of one event time; none where no prediction fits (yet), more than one
        where the same was predicted several times.
    """
    found: list[list[str]] = [[] for _ in keyed]
    for places in _runs(keyed):
        start = min(keyed[place].time - keyed[place].within for place in places)
        stop = max(keyed[place].time for place in places) + _MICROSECOND
        traffic = read_traffic(home, model, start=start, stop=stop, registry=registry)
        by_columns: dict[tuple[str, ...], list[int]] = defaultdict(list)
        for place in places:
            by_columns[tuple(sorted(keyed[place].key))].append(place)
        for columns, those in by_columns.items():
            served = _group(traffic, columns, [keyed[place].key for place in those])
            for place in those:
                label = keyed[place]
                one = served.get(write_key(label.key))
                found[place] = [] if one is None else one.find(pd.Timestamp(label.time), label.within)
    return found


def _runs(keyed: Sequence[KeyedLabel]) -> Iterator[list[int]]:
    run: list[int] = []
    latest: datetime | None = None
    for place in sorted(range(len(keyed)), key=lambda place: keyed[place].time):
        label = keyed[place]
        if latest is not None and label.time - label.within > latest + _APART:
            yield run
            run = []
        run.append(place)
        latest = label.time
    if run:
        yield run


def _group(traffic: pd.DataFrame, columns: tuple[str, ...], keys: Sequence[dict[str, Any]]) -> dict[str, _Served]:
    shown = {name: f"input.{name}" if f"input.{name}" in traffic.columns else name for name in columns}
    if not all(name in traffic.columns for name in shown.values()):
        return {}
    rows = traffic[["id", "event_time", *shown.values()]]
    for name, column in shown.items():
        # Far fewer rows are left to be looked at one by one.
        wanted = {key[name] for key in keys}
        values = rows[column]
        if pd.api.types.is_datetime64_any_dtype(values):
            wanted = {pd.Timestamp(value) for value in wanted}
        rows = rows[values.isin(list(wanted))]
    served: dict[str, _Served] = defaultdict(_Served)
    by_column = [[plain_key_value(value) for value in rows[column]] for column in shown.values()]
    order = np.argsort(rows["event_time"].to_numpy(), kind="stable")
    ids, moments = rows["id"].tolist(), rows["event_time"].tolist()
    for place in order.tolist():
        one = served[write_key({name: column[place] for name, column in zip(columns, by_column, strict=True)})]
        one.times.append(moments[place])
        one.ids.append(ids[place])
    return served
