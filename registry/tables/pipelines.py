"""Pipelines, and the packages that their definitions made."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from registry.tables.columns import document_column, moment_column
from registry.tables.table import Table


class PipelineRow(Table, table=True):
    """A pipeline by name, and where its definition was last read."""

    __tablename__ = "pipeline"

    name: str = Field(primary_key=True)
    definition: str
    created_at: datetime = moment_column()


class PipelineVersion(Table, table=True):
    """The package: definition, contract and code under one digest."""

    __tablename__ = "pipeline_version"

    digest: str = Field(primary_key=True)
    pipeline: str = Field(foreign_key="pipeline.name", index=True)
    package: dict[str, Any] = document_column()
    created_at: datetime = moment_column()
