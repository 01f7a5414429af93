"""Small findings of windows, as drift measures them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import QuietHistory, QuietWindow
from monitoring.drift.findings import ColumnFinding, DriftReport

START = datetime(2026, 5, 4, tzinfo=UTC)
DAY = timedelta(days=1)


def column(name: str, *, p: float = 0.5, effect: float = 0.0, **told: Any) -> ColumnFinding:
    """A column of 1,000 rows on either side; quiet unless told."""
    known: dict[str, Any] = {
        "kind": "numeric",
        "n_reference": 1_000,
        "n_current": 1_000,
        "statistic": effect,
        "effect_name": "wasserstein",
    }
    return ColumnFinding(column=name, p_value=p, effect=effect, **(known | told))


def report(*columns: ColumnFinding, n_quiet: int = 10, **told: Any) -> DriftReport:
    """A report with these columns, and quiet ones beside them."""
    quiet = tuple(column(f"quiet_{number}") for number in range(n_quiet))
    known: dict[str, Any] = {"not_measured": {}, "n_reference": 1_000, "n_current": 1_000}
    return DriftReport(columns=(*columns, *quiet), **(known | told))


def facts(number: int = 0, *, n_rows: int = 1_000, **told: Any) -> WindowFacts:
    """A day, the first one unless told."""
    start = START + number * DAY
    return WindowFacts(start, start + DAY, n_rows, version=told.pop("version", 1), **told)


def history(values: dict[str, float] | None = None, *, n_windows: int = 20) -> QuietHistory:
    """Quiet days before :data:`START`, each with 1,000 rows."""
    known = {"rate": 1_000 / 24, **(values or {})}
    return QuietHistory(tuple(QuietWindow(START - number * DAY, DAY, known) for number in range(n_windows, 0, -1)))
