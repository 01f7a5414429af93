"""The ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlmodel import Field

from registry.tables.columns import document_column, moment_column
from registry.tables.table import Table


class Decision(Table, table=True):
    """One entry of the ledger, chained to the one before by its digest."""

    __tablename__ = "decision"

    sequence: int = Field(primary_key=True, sa_column_kwargs={"autoincrement": False})
    kind: str
    pipeline: str = Field(index=True)
    run_id: str | None = Field(default=None, index=True)
    outcome: str
    reason: str
    actor: str
    evidence: dict[str, Any] = document_column()
    decided_at: datetime = moment_column()
    previous_digest: str
    digest: str = Field(unique=True)
