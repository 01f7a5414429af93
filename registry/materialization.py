"""Materialise feature views: new events offline, the newest of each key online, each exactly once."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from base.errors import EverfitError
from base.references import Rows
from base.settings import Settings
from base.times import utc_now
from features.declarations import DeclaredView
from features.offline_store import append_events, newest_by_key, read_events, select_new
from features.online_store import OnlineStore
from features.views import FeatureView
from registry.feature_views import find_declaration
from registry.store import Registry
from registry.tables import FeatureViewRow

# The cut itself is left out by a database, and is not too late.
_MICROSECOND = timedelta(microseconds=1)
# So often somebody else may be faster.
_TRIES = 10


@dataclass(frozen=True)
class Materialized:
    """What one materialisation did to a view."""

    name: str
    digest: str
    n_new: int
    n_left_out: int
    n_rows: int
    n_keys: int
    newest: datetime | None


def materialize_view(
    registry: Registry,
    online: OnlineStore,
    declared: DeclaredView,
    *,
    until: datetime | None = None,
    settings: Settings | None = None,
) -> Materialized:
    """Store a view's new events offline, and give each entity's newest to the online store.

    A process that dies in between leaves either nothing or offline events that the next materialisation gives to
    the online store. Two at once do the work twice, and each event is stored once.

    Parameters
    ----------
    until : datetime, optional
        Take what was known by then; default: by now.
    settings : Settings, optional
        Where connections, credentials of files and the key of personal values stand; default: the environment's.

    Raises
    ------
    DataRefused, DefinitionError, UserCodeError, SourceAway, SourceFailed
        If the source cannot be read as the view declares.
    """
    view = declared.view
    events, n_left_out = read_events(declared, settings, above=_find_cut(registry, declared))
    for _ in range(_TRIES):
        row = register_view(registry, declared)
        stored = Rows.model_validate(row.rows)
        new = select_new(registry.artifacts, view, stored, events, until=until or utc_now())
        rows = append_events(registry.artifacts, view, stored, new)
        if _record_rows(registry, row, rows):
            break
    else:
        raise EverfitError(f"feature view {view.name!r} is being materialised by others all the time; try again")
    _fill_online(registry, online, declared.digest, view)
    newest = max((segment.last for segment in rows.segments if segment.last is not None), default=None)
    return Materialized(
        name=view.name,
        digest=declared.digest,
        n_new=new.num_rows,
        n_left_out=n_left_out,
        n_rows=rows.n_rows,
        n_keys=online.count(declared.digest),
        newest=newest,
    )


def register_view(registry: Registry, declared: DeclaredView) -> FeatureViewRow:
    """Write a declaration down; the same one again gives the row that is there, with its newer words and place."""
    with registry.database.write() as session:
        row = find_declaration(session, declared.name, declared.digest)
        if row is None:
            row = FeatureViewRow(
                name=declared.name, digest=declared.digest, folder="", rows=_document(Rows(segments=()))
            )
        row.folder = str(declared.folder.absolute())
        row.document = declared.view.model_dump(mode="json")
        session.add(row)
    return row


def _find_cut(registry: Registry, declared: DeclaredView) -> datetime | None:
    """Say after which moment a new event can lie, where the view bounds how late one may come."""
    view = declared.view
    if view.lateness is None or view.created is not None:
        return None
    with registry.database.read() as session:
        row = find_declaration(session, declared.name, declared.digest)
    return None if row is None or row.newest is None else row.newest - view.lateness - _MICROSECOND


def _record_rows(registry: Registry, row: FeatureViewRow, rows: Rows) -> bool:
    """Point a view at its events, unless somebody else has done so since *row* was read."""
    with registry.database.write() as session:
        current = session.get_one(FeatureViewRow, row.id)
        if current.revision != row.revision:
            return False
        current.rows, current.n_rows = _document(rows), rows.n_rows
        current.newest = max((one.last for one in rows.segments if one.last is not None), default=None)
        current.materialized_at = utc_now()
        current.revision += 1
        session.add(current)
    return True


def _fill_online(registry: Registry, online: OnlineStore, digest: str, view: FeatureView) -> None:
    """Give the online store the newest events of the segments that it has not taken yet."""
    with registry.database.read() as session:
        row = find_declaration(session, view.name, digest)
    if row is None:
        return
    rows = Rows.model_validate(row.rows)
    # A store that was emptied, or is another one than last time, is filled from the beginning.
    first = row.n_online if online.count(digest) else 0
    if first >= len(rows.segments):
        return
    online.write(digest, view, newest_by_key(registry.artifacts, view, rows, first=first))
    with registry.database.write() as session:
        current = session.get_one(FeatureViewRow, row.id)
        current.n_online = max(current.n_online, len(rows.segments))
        session.add(current)


def _document(rows: Rows) -> dict[str, object]:
    return rows.model_dump(mode="json")
