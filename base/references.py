"""What travels between steps: small frozen references, never frames or fitted models."""

from __future__ import annotations

import math
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict

from base.artifacts import Artifact
from base.contract import ColumnType
from base.fingerprint import digest_document

Trigger = Literal[
    "person", "schedule", "drift", "performance", "webhook", "new_data", "missing_data", "staleness", "code"
]
"""What can ask for a training."""


def _unmeasured(value: object) -> object:
    return math.nan if value is None else value


Metric = Annotated[float, BeforeValidator(_unmeasured)]
"""A measured figure; one that could not be measured is NaN, and null in every stored document."""


class Reference(BaseModel):
    """A frozen JSON document that names stored content by digest."""

    model_config = ConfigDict(frozen=True)


class Segment(Reference):
    """One stored Parquet file of rows; those at the positions that *dropped* lists do not count any more.

    Rows are corrected or set aside by naming their positions, never by writing the file anew: each of *dropped* is
    a Parquet file with one column ``position`` (int64, counted from 0).
    """

    artifact: Artifact
    n_stored: int
    first: datetime | None = None
    last: datetime | None = None
    dropped: tuple[Artifact, ...] = ()
    n_dropped: int = 0


class Rows(Reference):
    """Rows in segments. Their order is by time, then by segment and position; without a time, by the latter."""

    segments: tuple[Segment, ...]
    time: str | None = None

    @property
    def n_rows(self) -> int:
        """How many rows count."""
        return sum(segment.n_stored - segment.n_dropped for segment in self.segments)

    @property
    def digest(self) -> str:
        """The name of this content: equal segments with equal positions dropped."""
        return digest_document(self.model_dump(mode="json"))


class Snapshot(Reference):
    """What was extracted, as of one moment: its parent's segments and the new ones.

    ``unmatched`` says, by joined source, how many of the rows that were read last found no row there.
    """

    rows: Rows
    columns: dict[str, ColumnType]
    first: datetime | None = None
    watermark: datetime | None = None
    parent: str | None = None
    unmatched: dict[str, int] = {}

    @property
    def digest(self) -> str:
        """The name of the snapshot: that of its rows."""
        return self.rows.digest

    @property
    def n_rows(self) -> int:
        """How many rows it has."""
        return self.rows.n_rows

    @property
    def time(self) -> str | None:
        """The column that says when a row happened."""
        return self.rows.time


class ValidatedData(Reference):
    """The good rows of a snapshot, and the quarantined ones with their reasons.

    ``reasons`` count each quarantined row once, ``warnings`` the rows that break a rule and stay, ``changes`` tell
    what is not as it was in the snapshot before. ``judgements`` is what was found in each segment, for the next run
    to go on from.
    """

    good: Rows
    n_rows: int
    quarantined: Artifact | None
    reasons: dict[str, int]
    report: Artifact
    warnings: dict[str, int] = {}
    changes: tuple[str, ...] = ()
    page: Artifact | None = None
    judgements: Artifact | None = None

    @property
    def n_quarantined(self) -> int:
        """How many rows were set aside."""
        return sum(self.reasons.values())


class Part(Reference):
    """A stretch of consecutive rows, [start, stop)."""

    start: int
    stop: int

    @property
    def n_rows(self) -> int:
        """How many rows the part has."""
        return self.stop - self.start


class TrainingData(Reference):
    """Rows cut into train, validation and test in time order, with the kind of each feature.

    The model that is judged learns from all rows before ``validation.stop``: train, validation, and what lies between
    them. ``positions`` says which good row each row is, where it is not the one of the same number. Where features
    are fitted, ``states`` holds what they have learnt from those rows, and ``trial`` the features of the rows
    before ``validation.stop`` as fitted on the train part alone, for estimators to be compared on.
    """

    artifact: Artifact
    train: Part
    validation: Part
    test: Part
    positions: Artifact | None = None
    trial: Artifact | None = None
    states: Artifact | None = None
    rows_left_out: dict[str, int] = {}
    inputs: dict[str, ColumnType]
    numeric: tuple[str, ...]
    categorical: tuple[str, ...]
    ordinal: dict[str, tuple[str, ...]] = {}
    one_hot: tuple[str, ...] = ()
    left_out: dict[str, str]
    classes: tuple[str | int | float | bool, ...] | None
    first: datetime | None
    learnt_until: datetime | None
    watermark: datetime | None
    # Up to when the champion had learnt, where the test part begins later for it.
    seen_until: datetime | None = None
    # The feature views that were joined, as features.views.JoinedView writes them: this floor does not know it.
    views: tuple[dict[str, Any], ...] = ()

    @property
    def features(self) -> tuple[str, ...]:
        """What the estimator sees, in order."""
        return (*self.numeric, *self.categorical)
