"""What one row cannot tell: which columns identify a row, whether rows come in the order of time, which repeat."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

from base.changes.profiles import ColumnProfile, Profile, count_distinct
from base.rows.duck import quote_name

if TYPE_CHECKING:
    import duckdb

# From fewer rows nothing is said that only rows can tell.
FEWEST_ROWS = 100
# A grid with gaps is still a grid: of the bike rentals' hours 165 in 17,544 are absent.
_SMALLEST_GRID_SHARE = 0.9
# Distinct values are counted by a sketch first, which may be a fifth too low.
_NEARLY_ALL = 0.8
_MOST_PAIRS = 6


@dataclass(frozen=True)
class RowFacts:
    """What is so of the rows together.

    ``keys`` are columns, or lists of two, that no two rows share; ``n_repeated`` rows repeat another one in all
    columns but ``keys``; ``is_ordered`` tells whether the time never goes back; ``ordered_times`` are pairs of
    time columns of which the first is never later.
    """

    keys: tuple[tuple[str, ...], ...]
    n_repeated: int
    is_on_grid: bool
    is_ordered: bool
    ordered_times: tuple[tuple[str, str], ...]


def find_row_facts(connection: duckdb.DuckDBPyConnection, view: str, profile: Profile, *, time: str | None) -> RowFacts:
    """Look at a view's rows together; each question is one pass, spilled where memory does not hold it."""
    columns, n_rows = profile.columns, profile.n_rows
    if n_rows < FEWEST_ROWS:
        return RowFacts((), 0, False, False, ())
    single = [
        (name,)
        for name, column in columns.items()
        if _may_be_key(column) and count_distinct(connection, view, [name]) == n_rows
    ]
    keys = single or _find_pairs(connection, view, columns, n_rows, time)
    names = {name for key in single for name in key}
    rest = [name for name in columns if name not in names]
    n_repeated = n_rows - count_distinct(connection, view, rest) if rest else 0
    return RowFacts(
        keys=tuple(keys),
        n_repeated=n_repeated,
        is_on_grid=time is not None and (time,) in single and _lies_on_grid(connection, view, time),
        is_ordered=time is not None and _is_ordered(connection, view, time),
        ordered_times=_find_ordered_times(connection, view, columns),
    )


def _may_be_key(column: ColumnProfile) -> bool:
    # Measured numbers differ by nature; that says nothing.
    return (
        column.type in ("integer", "text", "time") and not column.n_null and column.n_distinct >= _NEARLY_ALL * column.n
    )


def _find_pairs(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    columns: Mapping[str, ColumnProfile],
    n_rows: int,
    time: str | None,
) -> list[tuple[str, ...]]:
    """Find pairs with the time, or of the columns of most values, that identify a row."""
    named = [name for name, one in columns.items() if one.type in ("integer", "text") and not one.n_null]
    named.sort(key=lambda name: -columns[name].n_distinct)
    first = [time] if time is not None and not columns[time].n_null else []
    pairs: list[tuple[str, ...]] = [
        pair
        for pair in combinations([*first, *named], 2)
        if columns[pair[0]].n_distinct * columns[pair[1]].n_distinct >= _NEARLY_ALL * n_rows
        and max(columns[name].n_distinct for name in pair) < _NEARLY_ALL * n_rows
    ]
    return [pair for pair in pairs[:_MOST_PAIRS] if count_distinct(connection, view, pair) == n_rows][:1]


def _lies_on_grid(connection: duckdb.DuckDBPyConnection, view: str, time: str) -> bool:
    """Tell whether moments that never repeat nearly all follow the one before by the same step."""
    column = quote_name(time)
    steps = connection.execute(
        f"SELECT step, count(*) AS n FROM (SELECT moment - lag(moment) OVER (ORDER BY moment) AS step "
        f"FROM (SELECT epoch_us({column}) AS moment FROM {quote_name(view)})) "
        "WHERE step IS NOT NULL GROUP BY step ORDER BY n DESC LIMIT 10000"
    ).fetchall()
    usual, n_usual = steps[0]
    n_steps = sum(n for _step, n in steps)
    return bool(n_usual >= _SMALLEST_GRID_SHARE * n_steps and all(step % usual == 0 for step, _n in steps))


def _is_ordered(connection: duckdb.DuckDBPyConnection, view: str, time: str) -> bool:
    column = quote_name(time)
    steps = f"SELECT {column} < lag({column}) OVER () AS is_back FROM {quote_name(view)}"
    query = f"SELECT count(*) FROM ({steps}) WHERE is_back"
    row = connection.execute(query).fetchone()
    return row is not None and row[0] == 0


def _find_ordered_times(
    connection: duckdb.DuckDBPyConnection, view: str, columns: Mapping[str, ColumnProfile]
) -> tuple[tuple[str, str], ...]:
    times = [name for name, column in columns.items() if column.type == "time" and column.n_present]
    pairs: Sequence[tuple[str, str]] = list(combinations(times, 2))[:_MOST_PAIRS]
    found = []
    for one, other in pairs:
        a, b = quote_name(one), quote_name(other)
        row = connection.execute(f"SELECT max({a} - {b}), min({a} - {b}) FROM {quote_name(view)}").fetchone()
        largest, smallest = row or (None, None)
        if largest is None or largest == smallest:
            continue
        if largest.total_seconds() <= 0:
            found.append((one, other))
        elif smallest.total_seconds() >= 0:
            found.append((other, one))
    return tuple(found)
