"""Complete requests with the newest values of their entities, from the online store."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from base.references import Rows
from base.times import parse_moment, utc_now
from features.online_store import OnlineStore, OnlineValue, entity_key, microseconds
from features.views import JoinedView
from registry.feature_views import find_rows
from registry.store import Registry

if TYPE_CHECKING:
    from features.event_history import EventHistory

_log = logging.getLogger(__name__)
_MICROSECOND = timedelta(microseconds=1)
# A store that is away must not cost every request its timeout.
_AWAY_SECONDS = 2.0
_OFFLINE_SECONDS = 5.0
# About 100 bytes each; a longer history is joined for each request instead of being held in memory.
_MOST_HELD_EVENTS = 2_000_000

Row = Mapping[str, Any]


class ViewLookup:
    """What the online store answers for a model's views, row by row, and a count of what it could not answer.

    A row with a time before the newest event of its entity, such as one that is replayed, is answered as of its
    time from the offline store, by the same join as in training: nobody is told what was not known yet. A value that
    is too old, an unknown entity and a store that is away give null; ``counts`` says how often each happened
    (``found``, ``as_of``, ``missing``, ``too_old``, ``away``).
    """

    def __init__(
        self, views: Sequence[JoinedView], *, time_column: str | None, online: OnlineStore, registry: Registry
    ) -> None:
        self.counts: Counter[str] = Counter()
        self._views = tuple(views)
        self._time = time_column
        self._online = online
        self._offline = _OfflineViews(registry)
        self._lock = threading.Lock()
        self._away_until = 0.0

    def complete(self, rows: Sequence[Row]) -> list[dict[str, Any]]:
        """Return the rows with the views' columns in them; the ones given are not changed."""
        now = microseconds(utc_now())
        moments = [self._moment(row) for row in rows]
        completed = [dict(row) for row in rows]
        counts: Counter[str] = Counter()
        for view in self._views:
            self._complete(view, rows, moments, now, completed, counts)
        with self._lock:
            self.counts.update(counts)
        return completed

    def _complete(
        self,
        view: JoinedView,
        rows: Sequence[Row],
        moments: Sequence[int | None],
        now: int,
        completed: list[dict[str, Any]],
        counts: Counter[str],
    ) -> None:
        keys = [self._key(view, row) for row in rows]
        found = self._read(view, sorted({key for key in keys if key is not None}))
        earlier = []
        for position, (key, moment) in enumerate(zip(keys, moments, strict=True)):
            if found is None:
                counts["away"] += 1
                continue
            value = None if key is None else found.get(key)
            if value is None:
                counts["missing"] += 1
            elif moment is not None and max(value.event_time, value.known_since) > moment:
                earlier.append(position)
            elif _is_older(value.event_time, view, now if moment is None else moment):
                counts["too_old"] += 1
            else:
                counts["found"] += 1
                _put(completed[position], view, value.features)
        if earlier:
            self._answer_as_of(view, rows, moments, earlier, completed, counts)

    def _answer_as_of(
        self,
        view: JoinedView,
        rows: Sequence[Row],
        moments: Sequence[int | None],
        positions: Sequence[int],
        completed: list[dict[str, Any]],
        counts: Counter[str],
    ) -> None:
        asked = [(self._key(view, rows[position]) or "", moments[position] or 0) for position in positions]
        try:
            answers = self._offline.answer(view, [rows[position] for position in positions], asked)
        except Exception as error:
            # Whatever keeps the history away, a request gets its answer.
            self._warn("the offline store", view, error)
            counts["away"] += len(positions)
            return
        counts["as_of"] += len(positions)
        for position, answer in zip(positions, answers, strict=True):
            _put(completed[position], view, answer)

    def _read(self, view: JoinedView, keys: Sequence[str]) -> dict[str, OnlineValue] | None:
        if time.monotonic() < self._away_until:
            return None
        try:
            return self._online.read(view.digest, keys) if keys else {}
        except Exception as error:
            self._warn("the online store", view, error)
            self._away_until = time.monotonic() + _AWAY_SECONDS
            return None

    def _moment(self, row: Row) -> int | None:
        value = None if self._time is None else row.get(self._time)
        return None if value is None else microseconds(parse_moment(value))

    def _key(self, view: JoinedView, row: Row) -> str | None:
        values = [row.get(column) for column in view.keys.values()]
        return None if any(value is None for value in values) else entity_key(values)

    def _warn(self, what: str, view: JoinedView, error: Exception) -> None:
        _log.warning("%s is away, feature view %r gives no values: %s", what, view.view.name, type(error).__name__)


@dataclass
class _Remembered:
    rows: Rows
    until: float
    history: EventHistory | None


@dataclass
class _OfflineViews:
    """The views' events as they are stored now, looked up in the registry now and then."""

    registry: Registry
    remembered: dict[str, _Remembered] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def answer(
        self, view: JoinedView, rows: Sequence[Row], asked: Sequence[tuple[str, int]]
    ) -> Sequence[Mapping[str, Any]]:
        """Give a view's features by name as JSON holds them, for each row as of its moment.

        Parameters
        ----------
        asked : sequence of (key, moment)
            Of each row, as :func:`features.online_store.entity_key` and ``microseconds`` write them.
        """
        current = self._current(view)
        if current.history is None:
            return _join(view, current.rows, rows, [moment for _, moment in asked], self.registry)
        answers: list[Mapping[str, Any]] = []
        for key, moment in asked:
            event = current.history.find(key, moment)
            is_fresh = event is not None and not _is_older(event.event_time, view, moment)
            answers.append(event.features if event is not None and is_fresh else {})
        return answers

    def _current(self, view: JoinedView) -> _Remembered:
        with self.lock:
            remembered = self.remembered.get(view.digest)
            if remembered is None or time.monotonic() > remembered.until:
                remembered = self.remembered[view.digest] = self._look_up(view, remembered)
            return remembered

    def _look_up(self, view: JoinedView, before: _Remembered | None) -> _Remembered:
        rows = find_rows(self.registry, view.view.name, view.digest) or view.rows
        until = time.monotonic() + _OFFLINE_SECONDS
        if before is not None and before.rows == rows:
            return _Remembered(rows, until, before.history)
        is_small = rows.n_rows <= _MOST_HELD_EVENTS
        from features.event_history import EventHistory

        history = EventHistory.load(self.registry.artifacts, view.view, rows) if is_small else None
        return _Remembered(rows, until, history)


def _join(
    view: JoinedView, events: Rows, rows: Sequence[Row], moments: Sequence[int], registry: Registry
) -> list[dict[str, Any]]:
    """Join a view to rows as of their moments, as training does."""
    import pyarrow as pa

    from base.rows.tables import MOMENT, normalise
    from features.point_in_time import join_views

    names = {column: f"key{index}" for index, column in enumerate(view.keys.values())}
    spine = normalise(pa.table({name: [row.get(column) for row in rows] for column, name in names.items()}))
    spine = spine.append_column("moment", pa.array(moments, pa.int64()).cast(MOMENT))
    asked = view.model_copy(
        update={
            "rows": events,
            "keys": {key: names[column] for key, column in view.keys.items()},
            "columns": {feature: f"feature {feature}" for feature in view.columns},
        }
    )
    joined = join_views(spine, [asked], "moment", registry.artifacts)
    return [
        {feature: _plain(values[f"feature {feature}"]) for feature in view.columns}
        for values in joined.select(list(asked.columns.values())).to_pylist()
    ]


def open_lookup(
    views: Sequence[JoinedView], *, time_column: str | None, online: OnlineStore | None, registry: Registry
) -> ViewLookup | None:
    """Make the lookup of a model that uses views; one that uses none needs none."""
    if not views or online is None:
        return None
    return ViewLookup(views, time_column=time_column, online=online, registry=registry)


def describe_views(views: Sequence[JoinedView], lookup: ViewLookup | None) -> dict[str, Any]:
    """Say what a model's views add to a request, and how the look-ups have gone since it was loaded."""
    used = [{"view": one.view.name, "digest": one.digest, "keys": one.keys, "columns": one.columns} for one in views]
    return {"used": used, "lookups": {} if lookup is None else dict(lookup.counts)}


def _is_older(event_time: int, view: JoinedView, moment: int) -> bool:
    return view.freshness is not None and moment - event_time > view.freshness // _MICROSECOND


def _put(row: dict[str, Any], view: JoinedView, values: Mapping[str, Any]) -> None:
    for feature, column in view.columns.items():
        if (value := values.get(feature)) is not None:
            row[column] = value


def _plain(value: object) -> object:
    return value.isoformat() if isinstance(value, datetime) else value
