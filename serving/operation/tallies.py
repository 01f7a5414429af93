"""Counts of requests as plain numbers: adding costs nanoseconds, and a scrape turns them into metrics."""

from __future__ import annotations

from bisect import bisect_left

BOUNDS_SECONDS = (0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.0, 2.5, 5.0, 10.0)
"""Upper bounds of the latency buckets; a last one without a bound follows."""

_BOUNDS_NS = tuple(int(bound * 1e9) for bound in BOUNDS_SECONDS)


class Histogram:
    """Latencies in buckets, not yet added up: ``counts[i]`` lie below bound i and not below the one before."""

    __slots__ = ("counts", "total_ns")

    def __init__(self) -> None:
        self.counts = [0] * (len(_BOUNDS_NS) + 1)
        self.total_ns = 0

    def add(self, elapsed_ns: int) -> None:
        """Count one latency."""
        self.counts[bisect_left(_BOUNDS_NS, elapsed_ns)] += 1
        self.total_ns += elapsed_ns


class Tally:
    """The requests of one address: by status, and their latencies by the path that scored them."""

    __slots__ = ("latencies", "statuses")

    def __init__(self) -> None:
        self.statuses: dict[int, int] = {}
        self.latencies: dict[str, Histogram] = {}

    def add(self, status: int, path: str, elapsed_ns: int) -> None:
        """Count one request."""
        statuses = self.statuses
        statuses[status] = statuses.get(status, 0) + 1
        latencies = self.latencies.get(path)
        if latencies is None:
            latencies = self.latencies[path] = Histogram()
        latencies.counts[bisect_left(_BOUNDS_NS, elapsed_ns)] += 1
        latencies.total_ns += elapsed_ns


class Tallies:
    """All that one process counts of its requests; written by its event loop alone, read by anybody."""

    __slots__ = ("by_template", "hooks", "in_flight", "is_draining", "refusals", "rows")

    def __init__(self) -> None:
        self.by_template: dict[str, Tally] = {}
        self.rows: dict[tuple[str, str], int] = {}
        self.refusals: dict[str, int] = {}
        self.hooks: dict[str, int] = {}
        self.in_flight = 0
        self.is_draining = False

    def tally(self, template: str) -> Tally:
        """Return the tally of an address's template."""
        return self.by_template.setdefault(template, Tally())

    def refuse(self, reason: str) -> None:
        """Count a request that was refused before the service saw it."""
        self.refusals[reason] = self.refusals.get(reason, 0) + 1

    def count_hook(self, outcome: str) -> None:
        """Count a hook by what became of it."""
        self.hooks[outcome] = self.hooks.get(outcome, 0) + 1

    def add_rows(self, model: str, path: str, n_rows: int) -> None:
        """Count rows that were answered."""
        key = model, path
        self.rows[key] = self.rows.get(key, 0) + n_rows
