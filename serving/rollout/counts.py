"""What a process has counted of each version in a rollout: requests, rows, failures, and how long they took."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

# Four buckets for each doubling, from 0.1 ms to beyond a minute: bounds that all processes share can be added up.
_PER_DOUBLING = 4
_FIRST_MICROS = 100.0
N_BUCKETS = 80


@dataclass
class ArmCounts:
    """Requests, rows, failures, and a histogram of the requests' durations, as :func:`bucket_of` has it."""

    requests: int = 0
    rows: int = 0
    failed: int = 0
    micros: list[int] = field(default_factory=lambda: [0] * N_BUCKETS)

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> ArmCounts:
        """Read what :meth:`as_json` wrote."""
        micros = [0] * N_BUCKETS
        for bucket, count in document.get("micros", {}).items():
            micros[int(bucket)] = int(count)
        return cls(int(document["requests"]), int(document["rows"]), int(document["failed"]), micros)

    def as_json(self) -> dict[str, Any]:
        """The counts as a document; empty buckets are left out."""
        micros = {str(bucket): count for bucket, count in enumerate(self.micros) if count}
        return {"requests": self.requests, "rows": self.rows, "failed": self.failed, "micros": micros}

    def plus(self, other: ArmCounts, sign: int = 1) -> ArmCounts:
        """Add what another process, or another time, has counted; with *sign* -1, take it away."""
        return ArmCounts(
            self.requests + sign * other.requests,
            self.rows + sign * other.rows,
            self.failed + sign * other.failed,
            [one + sign * two for one, two in zip(self.micros, other.micros, strict=True)],
        )

    def n_slower(self, bucket: int) -> int:
        """Count the answered requests that took longer than a bucket's upper bound."""
        return sum(self.micros[bucket + 1 :])

    def bucket_at(self, share: float) -> int | None:
        """Return the bucket within which this share of the answered requests took, or None of none."""
        total, so_far = sum(self.micros), 0
        if not total:
            return None
        for bucket, count in enumerate(self.micros):
            so_far += count
            if so_far >= share * total:
                return bucket
        return N_BUCKETS - 1


def bucket_of(micros: float) -> int:
    """Return the bucket of a duration in microseconds.

    Examples
    --------
    >>> bucket_of(50), bucket_of(101), bucket_of(200), micros_of(bucket_of(200)) >= 200
    (0, 1, 4, True)
    """
    if micros <= _FIRST_MICROS:
        return 0
    return min(N_BUCKETS - 1, math.ceil(_PER_DOUBLING * math.log2(micros / _FIRST_MICROS)))


def micros_of(bucket: int) -> float:
    """Return the upper bound of a bucket in microseconds."""
    return _FIRST_MICROS * float(2 ** (bucket / _PER_DOUBLING))


def buckets_for(factor: float) -> int:
    """Return how many buckets further a duration lies that is *factor* times as long, rounded up.

    Examples
    --------
    >>> buckets_for(2.0), buckets_for(1.0)
    (4, 0)
    """
    return math.ceil(_PER_DOUBLING * math.log2(factor) - 1e-9)


def add_counts(documents: Iterable[Mapping[str, Any]]) -> dict[str, ArmCounts]:
    """Add up what several processes have counted, by version number."""
    total: dict[str, ArmCounts] = {}
    for document in documents:
        for number, counts in document.items():
            total[number] = total.get(number, ArmCounts()).plus(ArmCounts.from_json(counts))
    return total


NO_COUNTS: Mapping[str, Any] = ArmCounts().as_json()
"""What a version that answered nothing has counted."""


class Counters:
    """The counts of this process, by rollout and version; several threads may add to them."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, int], ArmCounts] = {}
        self._lock = Lock()

    def add(self, rollout_id: str, number: int, *, n_rows: int, micros: int, failed: bool) -> None:
        """Count one request, or the part of one that a version had."""
        with self._lock:
            counts = self._counts.get((rollout_id, number))
            if counts is None:
                counts = self._counts[rollout_id, number] = ArmCounts()
            counts.requests += 1
            counts.rows += n_rows
            if failed:
                counts.failed += 1
            else:
                counts.micros[bucket_of(micros)] += 1

    def snapshot(self, rollout_id: str) -> dict[str, Any]:
        """Return the counts of a rollout as a document, by version number."""
        with self._lock:
            return {
                str(number): counts.as_json() for (name, number), counts in self._counts.items() if name == rollout_id
            }

    def forget_all_but(self, rollout_ids: Sequence[str]) -> None:
        """Let go of the counts of rollouts that are over."""
        with self._lock:
            self._counts = {key: counts for key, counts in self._counts.items() if key[0] in rollout_ids}
