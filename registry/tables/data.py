"""Data: snapshots and feature views."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class SnapshotRow(Table, table=True):
    """A snapshot of a pipeline's data: its document, its parent, and how far its source had been read."""

    __tablename__ = "snapshot"
    __table_args__ = (UniqueConstraint("pipeline", "digest"),)

    id: int | None = Field(default=None, primary_key=True)
    pipeline: str = Field(foreign_key="pipeline.name", index=True)
    digest: str = Field(index=True)
    parent: str | None = None
    # Digest of what the definition says about the source: a snapshot grows only out of one of the same source.
    source: str
    # What the source knows about itself, such as the watermark up to which it was read.
    state: dict[str, Any] = document_column()
    document: dict[str, Any] = document_column()
    n_rows: int
    n_new: int
    run_id: str | None = None
    created_at: datetime = moment_column()
    # Set when retention has deleted its files; the row stays, so that lineage can name what was there.
    deleted_at: datetime | None = optional_moment_column()


class FeatureViewRow(Table, table=True):
    """One declaration of a feature view, and the events that were stored for it; *revision* grows with each change."""

    __tablename__ = "feature_view"
    __table_args__ = (UniqueConstraint("name", "digest"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    digest: str
    # Where it was declared last, so that it can be materialised from anywhere.
    folder: str
    document: dict[str, Any] = document_column()
    rows: dict[str, Any] = document_column()
    n_rows: int = 0
    # How many of the segments the online store has taken; the rest is given to it by the next materialisation.
    n_online: int = 0
    newest: datetime | None = optional_moment_column()
    revision: int = 0
    registered_at: datetime = moment_column()
    materialized_at: datetime | None = optional_moment_column()
