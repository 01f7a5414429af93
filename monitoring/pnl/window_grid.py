"""The monitor's windows laid over all that was served: in which one a row lies, and when each is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.monitor_spec import RowCount
from base.times import as_utc


@dataclass(frozen=True)
class WindowGrid:
    """Windows numbered in their order.

    Windows of time go on, forwards and backwards, from *origin*; windows of rows are counted from the first row.

    Examples
    --------
    >>> hours = pd.Series(pd.date_range("2024-05-01 10:00", periods=5, freq="h", tz="UTC"))
    >>> grid = WindowGrid.over(hours, timedelta(hours=2))
    >>> numbers = grid.number(hours)
    >>> numbers.tolist(), [f"{end:%H:%M}" for end in grid.ends(numbers, hours)]
    ([5, 5, 6, 6, 7], ['12:00', '14:00', '16:00'])
    >>> grid = WindowGrid.over(hours, RowCount(2))
    >>> grid.number(hours).tolist(), grid.ends(grid.number(hours), hours).isna().tolist()
    ([0, 0, 1, 1, 2], [False, False, True])
    """

    window: timedelta | RowCount
    origin: pd.Timestamp

    @classmethod
    def over(
        cls, moments: pd.Series[Any], window: timedelta | RowCount, *, known: datetime | None = None
    ) -> WindowGrid:
        """Lay a grid over event times, sorted: from the start of a *known* window, or midnight of the first row."""
        if known is not None:
            return cls(window, pd.Timestamp(as_utc(known)))
        first = pd.Timestamp(0, tz="UTC") if moments.empty else moments.iloc[0]
        return cls(window, first.floor("D"))

    def number(self, moments: pd.Series[Any]) -> npt.NDArray[np.int64]:
        """Number the windows in which all served rows lie, given in the order of time."""
        if isinstance(self.window, RowCount):
            return np.arange(len(moments), dtype=np.int64) // self.window.n_rows
        since: Any = moments - self.origin
        numbers: npt.NDArray[np.int64] = (since // pd.Timedelta(self.window)).to_numpy(dtype=np.int64)
        return numbers

    def ends(self, numbers: npt.NDArray[np.int64], moments: pd.Series[Any]) -> pd.Series[Any]:
        """Say, by number, when each window is over; missing for one of rows that is not full."""
        if isinstance(self.window, RowCount):
            by_number = moments.groupby(numbers)
            newest: pd.Series[Any] = by_number.max()
            return newest.where(by_number.size() == self.window.n_rows)
        known = np.unique(numbers)
        ends = [self.origin + (number + 1) * self.window for number in known.tolist()]
        return pd.Series(ends, index=known, dtype="datetime64[us, UTC]")

    def sizes(self, numbers: npt.NDArray[np.int64]) -> pd.Series[Any]:
        """Count, by number, the rows that make a whole window."""
        known, counts = np.unique(numbers, return_counts=True)
        if isinstance(self.window, RowCount):
            counts = np.full(len(known), self.window.n_rows)
        return pd.Series(counts, index=known)

    def seconds(self, moments: pd.Series[Any]) -> float:
        """Say how long a window is; one of rows as long as so many rows have taken in the mean."""
        if not isinstance(self.window, RowCount):
            return self.window.total_seconds()
        spanned = 0.0 if len(moments) < 2 else (moments.iloc[-1] - moments.iloc[0]).total_seconds()
        return max(spanned * self.window.n_rows / max(1, len(moments) - 1), 1.0)
