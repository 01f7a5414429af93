"""Access tokens: who may ask the service for what."""

from __future__ import annotations

from datetime import date, datetime

from sqlalchemy import Column, UniqueConstraint
from sqlmodel import Field

from base.database import JsonDocument
from registry.tables.columns import moment_column, optional_moment_column
from registry.tables.table import Table


class AccessToken(Table, table=True):
    """One generation of a named token: its digest, never itself; rotation adds the next generation."""

    __tablename__ = "access_token"
    __table_args__ = (UniqueConstraint("name", "generation"),)

    id: str = Field(primary_key=True)
    name: str
    generation: int
    digest: str = Field(unique=True)
    roles: list[str] = Field(default_factory=list, sa_column=Column(JsonDocument, nullable=False))
    # The models that it may ask; none named: all.
    models: list[str] | None = Field(default=None, sa_column=Column(JsonDocument, nullable=True))
    created_by: str
    created_at: datetime = moment_column()
    expires_at: datetime | None = optional_moment_column()
    revoked_at: datetime | None = optional_moment_column()
    last_used_on: date | None = None
