"""What was found out about model files."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from registry.tables.columns import document_column, moment_column
from registry.tables.table import Table


class ProofRow(Table, table=True):
    """A version that came through its first load, and in which environment; what failed is not remembered."""

    __tablename__ = "version_proof"

    loaded: str = Field(primary_key=True)
    environment: str = Field(primary_key=True)
    model: str
    document: dict[str, Any] = document_column()
    proven_at: datetime = moment_column()
