"""What monitoring found."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field, SQLModel

from base.database import UtcDateTime
from registry.tables.columns import document_column, moment_column


class WindowRow(SQLModel, table=True):
    """What monitoring found in one window of served traffic."""

    __tablename__ = "monitoring_window"
    __table_args__ = (UniqueConstraint("model", "start", "stop"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(index=True)
    start: datetime = Field(sa_column=Column("start", UtcDateTime, nullable=False))
    stop: datetime = Field(sa_column=Column("stop", UtcDateTime, nullable=False))
    version: int | None = None
    n_rows: int
    n_labelled: int
    metrics: dict[str, Any] = document_column()
    drift: dict[str, Any] = document_column()
    outcome: str
    reason: str
    checked_at: datetime = moment_column()
