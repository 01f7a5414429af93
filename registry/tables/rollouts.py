"""Rollouts: which versions share a model's traffic, what was seen of them, and which replicas follow."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKeyConstraint, Index, text
from sqlmodel import Field

from base.database import JsonDocument
from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table

_RUNNING = text("status = 'running'")


class Rollout(Table, table=True):
    """Challengers beside a champion; *revision* grows by one with each change, and nobody changes it unseen.

    At most one runs for each environment and model. *shares* are the parts of the keys, by version number, champion
    first; what is missing to 1 belongs to nobody (a shadow's share is 0).
    """

    __tablename__ = "rollout"
    __table_args__ = (
        ForeignKeyConstraint(["model", "champion"], ["model_version.model", "model_version.number"]),
        Index(
            "ix_rollout_running",
            "environment",
            "model",
            unique=True,
            sqlite_where=_RUNNING,
            postgresql_where=_RUNNING,
        ),
    )

    # Random, since the arm of a key is a hash of both: the next rollout draws its arms anew.
    id: str = Field(primary_key=True)
    environment: str
    model: str = Field(index=True)
    # shadow, canary, ab or bandit.
    kind: str
    champion: int
    # Where the alias stood; the rollout moves it from there or not at all.
    champion_revision: int
    challengers: list[int] = Field(default_factory=list, sa_column=Column(JsonDocument, nullable=False))
    spec: dict[str, Any] = document_column()
    step: int = 0
    shares: dict[str, float] = document_column()
    # running, promoted, rolled_back, stopped or finished.
    status: str = Field(default="running", index=True)
    reason: str
    revision: int = 1
    started_by: str
    started_at: datetime = moment_column()
    moved_at: datetime = moment_column()
    finished_at: datetime | None = optional_moment_column()
    # Which replica looks at the evidence, until when nobody else does.
    looker: str | None = None
    looker_until: datetime | None = optional_moment_column()


class RolloutLook(Table, table=True):
    """What one look found that the looks before had not: rows with their losses, and requests by version.

    Everything that is decided follows from the looks in their order; see :mod:`serving.rollout.evidence`.
    """

    __tablename__ = "rollout_look"

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id")
    number: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    labelled: dict[str, Any] = document_column()
    compared: dict[str, Any] = document_column()
    requests: dict[str, Any] = document_column()
    looked_at: datetime = moment_column()


class RolloutReplica(Table, table=True):
    """One service process that follows a rollout: which versions it could load, and what it has counted so far."""

    __tablename__ = "rollout_replica"

    rollout_id: str = Field(primary_key=True, foreign_key="rollout.id")
    replica: str = Field(primary_key=True)
    revision: int
    refused: dict[str, Any] = document_column()
    counts: dict[str, Any] = document_column()
    heard_at: datetime = moment_column()
