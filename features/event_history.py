"""A view's events in memory, by key, for look-ups as of a moment that cost microseconds each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from base.artifacts import ArtifactStore
from base.references import Rows
from base.rows.duck import open_duckdb, quote_name
from features.offline_store import view_events
from features.online_store import entity_key
from features.views import FeatureView


@dataclass(frozen=True)
class PastEvent:
    """The newest event of an entity that was known at some moment: when it happened (in microseconds), its features."""

    event_time: int
    features: Mapping[str, Any]


class EventHistory:
    """Every event that ever was the newest known one of its key, ordered by key and since when it was known.

    It answers as :func:`features.point_in_time.join_views` does, which is what training got; a test compares the two.

    Parameters
    ----------
    events : Table
        The view's features, behind ``__since`` and ``__happened`` (int64, microseconds since 1970), in that order.
    places : mapping of key to (start, stop)
        Which of the rows are a key's, as :func:`features.online_store.entity_key` writes it.
    """

    def __init__(self, events: pa.Table, places: Mapping[str, tuple[int, int]]) -> None:
        self._since: npt.NDArray[np.int64] = events["__since"].to_numpy()
        self._happened: npt.NDArray[np.int64] = events["__happened"].to_numpy()
        features = events.drop_columns(["__since", "__happened"]).combine_chunks()
        self._columns = {name: features[name] for name in features.column_names}
        self._places = places

    @classmethod
    def load(cls, artifacts: ArtifactStore, view: FeatureView, rows: Rows) -> EventHistory:
        """Read the events that are stored for a view."""
        if not rows.segments:
            nothing = pa.array([], pa.int64())
            return cls(pa.table({"__since": nothing, "__happened": nothing}), {})
        keys = ", ".join(quote_name(key) for key in view.entity.keys)
        features = ", ".join(quote_name(feature) for feature in view.stored)
        with open_duckdb() as connection:
            view_events(connection, artifacts, view, rows, name="events")
            events = connection.sql(
                f"SELECT epoch_us(__since) AS __since, epoch_us({quote_name(view.time)}) AS __happened, {features} "
                f"FROM events ORDER BY {keys}, events.__since"
            ).to_arrow_table()
            counted = connection.execute(f"SELECT count(*), {keys} FROM events GROUP BY {keys} ORDER BY {keys}")
            places, start = {}, 0
            for count, *key in counted.fetchall():
                places[entity_key(key)] = (start, start + count)
                start += count
        return cls(events, places)

    def find(self, key: str, moment: int) -> PastEvent | None:
        """Find the newest event of a key that was known at a moment (microseconds since 1970)."""
        start, stop = self._places.get(key, (0, 0))
        position = start + int(np.searchsorted(self._since[start:stop], moment, side="right")) - 1
        if position < start:
            return None
        values = {name: _plain(column[position].as_py()) for name, column in self._columns.items()}
        return PastEvent(int(self._happened[position]), values)


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
