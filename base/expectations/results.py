"""What Great Expectations is asked, and what it answers, as JSON between two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from base.contract import ExpectationRule
from base.expectations.counted_suite import SuiteCounts


class ExpectationResult(BaseModel):
    """What one expectation found: its type and arguments, and over how many rows it did not hold.

    ``rows`` are (segment's index, position) of those rows, where they were asked for.
    """

    model_config = ConfigDict(frozen=True)

    type: str
    arguments: dict[str, Any]
    success: bool
    n_unexpected: int = 0
    observed: Any = None
    examples: tuple[Any, ...] = ()
    rows: tuple[tuple[int, int], ...] = ()
    error: str | None = None


class RowsFile(BaseModel):
    """A Parquet file of rows, and the files that list which of its positions do not count."""

    path: Path
    dropped: tuple[Path, ...] = ()


class Question(BaseModel):
    """A suite with the counts it is judged by; expectations named one by one, with the rows and code they need."""

    suite: dict[str, Any]
    counts: SuiteCounts
    named: tuple[ExpectationRule, ...] = ()
    files: tuple[RowsFile, ...] = ()
    code: dict[str, str] = {}


class Answer(BaseModel):
    """The results of the suite and of the named expectations, in their order; or why there are none."""

    results: tuple[ExpectationResult, ...] = ()
    named: tuple[ExpectationResult, ...] = ()
    wrong_contract: str | None = None
    failure: str | None = None
