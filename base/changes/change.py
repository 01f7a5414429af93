"""A change of data's shape, named for what it is."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

ChangeKind = Literal[
    "new column",
    "missing column",
    "renamed column",
    "retyped column",
    "new categories",
    "vanished categories",
    "unit jump",
    "sign flip",
    "negative values",
    "null burst",
    "stuck column",
    "all distinct",
    "range",
    "nullability",
    "rule",
]


class Change(BaseModel):
    """One thing that is not as it was: in which column, what it was before and what it is now.

    Examples
    --------
    >>> print(Change(kind="unit jump", column="distance", before="median 3.2", now="median 3,200", detail="x1000"))
    unit jump in 'distance': median 3.2 before, median 3,200 now (x1000)
    >>> print(Change(kind="renamed column", column="fare", now="'fare_usd'", detail="likely: 93 % alike"))
    renamed column 'fare': 'fare_usd' now (likely: 93 % alike)
    """

    model_config = ConfigDict(frozen=True)

    kind: ChangeKind
    column: str
    before: str = ""
    now: str = ""
    detail: str = ""
    other: str | None = None
    """Of a renamed column, its new name."""

    def __str__(self) -> str:
        place = f"{self.kind} {self.column!r}" if self.kind.endswith("column") else f"{self.kind} in {self.column!r}"
        facts = [f"{text} {when}" for text, when in ((self.before, "before"), (self.now, "now")) if text]
        told = f": {', '.join(facts)}" if facts else ""
        return f"{place}{told}{f' ({self.detail})' if self.detail else ''}"
