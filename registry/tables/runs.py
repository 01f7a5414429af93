"""Runs and their steps: the edges of the lineage graph."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from registry.tables.columns import document_column, moment_column, optional_moment_column
from registry.tables.table import Table


class Run(Table, table=True):
    """One training, from extract to promote; *owner* is the process that holds its lease."""

    __tablename__ = "run"

    id: str = Field(primary_key=True)
    pipeline: str = Field(foreign_key="pipeline.name", index=True)
    pipeline_version: str = Field(foreign_key="pipeline_version.digest")
    parameters: dict[str, Any] = document_column()
    trigger: str
    status: str
    step: str | None = None
    reason: str = ""
    owner: str
    prefect_run: str | None = None
    # A pipeline has at most one run under way: the column is its name while it runs, and null afterwards.
    under_way: str | None = Field(default=None, unique=True)
    lease_until: datetime = moment_column()
    started_at: datetime = moment_column()
    finished_at: datetime | None = optional_moment_column()


class StepExecution(Table, table=True):
    """One execution of a step, or its reuse: inputs and outputs by digest, the edges of the lineage graph."""

    __tablename__ = "step_execution"

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="run.id", index=True)
    pipeline: str = Field(index=True)
    step: str
    key: str = Field(index=True)
    components: dict[str, Any] = document_column()
    output: dict[str, Any] = document_column()
    output_digest: str
    reused_from: int | None = Field(default=None, foreign_key="step_execution.id")
    seconds: float
    finished_at: datetime = moment_column()
