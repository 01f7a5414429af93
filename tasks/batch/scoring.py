"""Rows of a batch scored as the service scores a request's; those that break the signature are set aside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from base.errors import EverfitError, Fault, RunFailed
from serving.scoring.row_reader import values_of
from serving.scoring.scorer import Scorer
from tasks.batch.rows import Row

# As many rows as the service scores together at most.
_ROWS_TOGETHER = 4096
# Below this, halving costs more than judging each row thoroughly.
_FEW_ROWS = 32
# Of one part: beyond so many, not the rows are at fault but the model or what it needs.
_MOST_FAILURES = 100


@dataclass(frozen=True)
class Rejected:
    """A row that is not predicted, by its place in the part, and why."""

    place: int
    reasons: tuple[str, ...]


@dataclass(frozen=True)
class Scored:
    """Some rows of a part: the places of those that were predicted, the rows as they were scored, and the answers.

    ``answers`` has the shape (n_rows,), or (n_rows, n_classes).
    """

    places: list[int]
    rows: Sequence[Row]
    answers: npt.NDArray[np.float64]


@dataclass
class PartScorer:
    """Scores the rows of one part; ``rejected`` and ``n_warned`` are known when all has been scored."""

    scorer: Scorer
    rejected: list[Rejected]
    n_warned: int = 0

    def score(self, rows: Sequence[Row]) -> Iterator[Scored]:
        """Score a part's rows, some thousand at a time.

        Raises
        ------
        RunFailed
            If the model fails on many rows that its signature allows, or what it looks up is away.
        """
        # What a row gets may depend on its company: then the part is that.
        step = _ROWS_TOGETHER if self.scorer.is_row_wise else max(len(rows), 1)
        for start in range(0, len(rows), step):
            places = self._judge(rows, start, min(start + step, len(rows)))
            if places:
                yield from self._score(places, [rows[place] for place in places])

    def _judge(self, rows: Sequence[Row], start: int, stop: int) -> list[int]:
        part = rows[start:stop]
        if self.scorer.reader.read(part) is not None:
            return list(range(start, stop))
        if len(part) > _FEW_ROWS:
            middle = (start + stop) // 2
            return self._judge(rows, start, middle) + self._judge(rows, middle, stop)
        most = 100 * len(part)
        reasons: dict[int, list[str]] = {}
        for fault in self.scorer.find_faults(part, most=most):
            reasons.setdefault(fault.row or 0, []).append(_describe(fault))
        self.rejected += [Rejected(start + at, tuple(found)) for at, found in sorted(reasons.items())]
        good = [at for at in range(len(part)) if at not in reasons]
        warned = self.scorer.find_warnings([part[at] for at in good], most=most)
        self.n_warned += len({fault.row for fault in warned})
        return [start + at for at in good]

    def _score(self, places: list[int], rows: Sequence[Row]) -> Iterator[Scored]:
        lookup = self.scorer.lookup
        n_away = 0 if lookup is None else lookup.counts["away"]
        try:
            completed = self.scorer.complete_rows(rows)
            if lookup is not None and lookup.counts["away"] > n_away:
                raise RunFailed(
                    "the store of feature views was away; what it would have told was missing: run the batch again, "
                    "which goes on with this part"
                )
            answers = self.scorer.score_values(values_of(completed, list(self.scorer.manifest.plan.inputs)))
        except RunFailed:
            raise
        except Exception as error:
            yield from self._find_guilty(places, rows, error)
            return
        yield Scored(places, completed, answers)

    def _find_guilty(self, places: list[int], rows: Sequence[Row], error: Exception) -> Iterator[Scored]:
        """Score the two halves apart, down to the row that breaks the call."""
        if len(rows) > 1:
            middle = len(rows) // 2
            yield from self._score(places[:middle], rows[:middle])
            yield from self._score(places[middle:], rows[middle:])
            return
        told = str(error) if isinstance(error, EverfitError) else f"{type(error).__name__}: {error}"
        reason = f"the model failed on it: {told}"
        self.rejected.append(Rejected(places[0], (reason,)))
        if sum(one.reasons[0].startswith("the model failed") for one in self.rejected) >= _MOST_FAILURES:
            raise RunFailed(f"model {self.scorer.manifest.model!r} fails on many rows; the last: {told}") from error


def _describe(fault: Fault) -> str:
    where = "" if fault.column is None else f"column {fault.column!r}: "
    return f"{where}found {fault.found}, expected {fault.expected}"
