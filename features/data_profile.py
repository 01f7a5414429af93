"""The profile of a table: every column's figures, distribution, gaps and drift, and its ties to the target."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from base.changes.profiles import ColumnProfile, profile_view
from base.contract import ColumnType
from base.metrics import Task
from base.pipeline import Target
from base.rows.duck import quote_name
from features.associations import Association, measure_associations
from features.distributions import Bins, Counts, choose_drawn_bins, count_bins
from features.leaks import LeakSuspect, find_leak_suspects
from features.targets import columns_of, compute_target
from features.time_slices import TimeSlices, slice_time

if TYPE_CHECKING:
    import duckdb
    import pandas as pd

# Distributions and drift look the same on half a million rows as on all; ties to the target on a tenth of those.
_MOST_DRAWN = 500_000
_MOST_JUDGED = 40_000
_MOST_CLASSES = 10
# A column with a value of its own in nearly every row makes each row unlike all others.
_UNIQUE_SHARE = 0.9


@dataclass(frozen=True)
class ColumnDetails:
    """One column: its profile, its distribution in bins for the eye, and what a profile does not hold."""

    name: str
    profile: ColumnProfile
    bins: Bins
    counts: Counts
    mean: float | None
    deviation: float | None
    n_zero: int
    n_infinite: int

    @property
    def is_constant(self) -> bool:
        """Whether every row holds one and the same value."""
        return self.profile.n_distinct == 1 and self.profile.n_null == 0

    @property
    def is_empty(self) -> bool:
        """Whether no row holds a value."""
        return self.profile.n_present == 0


@dataclass(frozen=True)
class DataProfile:
    """A table in figures.

    Attributes
    ----------
    n_drawn, n_judged : int
        On how many rows distributions and drift, and ties to the target and leaks, were measured.
    n_double : int
        How many rows repeat another one, the columns in *not_compared* apart.
    """

    n_rows: int
    columns: tuple[ColumnDetails, ...]
    n_double: int
    not_compared: tuple[str, ...]
    n_drawn: int
    n_judged: int
    target: str | None
    task: Task | None
    associations: tuple[Association, ...]
    suspects: tuple[LeakSuspect, ...]
    slices: TimeSlices | None


def profile_data(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    types: Mapping[str, ColumnType],
    *,
    target: str | Target | None,
    time: str | None,
    task: Task | None = None,
) -> tuple[DataProfile, pa.Table]:
    """Profile a view of rows in the loop's types.

    What counts rows (missing values, ends, duplicates) looks at every row, in a stream; distributions and drift at no
    more than about half a million, ties to the target and leaks at 40,000, drawn at random with a fixed seed.

    Returns
    -------
    DataProfile, and the pyarrow.Table of up to 40,000 rows in the order of time
    """
    profile = profile_view(connection, view, types=types)
    n_rows = profile.n_rows
    # A view of stored rows numbers them in columns of its own.
    rows = f"(SELECT {', '.join(map(quote_name, profile.columns))} FROM {quote_name(view)})"
    drawn = _sample(connection, rows, n_rows, _MOST_DRAWN, name="drawn_rows")
    n_drawn = _count(connection, drawn)
    more = _count_more(connection, rows, types)
    columns = []
    for name, column in profile.columns.items():
        bins = choose_drawn_bins(name, column)
        counts = count_bins(connection, drawn, bins)[0] if n_rows else None
        if counts is not None:
            columns.append(ColumnDetails(name, column, bins, counts, *more[name]))
    judged = _sample(connection, drawn, n_drawn, _MOST_JUDGED, name="judged_rows")
    order = f" ORDER BY {quote_name(time)}" if time is not None else ""
    table: pa.Table = connection.sql(f"SELECT * FROM {judged}{order}").to_arrow_table()
    goal, chosen, associations, suspects = _judge_columns(table, target, time, task)
    compared = [
        column.name
        for column in columns
        if not (column.profile.type in ("integer", "text") and column.profile.n_distinct >= _UNIQUE_SHARE * n_rows)
    ]
    n_double = n_rows - _count_distinct(connection, rows, compared) if compared and n_rows else 0
    return DataProfile(
        n_rows=n_rows,
        columns=tuple(columns),
        n_double=n_double,
        not_compared=tuple(column.name for column in columns if column.name not in compared),
        n_drawn=n_drawn,
        n_judged=table.num_rows,
        target=goal,
        task=chosen,
        associations=tuple(associations),
        suspects=tuple(suspects),
        slices=None if time is None else slice_time(connection, rows, types, time, sample=drawn),
    ), table


def _sample(connection: duckdb.DuckDBPyConnection, rows: str, n_rows: int, most: int, *, name: str) -> str:
    if n_rows <= most:
        return rows
    # One thread alone draws the same rows each time.
    connection.execute("SET threads = 1")
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {name} AS SELECT * FROM {rows} "
        f"TABLESAMPLE bernoulli({100 * most / n_rows:.6f}%) REPEATABLE (1)"
    )
    connection.execute("SET threads = 2")
    return name


def _count(connection: duckdb.DuckDBPyConnection, rows: str) -> int:
    ((n_rows,),) = connection.execute(f"SELECT count(*) FROM {rows}").fetchall()
    return int(n_rows)


def _count_distinct(connection: duckdb.DuckDBPyConnection, rows: str, columns: list[str]) -> int:
    # By 64 bits of hash: of ten million rows, two differing ones share it once in 400,000 tables.
    names = ", ".join(map(quote_name, columns))
    return _count(connection, f"(SELECT DISTINCT hash({names}) FROM {rows})")


def _count_more(
    connection: duckdb.DuckDBPyConnection, rows: str, types: Mapping[str, ColumnType]
) -> dict[str, tuple[float | None, float | None, int, int]]:
    """Find mean and deviation of each column's finite numbers, and how many are zero and infinite."""
    numbers = [name for name, kind in types.items() if kind in ("number", "integer")]
    more: dict[str, tuple[float | None, float | None, int, int]] = dict.fromkeys(types, (None, None, 0, 0))
    wanted = []
    for name in numbers:
        value = f"{quote_name(name)}::DOUBLE"
        finite = f"FILTER (isfinite({value}))"
        wanted += [f"avg({value}) {finite}", f"stddev_pop({value}) {finite}"]
        wanted += [f"count(*) FILTER ({value} = 0)", f"count(*) FILTER (isinf({value}))"]
    if wanted:
        (found,) = connection.execute(f"SELECT {', '.join(wanted)} FROM {rows}").fetchall()
        for index, name in enumerate(numbers):
            mean, deviation, n_zero, n_infinite = found[4 * index : 4 * index + 4]
            more[name] = (mean, deviation, int(n_zero), int(n_infinite))
    return more


def _judge_columns(
    table: pa.Table, target: str | Target | None, time: str | None, task: Task | None
) -> tuple[str | None, Task | None, list[Association], list[LeakSuspect]]:
    if target is None or table.num_rows == 0:
        return None, task, [], []
    frame = table.to_pandas()
    computed_from: tuple[str, ...] = ()
    goal = target if isinstance(target, str) else target.name
    if isinstance(target, Target):
        frame[goal] = compute_target(table, target).to_pandas()
        computed_from = columns_of(target.expression)
    chosen = task or _choose_task(frame[goal])
    known = frame[frame[goal].notna()]
    if known[goal].nunique() < 2:
        return goal, chosen, [], []
    associations = measure_associations(known, goal, chosen)
    suspects = find_leak_suspects(known, target=goal, time=time, task=chosen, computed_from=computed_from)
    return goal, chosen, associations, suspects


def _choose_task(values: pd.Series[Any]) -> Task:
    import pandas as pd

    is_number = pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_bool_dtype(values)
    return "regression" if is_number and values.nunique() > _MOST_CLASSES else "classification"
