"""What a request asks of a version, what it gets, and why it may get nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt

from base.errors import EverfitError
from serving.scoring.row_reader import Values
from serving.scoring.scorer import Prediction, Scorer

Rows = Sequence[dict[str, Any]]


class PredictionFailed(EverfitError):
    """A version cannot answer rows that its signature allows."""


class PredictionNotLogged(EverfitError):
    """The log did not take an answer, so it is not given."""


class Asked(msgspec.Struct, frozen=True, gc=False):
    """The rows of one request that have passed the signature; ``began`` is :func:`time.perf_counter` at its arrival.

    ``values`` are the rows as :class:`serving.scoring.row_reader.RowReader` reads them, where it does.
    """

    rows: Rows
    values: Sequence[Values] | None = None
    arm: str = "champion"
    kind: str = "online"
    began: float = 0.0


class Answer(msgspec.Struct, frozen=True, gc=False):
    """What one request gets: an identifier and a prediction for each row.

    ``values`` are raw: of shape (n_rows,) for a regression, else (n_rows, n_classes).
    """

    ids: list[str]
    values: npt.NDArray[np.float64]
    scorer: Scorer

    @property
    def predictions(self) -> list[Prediction]:
        """The answers with their meaning."""
        return self.scorer.describe(self.values)
