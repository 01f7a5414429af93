"""What is told to whom of what happened: how far each sink has read, its outbox, and who muted it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Index, UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class NoticeCursor(Table, table=True):
    """How far a sink has read the ledger, and the runs and alarms whose end it waits for."""

    __tablename__ = "notice_cursor"

    sink: str = Field(primary_key=True)
    position: int = 0
    watched: dict[str, Any] = document_column()
    moved_at: datetime = moment_column()


class NoticeRow(Table, table=True):
    """One happening for one sink, written in the transaction in which the sink's cursor moves past it.

    *state* is ``waiting``, ``sent``, ``given up``, or why it is never sent: ``muted``, ``repeated`` or
    ``unwanted``. A try moves
    *next_try_at* ahead before it begins, so that no two processes send at once, and one that dies loses nothing.
    Rows that went out in one digest share their *message*.
    """

    __tablename__ = "notice"
    __table_args__ = (
        UniqueConstraint("sink", "key"),
        Index("ix_notice_sink_state", "sink", "state"),
        Index("ix_notice_sink_topic", "sink", "topic"),
    )

    id: int | None = Field(default=None, primary_key=True)
    # The name of a setting; the address is never stored.
    sink: str
    key: str
    pipeline: str
    kind: str
    severity: str
    # The same topic with the same sign is told once in a quiet period.
    topic: str = ""
    sign: str = ""
    happening: dict[str, Any] = document_column()
    owner: str = ""
    state: str = "waiting"
    message: str = ""
    tries: int = 0
    problem: str = ""
    happened_at: datetime = moment_column()
    created_at: datetime = moment_column()
    next_try_at: datetime = moment_column()
    finished_at: datetime | None = optional_moment_column()


class NoticeMute(Table, table=True):
    """A pipeline, or a kind of happening of it, of which nobody wants to be told for a while."""

    __tablename__ = "notice_mute"

    id: str = Field(primary_key=True)
    pipeline: str = Field(index=True)
    kind: str | None = None
    reason: str = ""
    muted_by: str
    muted_at: datetime = moment_column()
    until: datetime | None = optional_moment_column()
    lifted_at: datetime | None = optional_moment_column()
    lifted_by: str | None = None
    # The same is muted once: what it is until it is lifted, and null afterwards.
    active_for: str | None = Field(default=None, unique=True)
