"""Snapshots of a pipeline's data: recorded once each, found by digest, followed to the newest."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session, select

from base.errors import ArgumentError
from base.references import Snapshot
from registry.tables import SnapshotRow

_SHOWN = 12


def record_snapshot(
    session: Session,
    pipeline: str,
    snapshot: Snapshot,
    *,
    source: str,
    state: dict[str, Any],
    n_new: int,
    run_id: str | None = None,
) -> SnapshotRow:
    """Write a snapshot down; the same content again gives the row that is there, with the newer *state*.

    Parameters
    ----------
    source : str
        Digest of what the definition says about the source.
    state : dict
        JSON: what the source needs to go on from here, such as a watermark.
    n_new : int
        Rows that its parent did not have.
    """
    row = session.exec(
        select(SnapshotRow).where(SnapshotRow.pipeline == pipeline, SnapshotRow.digest == snapshot.digest)
    ).one_or_none()
    if row is None:
        row = SnapshotRow(
            pipeline=pipeline,
            digest=snapshot.digest,
            parent=snapshot.parent,
            source=source,
            state=state,
            document=snapshot.model_dump(mode="json"),
            n_rows=snapshot.n_rows,
            n_new=n_new,
            run_id=run_id,
        )
    row.state, row.source, row.deleted_at = state, source, None
    session.add(row)
    session.flush()
    return row


def newest_snapshot(session: Session, pipeline: str, *, source: str | None = None) -> SnapshotRow | None:
    """Return the snapshot that was recorded last, of *source* alone where that is given; None if there is none."""
    query = select(SnapshotRow).where(SnapshotRow.pipeline == pipeline, SnapshotRow.deleted_at == None)  # noqa: E711
    if source is not None:
        query = query.where(SnapshotRow.source == source)
    return session.exec(query.order_by(SnapshotRow.id.desc())).first()  # type: ignore[union-attr]


def list_snapshots(session: Session, pipeline: str | None = None) -> list[SnapshotRow]:
    """List snapshots, newest first, those that retention has deleted included."""
    query = select(SnapshotRow)
    if pipeline is not None:
        query = query.where(SnapshotRow.pipeline == pipeline)
    return list(session.exec(query.order_by(SnapshotRow.id.desc())))  # type: ignore[union-attr]


def find_snapshot(session: Session, pipeline: str, digest: str) -> SnapshotRow:
    """Find a snapshot by its digest or the beginning of it.

    Raises
    ------
    ArgumentError
        If there is none, there are several, or its files were deleted.
    """
    rows = [row for row in list_snapshots(session, pipeline) if row.digest.startswith(digest)]
    if not digest or not rows:
        known = ", ".join(row.digest[:_SHOWN] for row in list_snapshots(session, pipeline)[:5]) or "none"
        raise ArgumentError(f"pipeline {pipeline!r} has no snapshot {digest!r}; the newest are: {known}")
    if len(rows) > 1:
        shown = ", ".join(row.digest[: _SHOWN + 8] for row in rows[:5])
        raise ArgumentError(f"snapshot {digest!r} of pipeline {pipeline!r} may be {shown}; give more of its digest")
    if rows[0].deleted_at is not None:
        raise ArgumentError(
            f"the files of snapshot {rows[0].digest[:_SHOWN]} of pipeline {pipeline!r} were deleted by retention on "
            f"{rows[0].deleted_at:%Y-%m-%d}; its place in the lineage is all that is left"
        )
    return rows[0]


def read_snapshot(row: SnapshotRow) -> Snapshot:
    """Read the snapshot that a row records."""
    return Snapshot.model_validate(row.document)
