"""The online store: the newest values of each entity by key, in SQLite or Postgres."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import bindparam, inspect, text

from base.database import Database
from base.rows.reading import POSITION, SEGMENT
from base.settings import Settings
from features.views import FeatureView

if TYPE_CHECKING:
    import pyarrow as pa

_TABLE = "online_value"
_CHUNK = 2_000
_MOST_KEYS = 500
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_CREATE = f"""
CREATE TABLE IF NOT EXISTS {_TABLE} (
    declaration TEXT NOT NULL,
    entity_key TEXT NOT NULL,
    event_time BIGINT NOT NULL,
    known_since BIGINT NOT NULL,
    segment BIGINT NOT NULL,
    position BIGINT NOT NULL,
    feature_values TEXT NOT NULL,
    PRIMARY KEY (declaration, entity_key)
)"""
# Whatever the order in which events are written, twice or by two at once, the newest stays.
_UPSERT = f"""
INSERT INTO {_TABLE} (declaration, entity_key, event_time, known_since, segment, position, feature_values)
VALUES (:declaration, :entity_key, :event_time, :known_since, :segment, :position, :feature_values)
ON CONFLICT (declaration, entity_key) DO UPDATE SET
    event_time = excluded.event_time, known_since = excluded.known_since,
    segment = excluded.segment, position = excluded.position, feature_values = excluded.feature_values
WHERE (excluded.event_time, excluded.known_since, excluded.segment, excluded.position)
   >= ({_TABLE}.event_time, {_TABLE}.known_since, {_TABLE}.segment, {_TABLE}.position)"""
_SELECT = text(
    f"SELECT entity_key, event_time, known_since, feature_values FROM {_TABLE} "
    "WHERE declaration = :declaration AND entity_key IN :keys"
).bindparams(bindparam("keys", expanding=True))


@dataclass(frozen=True)
class OnlineValue:
    """The newest event of one entity: when it happened, since when it is known (microseconds), and its features."""

    event_time: int
    known_since: int
    features: Mapping[str, Any]


class OnlineStore:
    """Newest values by key; tables of its own, made when they are first written.

    Examples
    --------
    >>> store = OnlineStore("sqlite://")
    >>> store.read("d", [entity_key(["JFK"])])
    {}
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._is_made = False

    @classmethod
    def from_settings(cls, settings: Settings) -> OnlineStore:
        """Open the store that the settings name."""
        url = settings.online
        if url.startswith("postgres") and "connect_timeout" not in url:
            # A request waits no longer than this for a store that is away.
            url += f"{'&' if '?' in url else '?'}connect_timeout=2"
        return cls(url)

    def write(self, digest: str, view: FeatureView, events: pa.Table) -> int:
        """Upsert the newest event of each key; one that is older than what is there changes nothing.

        Parameters
        ----------
        events : Table
            As :func:`features.offline_store.newest_by_key` gives them: ordered by key, so that two writers at once
            wait for each other and never in a circle.

        Returns
        -------
        int
            How many keys were offered.
        """
        self._make()
        # On SQLite the turn is taken at once; on Postgres the rows' own locks are enough, and the registry's
        # writers, who may share the database, are not kept waiting.
        is_sqlite = self._database.engine.dialect.name == "sqlite"
        engine = self._database.engine.execution_options(begin="immediate") if is_sqlite else self._database.engine
        for batch in events.to_batches(max_chunksize=_CHUNK):
            with engine.begin() as connection:
                connection.execute(text(_UPSERT), list(_documents(digest, view, batch)))
        return int(events.num_rows)

    def read(self, digest: str, keys: Sequence[str]) -> dict[str, OnlineValue]:
        """Look up the newest values by key; a key that is not there is left out."""
        if not self._exists():
            return {}
        found: dict[str, OnlineValue] = {}
        with self._database.engine.connect() as connection:
            for start in range(0, len(keys), _MOST_KEYS):
                rows = connection.execute(
                    _SELECT, {"declaration": digest, "keys": list(keys[start : start + _MOST_KEYS])}
                )
                for key, event_time, known_since, values in rows:
                    found[key] = OnlineValue(event_time, known_since, orjson.loads(values))
        return found

    def count(self, digest: str) -> int:
        """Count the keys of a declaration."""
        if not self._exists():
            return 0
        with self._database.engine.connect() as connection:
            query = text(f"SELECT count(*) FROM {_TABLE} WHERE declaration = :declaration")
            return int(connection.execute(query, {"declaration": digest}).scalar_one())

    def close(self) -> None:
        """Give back every connection."""
        self._database.close()

    def _make(self) -> None:
        if not self._exists():
            # Two that create a table at the same moment get in each other's way on Postgres, so they take turns.
            with self._database.write() as session:
                session.connection().execute(text(_CREATE))
            self._is_made = True

    def _exists(self) -> bool:
        if not self._is_made:
            self._is_made = inspect(self._database.engine).has_table(_TABLE)
        return self._is_made


def entity_key(values: Iterable[object]) -> str:
    """Write an entity's key as the store does: whole numbers without a point, whoever wrote them.

    Examples
    --------
    >>> entity_key(["JFK", 7.0])
    '["JFK",7]'
    """
    whole = [int(value) if isinstance(value, float) and value.is_integer() else value for value in values]
    return orjson.dumps(whole).decode()


def microseconds(moment: datetime) -> int:
    """Count a moment's microseconds since 1970, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def _documents(digest: str, view: FeatureView, batch: pa.RecordBatch) -> Iterable[dict[str, Any]]:
    for row in batch.to_pylist():
        happened = microseconds(row[view.time])
        created = None if view.created is None else row[view.created]
        yield {
            "declaration": digest,
            "entity_key": entity_key(row[key] for key in view.entity.keys),
            "event_time": happened,
            "known_since": happened if created is None else microseconds(created),
            "segment": row[SEGMENT],
            "position": row[POSITION],
            "feature_values": orjson.dumps({name: row[name] for name in view.stored}).decode(),
        }
