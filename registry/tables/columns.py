"""Columns that many tables have."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column
from sqlmodel import Field

from base.database import JsonDocument, UtcDateTime
from base.times import utc_now


def document_column() -> Any:
    """Make a column that holds a JSON document; empty unless told."""
    return Field(default_factory=dict, sa_column=Column(JsonDocument, nullable=False))


def moment_column() -> Any:
    """Make a column that holds a moment; now unless told."""
    return Field(default_factory=utc_now, sa_column=Column(UtcDateTime, nullable=False))


def optional_moment_column() -> Any:
    """Make a column that holds a moment or none."""
    return Field(default=None, sa_column=Column(UtcDateTime, nullable=True))
