"""Experiments: what was fitted in a run, with what, and what came of it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import UniqueConstraint
from sqlmodel import Field

from registry.tables.columns import document_column, moment_column
from registry.tables.table import Table


class Experiment(Table, table=True):
    """One candidate of a run, or one window of its race; numbered within the run.

    *kind* is ``candidate`` or ``window``; *document* is the Candidate or RacedWindow as the train step gave it.
    """

    __tablename__ = "experiment"
    __table_args__ = (UniqueConstraint("run_id", "number"),)

    id: int | None = Field(default=None, primary_key=True)
    run_id: str = Field(foreign_key="run.id", index=True)
    pipeline: str = Field(index=True)
    number: int
    kind: str
    estimator: str
    parameters: dict[str, Any] = document_column()
    seed: int
    window: str
    loss: float | None = None
    document: dict[str, Any] = document_column()
    n_rows: int | None = None
    seconds: float
    error: str | None = None
    is_chosen: bool
    recorded_at: datetime = moment_column()
