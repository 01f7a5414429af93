"""Distributions of columns in bins that DuckDB counts, and how far one has moved from another."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.changes.profiles import ColumnProfile
from base.contract import ColumnType
from base.rows.duck import quote_name, quote_text

if TYPE_CHECKING:
    import duckdb

MOVED = 0.1
"""The distance from which a column counts as moved, as monitoring has it."""

_N_EDGES = 19
_MOST_LEVELS = 30
_N_DRAWN_BINS = 28
_MOST_DRAWN_VALUES = 25
_MOST_DRAWN_LEVELS = 8

Counts = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Bins:
    """Bins of one column: quantities between *edges*, or *levels* and one bin for all others.

    Moments are quantities in seconds since 1970. A value that is missing is in a bin of its own, the last.
    """

    column: str
    type: ColumnType
    edges: tuple[float, ...] = ()
    levels: tuple[str, ...] = ()

    @property
    def n_bins(self) -> int:
        """How many bins there are, without the missing."""
        return (len(self.levels) if self.levels else len(self.edges)) + 1

    def write_sql(self) -> str:
        """Write SQL for the number of a row's bin, null where the value is missing."""
        if self.levels:
            listed = ", ".join(map(quote_text, self.levels))
            place = f"list_position([{listed}], {quote_name(self.column)}::VARCHAR)"
            return f"CASE WHEN {quote_name(self.column)} IS NOT NULL THEN coalesce({place} - 1, {len(self.levels)}) END"
        value = as_quantity(self.column, self.type)
        # A value on an edge is below it, so a number that is often repeated fills one bin up to its edge.
        terms = [f"({value} > {edge!r}::DOUBLE)::INTEGER" for edge in self.edges]
        return " + ".join(terms) if terms else f"CASE WHEN {value} IS NOT NULL THEN 0 END"


def as_quantity(column: str, kind: ColumnType) -> str:
    """Write SQL for a column as a double: moments as seconds since 1970."""
    name = quote_name(column)
    return f"epoch({name})" if kind == "time" else f"{name}::DOUBLE"


def choose_bins(connection: duckdb.DuckDBPyConnection, relation: str, column: str, kind: ColumnType) -> Bins:
    """Choose bins in which a column of some rows is spread evenly: at most 20, or its 30 most frequent texts.

    Parameters
    ----------
    relation : str
        SQL: a table, a view, or a SELECT in brackets.
    """
    name = quote_name(column)
    if kind in ("text", "boolean"):
        found = connection.execute(
            f"SELECT {name}::VARCHAR AS level, count(*) AS n FROM {relation} WHERE {name} IS NOT NULL "
            f"GROUP BY level ORDER BY n DESC, level LIMIT {_MOST_LEVELS}"
        ).fetchall()
        # Without a level everything would be "other", which is no bin of quantities.
        return Bins(column, kind, levels=tuple(level for level, _ in found) or ("",))
    points = ", ".join(f"{(step + 1) / (_N_EDGES + 1):.4f}" for step in range(_N_EDGES))
    value = as_quantity(column, kind)
    ((found,),) = connection.execute(f"SELECT approx_quantile({value}, [{points}]) FROM {relation}").fetchall()
    edges = [float(edge) for edge in found or () if math.isfinite(edge)]
    return Bins(column, kind, edges=tuple(sorted(set(edges))))


def choose_drawn_bins(column: str, *profiles: ColumnProfile) -> Bins:
    """Choose bins for the eye: of equal width, the outermost with the tails; or one for each of a few values.

    Parameters
    ----------
    profiles : ColumnProfile
        The same column in one or several sets of rows that shall be drawn together.
    """
    kind = profiles[0].type
    known = [profile.categories for profile in profiles]
    values = {value for categories in known for value in categories or ()}
    if kind in ("text", "boolean"):
        counts: dict[str, int] = {}
        for profile in profiles:
            for item in profile.top:
                counts[item.value] = counts.get(item.value, 0) + item.n
        levels = sorted(counts, key=lambda value: -counts[value])[:_MOST_DRAWN_LEVELS]
        return Bins(column, kind, levels=tuple(levels) or ("",))
    if kind == "integer" and None not in known and len(values) <= _MOST_DRAWN_VALUES:
        return Bins(column, kind, levels=tuple(sorted(values, key=int)))
    ends = [value for profile in profiles for value in profile.quantiles if math.isfinite(value)]
    if not ends or min(ends) == max(ends):
        return Bins(column, kind, edges=tuple(ends[:1]))
    return Bins(column, kind, edges=tuple(map(float, np.linspace(min(ends), max(ends), _N_DRAWN_BINS + 1)[1:-1])))


def count_bins(
    connection: duckdb.DuckDBPyConnection, relation: str, bins: Bins, *, group: str = "0"
) -> dict[Any, Counts]:
    """Count a column's rows in bins, for each value of the SQL expression *group*.

    Returns
    -------
    dict of group to array of shape (n_bins + 1,)
        The last is how many values are missing.

    Examples
    --------
    >>> from base.rows.duck import open_duckdb
    >>> with open_duckdb() as connection:
    ...     _ = connection.execute("CREATE TABLE ages AS SELECT unnest([30, 40, 50, NULL]) AS age")
    ...     count_bins(connection, "ages", Bins("age", "integer", edges=(40.0,)))
    {0: array([2, 1, 1])}
    """
    rows = connection.execute(
        f"SELECT {group} AS part, {bins.write_sql()} AS bin, count(*) FROM {relation} GROUP BY part, bin ORDER BY part"
    ).fetchall()
    counts: dict[Any, Counts] = {}
    for part, number, n_rows in rows:
        own = counts.setdefault(part, np.zeros(bins.n_bins + 1, dtype=np.int64))
        own[-1 if number is None else int(number)] += n_rows
    return counts


def measure_distance(reference: Counts, current: Counts) -> float:
    """Measure how far one distribution is from another: the Jensen-Shannon distance, without what chance explains.

    Two samples of one distribution are never equal: with k bins and n and m rows their divergence is chi-square of
    k - 1 degrees, times ``(1/n + 1/m) / (8 ln 2)`` bits. Its mean and two deviations are taken off before the root.

    Returns
    -------
    float
        From 0, no move that chance would not make, to 1, nothing in common; NaN where a side has no rows.

    Examples
    --------
    >>> measure_distance(np.array([500, 500, 0]), np.array([510, 490, 0]))
    0.0
    >>> round(measure_distance(np.array([500, 500, 0]), np.array([0, 0, 1000])), 2)
    1.0
    """
    n_reference, n_current = int(reference.sum()), int(current.sum())
    if n_reference == 0 or n_current == 0:
        return math.nan
    p, q = reference / n_reference, current / n_current
    middle = (p + q) / 2
    n_filled = int((middle > 0).sum())
    divergence = (_divergence(p, middle) + _divergence(q, middle)) / 2
    degrees = n_filled - 1
    by_chance = (degrees + 2 * math.sqrt(2 * degrees)) * (1 / n_reference + 1 / n_current) / (8 * math.log(2))
    return math.sqrt(min(1.0, max(0.0, divergence - by_chance)))


def _divergence(p: npt.NDArray[np.float64], q: npt.NDArray[np.float64]) -> float:
    filled = p > 0
    return float((p[filled] * np.log2(p[filled] / q[filled])).sum())
