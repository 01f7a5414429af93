"""A rehearsal: what is usual from window to window, learnt from stretches of the reference itself."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from monitoring.alarms.measures import WindowFacts, list_measures
from monitoring.alarms.quiet_history import QuietHistory, QuietWindow

if TYPE_CHECKING:
    from monitoring.drift.profile import ReferenceProfile

# Stretches shorter than this say little; with fewer than six of them nothing is learnt at all.
_FEWEST_ROWS = 60
_MOST_STRETCHES = 12
# Long before any traffic.
_REHEARSAL = datetime(1970, 1, 1, tzinfo=UTC)


def rehearse(profile: ReferenceProfile) -> QuietHistory:
    """Compare stretches of the reference's sampled rows with the reference, as if they were windows.

    The rows of a reference stand in the order of time, so that stretches of it differ as its weeks and seasons do: a
    week of the test rows is not like all of them, and no more is a week of traffic. Their effects are kept as they
    are, since the stretches are short, and what chance explains there may be custom in a longer window.

    Returns
    -------
    QuietHistory
        At most twelve windows of 1970; empty where the sample is too small.
    """
    from monitoring.drift.measurement import measure_drift

    rows = profile.sample_frame()
    n_stretches = min(_MOST_STRETCHES, len(rows) // _FEWEST_ROWS)
    windows = []
    for number in range(n_stretches):
        stretch = rows.iloc[number * len(rows) // n_stretches : (number + 1) * len(rows) // n_stretches]
        predictions = stretch.get("__prediction__")
        features = stretch.drop(columns="__prediction__", errors="ignore").reset_index(drop=True)
        report = measure_drift(profile, features, predictions=predictions, with_multivariate=False).report
        start = _REHEARSAL + number * timedelta(days=1)
        measures = list_measures(report, WindowFacts(start, start, len(stretch)), min_effect=None)
        values = {each.name: each.effect for each in measures if each.aspect in ("values", "new", "missing", "gap")}
        windows.append(QuietWindow(start, timedelta(days=1), values))
    return QuietHistory(tuple(windows))
