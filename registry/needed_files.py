"""Which files the registry needs, and the end of those that it does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlmodel import Session, SQLModel, col, select

from base.artifacts import STORED_AGAIN_AFTER, Artifact
from base.rows.duck import quote_name
from registry.ledger import find_replayed
from registry.runs import RUNNING, is_alive
from registry.store import Registry
from registry.tables import ModelVersion, Run

YOUNG = timedelta(hours=1)
"""Files younger than this are left: who has stored one may not have said yet what it is for."""

_DIGEST = re.compile(r"[0-9a-f]{64}")
# The ledger names what was there, and needs none of it but what a verdict is replayed from.
_HISTORY = "decision"
# Messages about what happened need no file either.
_MESSAGES = "webhook_delivery"
# Files are deleted in transactions, so that no run can take one up meanwhile; a short one keeps nobody waiting.
_FILES_AT_ONCE = 50


def delete_unneeded(
    registry: Registry,
    files: Sequence[Artifact],
    *,
    before: datetime,
    forgotten_runs: Iterable[str] = (),
    advance: Callable[[str], None] = lambda _step: None,
) -> tuple[list[Artifact], list[Artifact]]:
    """Delete those of some files that nothing needs and that are older than *before*; return them, and those left."""
    forgotten = frozenset(forgotten_runs)
    with registry.database.read() as session:
        needed = find_needed(session, forgotten_runs=forgotten)
    left = [file for file in files if file.digest in needed]
    deleted: list[Artifact] = []
    for part in _parts([file for file in files if file.digest not in needed]):
        with registry.database.write() as session:
            needed = find_needed(session, forgotten_runs=forgotten)
            for file in part:
                gone = file.digest not in needed and registry.artifacts.delete(file, unless_since=before)
                (deleted if gone else left).append(file)
        advance(f"{len(deleted)} files deleted")
    return deleted, left


def find_needed(
    session: Session,
    *,
    forgotten_runs: Iterable[str] = (),
    without: Iterable[int | None] = (),
    deleted_versions: Iterable[str] = (),
) -> set[str]:
    """Find the digests of all files that the registry names, wherever it does.

    Whatever row of whatever table names a file needs it, but for four: the steps of *forgotten_runs* and of the runs
    of deleted versions, snapshots that are deleted or whose id is in *without*, deleted versions, and the ledger, but
    for what its gate decisions are replayed from.

    Parameters
    ----------
    deleted_versions : iterable of run ids
        Of versions that are looked upon as deleted already.
    """
    connection = session.connection()
    gone = select(ModelVersion.run_id).where(col(ModelVersion.deleted_at).is_not(None))
    deleted_runs = {*deleted_versions, *session.exec(gone)}
    forgotten, doomed = {*forgotten_runs, *deleted_runs}, set(without)
    needed: set[str] = set()
    for table in SQLModel.metadata.tables:
        if table == _HISTORY:
            needed.update(find_replayed(session))
            continue
        if table == _MESSAGES:
            continue
        for row in connection.execute(text(f"SELECT * FROM {quote_name(table)}")).mappings():
            if table == "step_execution" and row["run_id"] in forgotten:
                continue
            if table == "snapshot" and (row["deleted_at"] is not None or row["id"] in doomed):
                continue
            if table == "model_version" and row["run_id"] in deleted_runs:
                continue
            for value in row.values():
                if isinstance(value, str | dict | list):
                    needed.update(_DIGEST.findall(str(value)))
    return needed


def oldest_spared(session: Session, now: datetime, young: timedelta) -> datetime:
    """Return since when a stored file is spared: a run under way may not have recorded yet what it has stored."""
    runs = session.exec(select(Run).where(Run.status == RUNNING))
    begun = [run.started_at for run in runs if is_alive(run, now)]
    # An object store may have left a file as old as this, when its content was stored once more.
    return min([now - young, *begun]) - STORED_AGAIN_AFTER


def _parts(files: list[Artifact]) -> Iterator[list[Artifact]]:
    return (files[start : start + _FILES_AT_ONCE] for start in range(0, len(files), _FILES_AT_ONCE))
