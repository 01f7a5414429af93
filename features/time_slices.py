"""Rows over time: how many values are missing in each slice of it, and how far columns have drifted since the start."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from base.contract import ColumnType
from base.rows.duck import quote_name
from features.distributions import as_quantity, choose_bins, count_bins, measure_distance

if TYPE_CHECKING:
    import duckdb

N_SLICES = 24
_REFERENCE_SHARE = 0.2
# A distance of fewer rows says more about chance than about the column.
_FEWEST_ROWS = 30
# What Python's moments can say: the years 1 and 9999.
_FIRST_YEAR, _LAST_YEAR = -62_135_596_800, 253_402_300_799


@dataclass(frozen=True)
class TimeSlices:
    """The time that rows cover, cut into slices of equal length.

    Attributes
    ----------
    edges : tuple of datetime, of length n_slices + 1
    n_rows : tuple of int, of length n_slices
    n_reference : int
        How many of the first slices are the start that drift is measured from.
    missing : dict of column to tuple of float or None
        The share of missing values in each slice; None in a slice without rows.
    drift : dict of column to tuple of float or None
        The distance of each slice from the start; None in a slice of too few rows.
    """

    column: str
    edges: tuple[datetime, ...]
    n_rows: tuple[int, ...]
    n_reference: int
    missing: dict[str, tuple[float | None, ...]]
    drift: dict[str, tuple[float | None, ...]]


def slice_time(
    connection: duckdb.DuckDBPyConnection,
    relation: str,
    columns: Mapping[str, ColumnType],
    time: str,
    *,
    sample: str | None = None,
) -> TimeSlices | None:
    """Cut rows into slices of time; None where they do not cover any.

    Parameters
    ----------
    relation : str
        SQL: the rows, in which missing values are counted.
    sample : str, optional
        SQL: some of the rows, on which drift is measured; default: all.
    """
    moment = as_quantity(time, "time")
    finite = f"isfinite({quote_name(time)})"
    ((first, last),) = connection.execute(
        f"SELECT min({moment}) FILTER ({finite}), max({moment}) FILTER ({finite}) FROM {relation}"
    ).fetchall()
    if first is None or last <= first or not _FIRST_YEAR <= first <= last <= _LAST_YEAR:
        return None
    width = (last - first) / N_SLICES
    number = f"CASE WHEN {finite} THEN least({N_SLICES - 1}, floor(({moment} - {first!r}) / {width!r})::INTEGER) END"
    others = [name for name in columns if name != time]
    n_rows, missing = _count_missing(connection, relation, others, number)
    n_reference = _choose_reference(n_rows)
    rows = sample or relation
    start = f"(SELECT * FROM {rows} WHERE {number} < {n_reference})"
    drift = {name: _measure_drift(connection, rows, start, name, columns[name], number) for name in others}
    return TimeSlices(
        column=time,
        edges=tuple(datetime.fromtimestamp(first + width * step, UTC) for step in range(N_SLICES + 1)),
        n_rows=tuple(n_rows),
        n_reference=n_reference,
        missing=missing,
        drift=drift,
    )


def _count_missing(
    connection: duckdb.DuckDBPyConnection, relation: str, columns: Sequence[str], number: str
) -> tuple[list[int], dict[str, tuple[float | None, ...]]]:
    wanted = "".join(f", count({quote_name(name)})" for name in columns)
    found = connection.execute(
        f"SELECT {number} AS part, count(*){wanted} FROM {relation} GROUP BY part HAVING part IS NOT NULL"
    ).fetchall()
    rows = {int(part): figures for part, *figures in found}
    n_rows = [int(rows[part][0]) if part in rows else 0 for part in range(N_SLICES)]
    missing = {
        name: tuple(1 - rows[part][index + 1] / n_rows[part] if n_rows[part] else None for part in range(N_SLICES))
        for index, name in enumerate(columns)
    }
    return n_rows, missing


def _choose_reference(n_rows: Sequence[int]) -> int:
    """Choose how many of the first slices hold a fifth of the rows together."""
    wanted, seen = _REFERENCE_SHARE * sum(n_rows), 0
    for number, count in enumerate(n_rows):
        seen += count
        if seen >= wanted:
            return number + 1
    return len(n_rows)


def _measure_drift(
    connection: duckdb.DuckDBPyConnection, rows: str, start: str, name: str, kind: ColumnType, number: str
) -> tuple[float | None, ...]:
    bins = choose_bins(connection, start, name, kind)
    reference = count_bins(connection, start, bins).get(0)
    counts = count_bins(connection, rows, bins, group=number)
    return tuple(
        measure_distance(reference, counts[part])
        if reference is not None and part in counts and counts[part].sum() >= _FEWEST_ROWS
        else None
        for part in range(N_SLICES)
    )


def largest(values: Sequence[float | None]) -> float:
    """Return the largest value that is there; 0 if none is.

    Examples
    --------
    >>> largest([0.1, None, 0.3]), largest([None])
    (0.3, 0.0)
    """
    return max((value for value in values if value is not None and not math.isnan(value)), default=0.0)
