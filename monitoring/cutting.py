"""Windows of served traffic: cut by time or by rows, each row into exactly one of them, and when each is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pandas as pd
from sqlalchemy import func
from sqlmodel import Session, col, select

from base.monitor_spec import RowCount
from registry.store import Registry
from registry.tables import WindowRow
from serving.log.traffic import read_event_times

Span = tuple[datetime, datetime]
"""A window's first moment, and the one at which it is over."""

Look = Literal["traffic", "labels", "both"]
"""What of a window is looked at: its traffic as soon as it is over, its labels when they have matured."""

# What follows a window of rows begins with the next moment that the log can tell apart.
_MOMENT = timedelta(microseconds=1)


def cut_windows(
    moments: pd.Series[Any], window: timedelta | RowCount, *, origin: datetime | None, until: datetime
) -> list[Span]:
    """Cut served rows into the windows that are over at a moment.

    Parameters
    ----------
    moments : Series of shape (n_rows,)
        The rows' event times (UTC), in any order; those before *origin* are in earlier windows.
    window : timedelta or RowCount
        A length of time: the first window starts at midnight (UTC) of the first row, each next one where another
        ended, and a stretch without any row has no windows. Or a number of rows: a window is over when it has so
        many; rows of one moment are never parted, so it may have more.
    origin : datetime, optional
        Where the last window ended; None: there is none.

    Examples
    --------
    >>> from datetime import UTC
    >>> hours = pd.Series(pd.date_range("2024-05-01 10:00", periods=5, freq="h", tz="UTC"))
    >>> noon = datetime(2024, 5, 2, 12, tzinfo=UTC)
    >>> [len(cut_windows(hours, each, origin=None, until=noon)) for each in (timedelta(hours=2), RowCount(2))]
    [3, 2]
    """
    known = moments if origin is None else moments[moments >= pd.Timestamp(origin)]
    if known.empty:
        return []
    if isinstance(window, RowCount):
        return _cut_by_rows(known.sort_values(ignore_index=True), window.n_rows, origin, until)
    start = pd.Timestamp(origin) if origin is not None else known.min().floor("D")
    since: Any = known - start
    numbers = (since // pd.Timedelta(window)).unique()
    starts = [(start + int(number) * window).to_pydatetime() for number in sorted(numbers)]
    return [(one, one + window) for one in starts if one + window <= until]


def _cut_by_rows(moments: pd.Series[Any], n_rows: int, origin: datetime | None, until: datetime) -> list[Span]:
    over = moments[moments <= pd.Timestamp(until) - _MOMENT]
    spans: list[Span] = []
    start, first = origin, 0
    while first + n_rows <= len(over):
        last = over.iloc[first + n_rows - 1]
        stop = last.to_pydatetime() + _MOMENT
        spans.append((over.iloc[first].to_pydatetime() if start is None else start, stop))
        first = int(over.searchsorted(last, side="right"))
        start = stop
    return spans


def due_windows(
    session: Session,
    home: Path,
    model: str,
    *,
    window: timedelta | RowCount,
    until: datetime,
    registry: Registry | None = None,
) -> list[Span]:
    """List the windows of a model that are over at a moment, and that no one has looked at."""
    last = session.exec(select(func.max(WindowRow.stop)).where(WindowRow.model == model)).one()
    moments = read_event_times(home, model, start=last, stop=until, registry=registry)
    return cut_windows(moments, window, origin=last, until=until)


@dataclass(frozen=True)
class DueLook:
    """A look at a window that is due: at its traffic, at its labels, or at both at once."""

    span: Span
    look: Look


def due_looks(
    session: Session,
    home: Path,
    model: str,
    *,
    window: timedelta | RowCount,
    label_delay: timedelta,
    until: datetime,
    registry: Registry | None = None,
) -> list[DueLook]:
    """List the looks at a model's windows that are due at a moment, in the order of the windows.

    A window's traffic is looked at as soon as it is over, its labels when its last row's has had time to come. Where
    both are due, as they always are without a label delay, both are looked at at once.
    """
    waiting = session.exec(
        select(WindowRow.start, WindowRow.stop)
        .where(WindowRow.model == model, col(WindowRow.labels_checked_at).is_(None))
        .order_by(col(WindowRow.start))
    ).all()
    matured = until - label_delay
    looks = [DueLook((start, stop), "labels") for start, stop in waiting if stop <= matured]
    new = due_windows(session, home, model, window=window, until=until, registry=registry)
    return looks + [DueLook(span, "both" if span[1] <= matured else "traffic") for span in new]


def find_window(session: Session, model: str, span: Span) -> WindowRow | None:
    """Find the row of a window, if anybody has looked at it."""
    start, stop = span
    chosen = (WindowRow.model == model, WindowRow.start == start, WindowRow.stop == stop)
    return session.exec(select(WindowRow).where(*chosen)).first()


def list_windows(session: Session, model: str) -> list[WindowRow]:
    """List the windows of a model that were looked at, in their order."""
    return list(session.exec(select(WindowRow).where(WindowRow.model == model).order_by(col(WindowRow.start))))
