"""A request's rows by a version's signature: their values, or every fault that they have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from base.errors import Fault
from serving.scoring.row_reader import Values
from serving.scoring.scorer import Scorer
from serving.web.problems import MOST_FAULTS, FaultsFound

Row = dict[str, Any]

Reread = Callable[[], Sequence[Row] | None]
"""Reads the rows digit by digit, where that was not done at first; None where it makes no difference."""


def read_values(
    scorer: Scorer, rows: Sequence[Mapping[str, Any]], reread: Reread | None
) -> tuple[list[Values] | None, list[Fault]]:
    """Read rows, the short way where they are certainly good, and return what only warns of them.

    Returns
    -------
    values : list of tuple, or None
        The rows' values in the order of the inputs; None where they are completed first, or were read thoroughly.
    warnings : list of Fault

    Raises
    ------
    FaultsFound
        With every fault.
    """
    values = scorer.reader.read(rows)
    if values is not None:
        return (None if scorer.completes else values), []
    rows = (reread() if reread is not None else None) or rows
    if faults := scorer.find_faults(rows, most=MOST_FAULTS + 1):
        raise FaultsFound(faults)
    return None, scorer.find_warnings(rows)
