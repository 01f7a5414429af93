"""Labels: what came true, for a prediction by its id, or for whatever was predicted of somebody at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from base.errors import Fault

Value = str | int | float | bool


@dataclass(frozen=True)
class Label:
    """What came true for one prediction.

    ``is_dated`` tells whether the sender has said when it was observed; else that is when it came.
    """

    id: str
    value: Value
    observed_at: datetime
    is_dated: bool = True


@dataclass(frozen=True)
class KeyedLabel:
    """What came true for those predictions of *key* whose event time is *time*.

    Where there is none of that time, the last one before counts, if it is at most *within* older.
    """

    key: dict[str, Any]
    time: datetime
    value: Value
    observed_at: datetime
    within: timedelta = timedelta(0)
    is_dated: bool = True


@dataclass(frozen=True)
class LabelBatch:
    """The labels of one request or part of a file, and what was wrong with the others.

    A fault's ``row`` is the position in the request; ``n_refused`` counts refused labels, of which one may have
    several faults.
    """

    labels: Sequence[Label] = ()
    keyed: Sequence[KeyedLabel] = ()
    faults: Sequence[Fault] = field(default=())
    n_refused: int = 0

    @property
    def n_received(self) -> int:
        """All that the request held."""
        return len(self.labels) + len(self.keyed) + self.n_refused
