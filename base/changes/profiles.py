"""Profiles: a small summary of each column, made by DuckDB, that tells whether data have changed their shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from base.json_values import ColumnType
from base.rows.duck import quote_name

if TYPE_CHECKING:
    import duckdb

PROBABILITIES = (0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
STRETCH = "__stretch"
"""The column of a profiled view that numbers its stretches, where there is one."""

# A column with more values than this has no categories, only a distribution.
_MOST_COUNTED = 10_000
_MOST_KEPT = 200
_TYPES: dict[str, ColumnType] = {
    "BIGINT": "integer",
    "DOUBLE": "number",
    "VARCHAR": "text",
    "BOOLEAN": "boolean",
    "TIMESTAMP WITH TIME ZONE": "time",
}


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True)


class Category(_Part):
    """One value with the rows that hold it, and the number of stretches in which it occurs."""

    value: str
    n: int
    n_stretches: int = 1


class Stretch(_Part):
    """A column over some consecutive rows."""

    n: int
    n_null: int
    n_distinct: int
    scale: tuple[float, ...] = ()


class ColumnProfile(_Part):
    """One column: what it holds, over all rows and over stretches of them.

    ``quantiles`` are those of the finite numbers, of moments in seconds since 1970, of a text's length; ``scale``
    are those of the finite numbers that are not zero, since a zero has no unit;
    ``n_distinct`` is exact where ``is_counted``, else within about a tenth; ``top`` are the most frequent
    values, all of them where ``is_counted`` and there are at most 200.
    """

    type: ColumnType
    n: int
    n_null: int
    n_distinct: int
    is_counted: bool = False
    n_once: int = 0
    minimum: float | str | None = None
    maximum: float | str | None = None
    n_negative: int = 0
    n_zero: int = 0
    n_fractions: int = 0
    quantiles: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    top: tuple[Category, ...] = ()
    stretches: tuple[Stretch, ...] = ()

    @property
    def n_present(self) -> int:
        """How many rows have a value."""
        return self.n - self.n_null

    @property
    def null_share(self) -> float:
        """The share of rows without a value."""
        return self.n_null / self.n if self.n else 0.0

    @property
    def categories(self) -> tuple[str, ...] | None:
        """All values, the most frequent first; None where they were not all kept."""
        is_whole = self.is_counted and len(self.top) == self.n_distinct
        return tuple(item.value for item in self.top) if is_whole else None


class Profile(_Part):
    """All columns of some rows."""

    n_rows: int
    columns: dict[str, ColumnProfile]


def profile_view(
    connection: duckdb.DuckDBPyConnection, view: str, *, types: Mapping[str, ColumnType] | None = None
) -> Profile:
    """Profile a view whose columns have the loop's types, in one pass and one more for each column of few values.

    A column :data:`STRETCH` cuts it into stretches and is not profiled. Names that start with two underscores
    are left out.

    Examples
    --------
    >>> from base.rows.duck import open_duckdb
    >>> with open_duckdb() as connection:
    ...     _ = connection.execute("CREATE VIEW rows AS SELECT range AS n, 'a' AS kind FROM range(10)")
    ...     profile = profile_view(connection, "rows")
    >>> profile.columns["n"].maximum, profile.columns["kind"].categories
    (9.0, ('a',))
    """
    found = view_types(connection, view)
    has_stretches = STRETCH in [row[0] for row in connection.execute(f"DESCRIBE {quote_name(view)}").fetchall()]
    kinds: dict[str, ColumnType] = {name: (types or {}).get(name) or kind for name, kind in found.items()}
    if not kinds:
        return Profile(n_rows=0, columns={})
    rows = _aggregate(connection, view, kinds, has_stretches=has_stretches)
    whole = next(row for row in rows if row["is_whole"])
    # Rows beyond the last whole stretch belong to none.
    stretches = [row for row in rows if row["stretch"] is not None]
    columns = {}
    for index, (name, kind) in enumerate(kinds.items()):
        facts = _facts(whole, index)
        columns[name] = ColumnProfile(
            type=kind,
            n=whole["n"],
            n_null=facts["n_null"],
            minimum=facts["minimum"],
            maximum=facts["maximum"],
            n_negative=facts["n_negative"],
            n_zero=facts["n_zero"],
            n_fractions=facts["n_fractions"],
            quantiles=_numbers(facts["quantiles"]),
            scale=_numbers(facts["scale"]),
            stretches=tuple(_stretch(row, index) for row in stretches),
            **_count(connection, view, name, facts, has_stretches=has_stretches),
        )
    return Profile(n_rows=whole["n"], columns=columns)


def view_types(connection: duckdb.DuckDBPyConnection, view: str) -> dict[str, ColumnType]:
    """Name the types of a view's columns; one of another type than the loop's counts as numbers without a value."""
    described = connection.execute(f"DESCRIBE {quote_name(view)}").fetchall()
    return {row[0]: _TYPES.get(row[1], "number") for row in described if not row[0].startswith("__")}


def count_distinct(connection: duckdb.DuckDBPyConnection, view: str, columns: Sequence[str]) -> int:
    """Count the distinct rows over some columns exactly; what does not fit into memory is spilled."""
    names = ", ".join(map(quote_name, columns))
    query = f"SELECT count(*) FROM (SELECT {names} FROM {quote_name(view)} GROUP BY {names})"
    return int(_first(connection.execute(query).fetchone()))


def _aggregate(
    connection: duckdb.DuckDBPyConnection, view: str, kinds: Mapping[str, ColumnType], *, has_stretches: bool
) -> list[dict[str, Any]]:
    stretch = quote_name(STRETCH) if has_stretches else "NULL"
    is_whole = f"GROUPING({stretch})" if has_stretches else "1"
    wanted = [f"{stretch} AS stretch", f"{is_whole} AS is_whole", "count(*) AS n"]
    for index, (name, kind) in enumerate(kinds.items()):
        wanted += [f"{sql} AS {fact}_{index}" for fact, sql in _facts_of(quote_name(name), kind).items()]
    grouping = f" GROUP BY ROLLUP ({stretch}) ORDER BY stretch" if has_stretches else ""
    cursor = connection.execute(f"SELECT {', '.join(wanted)} FROM {quote_name(view)}{grouping}")
    names = [item[0] for item in cursor.description or ()]
    return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _facts_of(column: str, kind: ColumnType) -> dict[str, str]:
    number = {
        "integer": f"CAST({column} AS DOUBLE)",
        "number": f"CAST({column} AS DOUBLE)",
        "time": f"epoch({column})" if kind == "time" else "",
        "text": f"CAST(length({column}) AS DOUBLE)",
        "boolean": f"CAST({column} AS DOUBLE)",
    }[kind]
    is_number = kind in ("integer", "number")
    ends = column if kind == "time" else number
    probabilities = f"[{', '.join(map(str, PROBABILITIES))}]"
    as_text = "strftime({}, '%Y-%m-%dT%H:%M:%S.%fZ')" if kind == "time" else "{}"
    return {
        "n_null": f"count(*) - count({column})",
        "n_distinct": f"approx_count_distinct({column})",
        "minimum": as_text.format(f"min({ends})"),
        "maximum": as_text.format(f"max({ends})"),
        "n_negative": f"count(*) FILTER ({column} < 0)" if is_number else "0",
        "n_zero": f"count(*) FILTER ({column} = 0)" if is_number else "0",
        "n_fractions": f"count(*) FILTER ({column} <> floor({column}))" if kind == "number" else "0",
        "quantiles": f"approx_quantile({number}, {probabilities})",
        "scale": f"approx_quantile({number}, {probabilities}) FILTER ({column} <> 0)" if is_number else "NULL",
    }


def _facts(row: Mapping[str, Any], index: int) -> dict[str, Any]:
    facts = ("n_null", "n_distinct", "minimum", "maximum", "n_negative", "n_zero", "n_fractions", "quantiles", "scale")
    return {fact: row[f"{fact}_{index}"] for fact in facts}


def _stretch(row: Mapping[str, Any], index: int) -> Stretch:
    facts = _facts(row, index)
    return Stretch(
        n=row["n"],
        n_null=facts["n_null"],
        n_distinct=facts["n_distinct"],
        scale=_numbers(facts["scale"]),
    )


def _count(
    connection: duckdb.DuckDBPyConnection, view: str, name: str, facts: Mapping[str, Any], *, has_stretches: bool
) -> dict[str, Any]:
    if facts["n_distinct"] > _MOST_COUNTED:
        return {"n_distinct": facts["n_distinct"]}
    column = quote_name(name)
    stretches = f"count(DISTINCT {quote_name(STRETCH)})" if has_stretches else "1"
    rows = connection.execute(
        f"SELECT CAST({column} AS VARCHAR) AS value, count(*) AS n, {stretches} FROM {quote_name(view)} "
        f"WHERE {column} IS NOT NULL GROUP BY {column} ORDER BY n DESC, value"
    ).fetchall()
    return {
        "n_distinct": len(rows),
        "is_counted": True,
        "n_once": sum(row[1] == 1 for row in rows),
        "top": tuple(Category(value=row[0], n=row[1], n_stretches=row[2]) for row in rows[:_MOST_KEPT]),
    }


def _numbers(values: Sequence[float] | None) -> tuple[float, ...]:
    return tuple(values or ())


def _first(row: tuple[Any, ...] | None) -> Any:
    return None if row is None else row[0]
