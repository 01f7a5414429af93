"""The tables of the registry; numbers, aliases and the ledger's order are guarded by constraints."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import Column, ForeignKey, ForeignKeyConstraint, UniqueConstraint
from sqlmodel import Field, SQLModel

from base.database import JsonDocument, UtcDateTime
from base.times import utc_now


def _json() -> Any:
    return Field(default_factory=dict, sa_column=Column(JsonDocument, nullable=False))


def _moment() -> Any:
    return Field(default_factory=utc_now, sa_column=Column(UtcDateTime, nullable=False))


def _optional_moment() -> Any:
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))


class PipelineRow(SQLModel, table=True):
    """A pipeline by name, and where its definition was last read."""

    __tablename__ = "pipeline"

    name: str = Field(primary_key=True)
    definition: str
    created_at: datetime = _moment()


class PipelineVersion(SQLModel, table=True):
    """The package: definition, contract and code under one digest."""

    __tablename__ = "pipeline_version"

    digest: str = Field(primary_key=True)
    pipeline: str = Field(foreign_key="pipeline.name", index=True)
    package: dict[str, Any] = _json()
    created_at: datetime = _moment()


class Run(SQLModel, table=True):
    """One training, from extract to promote; *owner* is the process that holds its lease."""

    __tablename__ = "run"

    id: str = Field(primary_key=True)
    pipeline: str = Field(foreign_key="pipeline.name", index=True)
    pipeline_version: str = Field(foreign_key="pipeline_version.digest")
    parameters: dict[str, Any] = _json()
    trigger: str
    status: str
    step: str | None = None
    reason: str = ""
    owner: str
    prefect_run: str | None = None
    # A pipeline has at most one run under way: the column is its name while it runs, and null afterwards.
    under_way: str | None = Field(default=None, unique=True)
    lease_until: datetime = _moment()
    started_at: datetime = _moment()
    finished_at: datetime | None = _optional_moment()


class StepExecution(SQLModel, table=True):
    """One execution of a step, or its reuse: inputs and outputs by digest, the edges of the lineage graph."""

    __tablename__ = "step_execution"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="run.id", index=True)
    pipeline: str = Field(index=True)
    step: str
    key: str = Field(index=True)
    components: dict[str, Any] = _json()
    output: dict[str, Any] = _json()
    output_digest: str
    reused_from: int | None = Field(default=None, foreign_key="step_execution.id")
    seconds: float
    finished_at: datetime = _moment()


class SnapshotRow(SQLModel, table=True):
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
    state: dict[str, Any] = _json()
    document: dict[str, Any] = _json()
    n_rows: int
    n_new: int
    run_id: str | None = None
    created_at: datetime = _moment()
    # Set when retention has deleted its files; the row stays, so that lineage can name what was there.
    deleted_at: datetime | None = _optional_moment()


class FeatureViewRow(SQLModel, table=True):
    """One declaration of a feature view, and the events that were stored for it; *revision* grows with each change."""

    __tablename__ = "feature_view"
    __table_args__ = (UniqueConstraint("name", "digest"),)

    id: int | None = Field(default=None, primary_key=True)
    name: str = Field(index=True)
    digest: str
    # Where it was declared last, so that it can be materialised from anywhere.
    folder: str
    document: dict[str, Any] = _json()
    rows: dict[str, Any] = _json()
    n_rows: int = 0
    # How many of the segments the online store has taken; the rest is given to it by the next materialisation.
    n_online: int = 0
    newest: datetime | None = _optional_moment()
    revision: int = 0
    registered_at: datetime = _moment()
    materialized_at: datetime | None = _optional_moment()


class ModelVersion(SQLModel, table=True):
    """A registered model: immutable, numbered without gaps within its name, one for each run."""

    __tablename__ = "model_version"
    __table_args__ = (UniqueConstraint("model", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    model: str = Field(index=True)
    number: int
    run_id: str = Field(foreign_key="run.id", unique=True)
    pipeline_version: str = Field(foreign_key="pipeline_version.digest")
    manifest: dict[str, Any] = _json()
    metrics: dict[str, Any] = _json()
    verdict: dict[str, Any] = _json()
    created_at: datetime = _moment()


class Alias(SQLModel, table=True):
    """Which version a name such as champion means now; *revision* grows by one with each move."""

    __tablename__ = "alias"
    __table_args__ = (ForeignKeyConstraint(["model", "number"], ["model_version.model", "model_version.number"]),)

    environment: str = Field(primary_key=True)
    model: str = Field(primary_key=True)
    alias: str = Field(primary_key=True)
    number: int
    revision: int
    moved_at: datetime = _moment()


class AliasMove(SQLModel, table=True):
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
    moved_at: datetime = _moment()


class Decision(SQLModel, table=True):
    """One entry of the ledger, chained to the one before by its digest."""

    __tablename__ = "decision"

    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str
    pipeline: str = Field(index=True)
    run_id: str | None = Field(default=None, index=True)
    outcome: str
    reason: str
    actor: str
    evidence: dict[str, Any] = _json()
    decided_at: datetime = _moment()
    previous_digest: str
    digest: str = Field(unique=True)


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
    metrics: dict[str, Any] = _json()
    drift: dict[str, Any] = _json()
    outcome: str
    reason: str
    checked_at: datetime = _moment()
