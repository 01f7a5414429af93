"""What changed in a pipeline's data since its snapshot before, each named for what it is."""

from __future__ import annotations

import logging

from base.changes.schema import describe_changes
from base.references import Snapshot
from registry.snapshots import list_snapshots, read_snapshot
from tasks.execution import RunContext

Log = logging.Logger | logging.LoggerAdapter[logging.Logger]


def tell_changes(context: RunContext, snapshot: Snapshot, log: Log) -> tuple[str, ...]:
    """Compare a snapshot with the one recorded before it, and log each change of its columns as a warning.

    It is advice beside the contract's judgement: where it cannot be given, the log says so and the run goes on.
    """
    with context.registry.database.read() as session:
        rows = list_snapshots(session, context.pipeline.name)
        own = next((row.id for row in rows if row.digest == snapshot.digest), None)
        others = [row for row in rows if row.digest != snapshot.digest and row.deleted_at is None]
        earlier = next((row for row in others if own is None or (row.id or 0) < own), None)
        before = None if earlier is None else read_snapshot(earlier)
    if before is None:
        return ()
    try:
        changes = describe_changes(context.registry.artifacts, before.rows, snapshot.rows)
    except Exception as error:
        log.warning("validate_data: the data could not be compared with snapshot %s: %s", before.digest[:12], error)
        return ()
    told = tuple(f"{change}, since snapshot {before.digest[:12]}" for change in changes)
    for text in told:
        log.warning("validate_data: %s", text)
    return told
