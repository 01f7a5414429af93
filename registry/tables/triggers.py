"""The inbox of triggers, and the launches that were granted."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class TriggerRow(Table, table=True):
    """One wish for a training, as it came, and what became of it.

    ``key`` is the sender's idempotency key: the same again is the same trigger. ``state`` is ``waiting`` until the
    arbiter has ruled, then ``started``, ``merged`` or ``suppressed``; ``launch`` is what it started or went into.
    """

    __tablename__ = "trigger_request"
    __table_args__ = (UniqueConstraint("pipeline", "key"),)

    id: str = Field(primary_key=True)
    pipeline: str = Field(index=True)
    kind: str
    key: str
    reason: str = ""
    actor: str
    priority: int = 0
    payload: dict[str, Any] = document_column()
    as_of: datetime | None = optional_moment_column()
    # The run that this trigger came of: a training's own traces must not ask for the next one.
    caused_by: str | None = None
    occurred_at: datetime = moment_column()
    received_at: datetime = moment_column()
    n_duplicates: int = 0
    state: str = Field(default="waiting", index=True)
    ruling: str = ""
    decided_at: datetime | None = optional_moment_column()
    decision: int | None = None
    launch: str | None = Field(default=None, index=True)


class Launch(Table, table=True):
    """A training that was granted: ``waiting``, ``sent`` (Prefect took it), ``begun``, ``ended`` or ``dead``."""

    __tablename__ = "launch"

    id: str = Field(primary_key=True)
    pipeline: str = Field(index=True)
    trigger: str
    kind: str
    reason: str = ""
    priority: int = 0
    as_of: datetime | None = optional_moment_column()
    parameters: dict[str, Any] = document_column()
    state: str = Field(default="waiting", index=True)
    # A pipeline has at most one launch that has not ended: the column is its name until then, and null afterwards.
    open_for: str | None = Field(default=None, unique=True)
    not_before: datetime | None = optional_moment_column()
    created_at: datetime = moment_column()
    sent_at: datetime | None = optional_moment_column()
    begun_at: datetime | None = optional_moment_column()
    ended_at: datetime | None = optional_moment_column()
    flow_run: str | None = None
    run_id: str | None = Field(default=None, index=True)
    # Who is about to send it, and until when nobody else may.
    holder: str | None = None
    held_until: datetime | None = optional_moment_column()
    n_sent: int = 0
    trouble: str = ""
    outcome: str | None = None
