"""What monitoring found: windows, alarms, what they remember, and who muted them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field

from base.database import UtcDateTime
from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class WindowRow(Table, table=True):
    """What monitoring found in one window of served traffic.

    Its traffic was looked at at ``checked_at``; its labels, when they had matured, at ``labels_checked_at``, which is
    null while they are waited for. ``verdict`` is the triage's word and ``findings`` what is behind it. ``measured``
    holds each statistic under its name; those of quiet windows say what is usual here.
    """

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
    labels_checked_at: datetime | None = optional_moment_column()
    verdict: str = ""
    findings: dict[str, Any] = document_column()
    measured: dict[str, Any] = document_column()
    is_quiet: bool = False


class AlarmMemoryRow(Table, table=True):
    """What the alarms of a model remember between windows; *revision* grows by one with each change.

    The traffic of windows was judged until one moment, their labels until another.
    """

    __tablename__ = "alarm_memory"

    model: str = Field(primary_key=True)
    revision: int = 0
    state: dict[str, Any] = document_column()
    judged_until: datetime | None = optional_moment_column()
    labels_judged_until: datetime | None = optional_moment_column()
    changed_at: datetime = moment_column()


class AlarmRow(Table, table=True):
    """An alarm from the first window that raised it to the last one that showed it."""

    __tablename__ = "alarm"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    kind: str
    version: int | None = None
    columns: list[str] = document_column()
    severity: str
    reason: str
    verdict: str
    evidence: dict[str, Any] = document_column()
    p_adjusted: float
    owner: str = ""
    window_start: datetime = Field(sa_column=Column("window_start", UtcDateTime, nullable=False))
    window_stop: datetime = Field(sa_column=Column("window_stop", UtcDateTime, nullable=False))
    n_windows: int = 1
    raised_at: datetime = moment_column()
    seen_at: datetime = moment_column()
    closed_at: datetime | None = optional_moment_column()
    closed_because: str = ""
    # A model has at most one open alarm of a kind: the column is both until it is closed, and null afterwards.
    open_for: str | None = Field(default=None, unique=True)


class AlarmMute(Table, table=True):
    """A column, or a whole kind of alarm, of which a model's owner wants to hear nothing."""

    __tablename__ = "alarm_mute"

    id: str = Field(primary_key=True)
    model: str = Field(index=True)
    feature: str | None = None
    kind: str | None = None
    reason: str = ""
    muted_by: str
    muted_at: datetime = moment_column()
    until: datetime | None = optional_moment_column()
    lifted_at: datetime | None = optional_moment_column()
    lifted_by: str | None = None
    # The same is muted once: what it is until it is lifted, and null afterwards.
    active_for: str | None = Field(default=None, unique=True)
