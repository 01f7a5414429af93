"""Rows whose values in some columns were there before, across all segments: found by hashes, then compared whole."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict

from base.contract import ColumnRule, DataContract, Severity
from base.rows.duck import quote_name
from base.rows.reading import POSITION, SEGMENT
from base.validation.checks import show_columns
from base.validation.judgement import N_EXAMPLES

if TYPE_CHECKING:
    import duckdb

# A key may be nearly the whole row; more columns than this would only fill the page.
_MOST_SHOWN = 4


class Key(BaseModel):
    """Columns whose values together may occur once; two nulls are equal, but rows of nulls alone are not compared."""

    model_config = ConfigDict(frozen=True)

    columns: tuple[str, ...]
    severity: Severity
    is_whole_row: bool = False

    @property
    def reason(self) -> str:
        """What is said of a row that repeats another one."""
        return "repeats another row" if self.is_whole_row else f"{self.shown} occurred before"

    @property
    def shown(self) -> str:
        """The columns as text, a few of them where they are many."""
        more = len(self.columns) - _MOST_SHOWN
        return ", ".join(self.columns[:_MOST_SHOWN]) + (f" and {more} more together" if more > 0 else "")


class Duplicates(BaseModel):
    """How many rows repeat an earlier one, and how many rows they and those earlier ones are together.

    ``rows`` are the repeating ones (segment's index, position, values as text) where they are to be set aside.
    """

    model_config = ConfigDict(frozen=True)

    key: Key
    n_rows: int = 0
    n_involved: int = 0
    examples: tuple[str, ...] = ()
    rows: tuple[tuple[int, int, str | None], ...] = ()


def keys_of(contract: DataContract | None, columns: Sequence[str]) -> tuple[Key, ...]:
    """List what a contract says is unique, over the columns that there are."""
    if contract is None:
        return ()
    keys = [Key(columns=key, severity=contract.unique_severity) for key in contract.keys if set(key) <= set(columns)]
    if contract.distinct_rows is not None:
        keys.append(Key(columns=tuple(columns), severity=contract.distinct_rows, is_whole_row=True))
    return tuple(keys)


def find_duplicates(
    connection: duckdb.DuckDBPyConnection,
    view: str,
    key: Key,
    rules: Mapping[str, ColumnRule],
    *,
    before: Duplicates | None = None,
    first_new: int = 0,
) -> Duplicates:
    """Find the rows of a view (:func:`~base.rows.reading.view_rows`) that repeat one before, by segment and position.

    Parameters
    ----------
    before : Duplicates, optional
        What was found up to the segment of index *first_new*; only later rows are compared, with each other and
        with all before them.
    """
    names = [quote_name(name) for name in key.columns]
    listed = ", ".join(names)
    known = "TRUE" if key.is_whole_row else f"({' OR '.join(f'{name} IS NOT NULL' for name in names)})"
    rows = f"SELECT hash({listed}) AS h FROM {quote_name(view)} WHERE {known} AND {SEGMENT}"
    # A hash for each row is all that is held; few of them are met twice.
    suspects = f"SELECT h FROM ({rows} >= {first_new}) GROUP BY h HAVING count(*) > 1"
    if first_new:
        suspects += f" UNION SELECT h FROM ({rows} < {first_new}) WHERE h IN (SELECT h FROM ({rows} >= {first_new}))"
    connection.execute(f"CREATE OR REPLACE TEMP TABLE __suspects AS {suspects}")
    value = "NULL::VARCHAR" if key.is_whole_row else show_columns(key.columns[:_MOST_SHOWN], rules)
    connection.execute(
        f"CREATE OR REPLACE TEMP TABLE __repeats AS SELECT {SEGMENT} AS segment, {POSITION} AS position, "
        f"{value} AS shown, row_number() OVER (PARTITION BY {listed} ORDER BY {SEGMENT}, {POSITION}) AS number, "
        f"count(*) OVER (PARTITION BY {listed}) AS n, "
        f"count(*) FILTER (WHERE {SEGMENT} < {first_new}) OVER (PARTITION BY {listed}) AS n_old "
        f"FROM {quote_name(view)} WHERE {known} AND hash({listed}) IN (SELECT h FROM __suspects)"
    )
    is_new = f"n > 1 AND number > 1 AND segment >= {first_new}"
    (n_rows,) = _row(connection, f"SELECT count(*) FROM __repeats WHERE {is_new}")
    # The first of its kind is involved since now, unless another one had repeated it before.
    (n_firsts,) = _row(
        connection,
        f"SELECT count(*) FROM __repeats WHERE n > 1 AND number = 1 AND (segment >= {first_new} OR n_old = 1)",
    )
    limit = "" if key.severity == "quarantine" else f" LIMIT {N_EXAMPLES}"
    found = connection.execute(
        f"SELECT segment, position, shown FROM __repeats WHERE {is_new} ORDER BY segment, position{limit}"
    ).fetchall()
    connection.execute("DROP TABLE __suspects; DROP TABLE __repeats")
    before = before or Duplicates(key=key)
    examples = (*before.examples, *(shown for *_, shown in found if shown is not None))
    return Duplicates(
        key=key,
        n_rows=before.n_rows + n_rows,
        n_involved=before.n_involved + n_rows + n_firsts,
        examples=tuple(dict.fromkeys(examples))[:N_EXAMPLES],
        rows=(*before.rows, *found) if key.severity == "quarantine" else (),
    )


def _row(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[int, ...]:
    row = connection.execute(query).fetchone()
    return () if row is None else tuple(row)
