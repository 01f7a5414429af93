"""Model versions, and where the aliases stand and stood."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class ModelVersion(Table, table=True):
    """A registered model: immutable, numbered without gaps within its name, one for each run."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(index=True)
    number: int
    run_id: str = Field(foreign_key="run.id", unique=True)
    pipeline_version: str = Field(foreign_key="pipeline_version.digest")
    manifest: dict[str, Any] = document_column()
    metrics: dict[str, Any] = document_column()
    verdict: dict[str, Any] = document_column()
    created_at: datetime = moment_column()
    # Set when its files were deleted; the row stays, so that lineage and ledger can name it.
    deleted_at: datetime | None = optional_moment_column()


class VersionTag(Table, table=True):
    """What people say about a version: a key with a value, or a free tag, whose value is empty."""

    __tablename__ = "version_tag"
    __table_args__ = (
        UniqueConstraint("model", "number", "key"),
        ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),
    )

    id: int | None = Field(default=None, primary_key=True)
    model: str
    number: int
    key: str
    value: str
    set_at: datetime = moment_column()


class Alias(Table, table=True):
    """Which version a name such as champion means now; *revision* grows by one with each move."""

    __tablename__ = "alias"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),)

    environment: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    alias: str = Field(primary_key=True)
    number: int
    revision: int
    moved_at: datetime = moment_column()


class AliasMove(Table, table=True):
    """One move of an alias, kept for ever: what was champion on 3 May has an answer.

    *kind* is ``promotion`` or ``rollback``: the version that a rollback left is never gone back to.
    """

    __tablename__ = "alias_move"
    __table_args__ = (
        UniqueConstraint("environment", "model", "alias", "revision"),
        ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),
    )

    id: int | None = Field(default=None, primary_key=True)
    environment: str
    model: str
    alias: str
    revision: int
    number: int
    previous: int | None = None
    kind: str
    actor: str
    reason: str
    run_id: str | None = Field(default=None, sa_column=Column("run_id", ForeignKey("run.id"), nullable=True))
    moved_at: datetime = moment_column()
