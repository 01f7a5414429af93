"""Rows that are kept in memory while the same ones are read again and again, as in a backtest."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING

from base.references import Rows

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa

_MOST, _MOST_FRAMES = 8, 3

_kept: ContextVar[KeptRows | None] = ContextVar("kept_rows", default=None)


class KeptRows:
    """The rows that were named last, by what names them."""

    def __init__(self) -> None:
        self._tables: OrderedDict[str, pa.Table] = OrderedDict()
        self._frames: OrderedDict[str, pd.DataFrame] = OrderedDict()

    def keep(self, rows: Rows, table: pa.Table) -> None:
        """Keep what :func:`base.rows.reading.load_rows` would read."""
        self._tables[rows.digest] = table
        while len(self._tables) > _MOST:
            self._tables.popitem(last=False)

    def find(self, rows: Rows) -> pa.Table | None:
        """Return the rows, where they are kept."""
        return self._tables.get(rows.digest)

    def take_frame(self, name: str, load: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return rows as a frame, loaded now if none of this name is kept; nobody may write into its values."""
        if name not in self._frames:
            self._frames[name] = load()
        self._frames.move_to_end(name)
        while len(self._frames) > _MOST_FRAMES:
            self._frames.popitem(last=False)
        return self._frames[name].copy(deep=False)


@contextmanager
def keeping_rows(kept: KeptRows) -> Iterator[KeptRows]:
    """Let :func:`base.rows.reading.load_rows` and ``read_schema`` look among *kept* meanwhile.

    Examples
    --------
    >>> with keeping_rows(KeptRows()) as kept:
    ...     find_kept_rows() is kept
    True
    """
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def find_kept_rows() -> KeptRows | None:
    """Return where rows are kept now; None where they are not."""
    return _kept.get()
