"""Approvals: what people are asked, and what they answered."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Column, ForeignKeyConstraint, UniqueConstraint
from sqlmodel import Field

from base.database import JsonDocument, UtcDateTime
from registry.tables.columns import moment_column, optional_moment_column
from registry.tables.table import Table


class Approval(Table, table=True):
    """A promotion that the gate allowed and people must agree to; *revision* is where the alias stood then."""

    __tablename__ = "approval"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),)

    run_id: str = Field(primary_key=True, foreign_key="run.id")
    model: str = Field(index=True)
    number: int
    environment: str
    revision: int
    requester: str
    needed: int
    approvers: list[str] = Field(default_factory=list, sa_column=Column(JsonDocument, nullable=False))
    reason: str
    # waiting, approved, rejected, expired, or overtaken: the champion has changed since the verdict.
    status: str = Field(index=True)
    asked_at: datetime = moment_column()
    expires_at: datetime = Field(sa_column=Column("expires_at", UtcDateTime, nullable=False))
    closed_at: datetime | None = optional_moment_column()


class ApprovalAnswer(Table, table=True):
    """What one person answered; each answers once."""

    __tablename__ = "approval_answer"
    __table_args__ = (UniqueConstraint("run_id", "actor"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="approval.run_id", index=True)
    actor: str
    answer: str
    reason: str
    answered_at: datetime = moment_column()
