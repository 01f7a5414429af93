"""How much a person is told at once: each happening by itself in calm times, one digest for many in a storm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

HOUR = timedelta(hours=1)
# So many at once are still read one by one.
_FEW = 5


@dataclass(frozen=True)
class Pace:
    """What goes out now: so many of those that wait, together in one digest or each by itself; or nothing yet."""

    n_rows: int = 0
    is_digest: bool = False


def choose_pace(n_waiting: int, sent_at: Sequence[datetime], now: datetime, *, per_hour: int) -> Pace:
    """Choose how those that wait are told, so that nobody gets more than *per_hour* messages in any hour.

    Parameters
    ----------
    n_waiting : int
        How many happenings wait.
    sent_at : sequence of datetime
        When messages were sent, in the last hour at least; those of the future (the clock was set back) do not count.

    Returns
    -------
    Pace
        Few are told each by itself while the hour allows it. Many become one digest, and digests keep a distance in
        which the hour's messages would last for the hour.

    Examples
    --------
    >>> noon = datetime(2026, 3, 2, 12)
    >>> choose_pace(2, [], noon, per_hour=20)
    Pace(n_rows=2, is_digest=False)
    >>> choose_pace(100, [], noon, per_hour=20)
    Pace(n_rows=100, is_digest=True)
    >>> choose_pace(100, [noon - timedelta(minutes=1)], noon, per_hour=20)
    Pace(n_rows=0, is_digest=False)
    >>> choose_pace(100, [noon - timedelta(minutes=3)], noon, per_hour=20)
    Pace(n_rows=100, is_digest=True)
    """
    recent = [moment for moment in sent_at if timedelta(0) <= now - moment < HOUR]
    left = per_hour - len(recent)
    if n_waiting == 0 or left <= 0:
        return Pace()
    # The last message of an hour is kept for a digest.
    if n_waiting <= _FEW and (n_waiting < left or n_waiting == left == 1):
        return Pace(n_waiting)
    if recent and now - max(recent) < HOUR / per_hour:
        return Pace()
    return Pace(n_waiting, is_digest=n_waiting > 1)
