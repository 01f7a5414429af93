"""The prediction log's segments in the artifact store, and what their writers counted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Column, Index, UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class TrafficSegment(Table, table=True):
    """A segment that was moved: whose rows it holds, from when to when, and under which digest.

    Rows of a writer's stream are numbered from 0, so that the row that is missing between two segments is seen. One
    that retention has removed keeps its record, without the file.
    """

    __tablename__ = "traffic_segment"
    __table_args__ = (
        UniqueConstraint("writer", "model", "kind", "version", "first_seq"),
        Index("ix_traffic_segment_range", "model", "kind", "last_event_time"),
    )

    id: str = Field(primary_key=True)
    model: str
    kind: str
    version: int
    writer: str | None = None
    first_seq: int | None = Field(default=None, sa_column=Column(BigInteger, nullable=True))
    n_rows: int
    artifact: dict[str, Any] = document_column()
    size_bytes: int = Field(sa_column=Column(BigInteger, nullable=False))
    first_predicted_at: datetime | None = optional_moment_column()
    last_predicted_at: datetime | None = optional_moment_column()
    first_event_time: datetime | None = optional_moment_column()
    last_event_time: datetime | None = optional_moment_column()
    moved_at: datetime = moment_column()
    removed_at: datetime | None = optional_moment_column()


class TrafficWriter(Table, table=True):
    """A process that logged, and its accounts as they were when they were last copied here, for other hosts to read."""

    __tablename__ = "traffic_writer"

    name: str = Field(primary_key=True)
    host: str
    pid: int
    started_at: datetime = moment_column()
    written_at: datetime = moment_column()
    closed: bool = False
    totals: dict[str, Any] = document_column()
