"""Judge one segment by a contract's checks: DuckDB streams its file, counts, and names the rows to set aside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict

from base.artifacts import Artifact, ArtifactStore
from base.contract import ColumnType
from base.references import Segment
from base.rows.duck import quote_name, quote_text
from base.rows.reading import store_positions
from base.validation.checks import RowCheck, select_as

if TYPE_CHECKING:
    import duckdb

N_EXAMPLES = 5
# Rows that are looked at for examples that differ.
_LOOKED_AT = 200
_MOST_CLASSES = 1_000
POSITION = "file_row_number"
"""The column of a SELECT of a segment that holds a row's position."""
FOUND = "__found"
"""The column of a temporary table of bad rows that lists, as column, value and reason, what each of them breaks."""


@dataclass(frozen=True)
class TargetKind:
    """The target's type, and whether its values are classes."""

    type: ColumnType
    is_class: bool


@dataclass(frozen=True)
class SelectedRows:
    """A segment's rows as a SELECT, the file they lie in, and whether all of it counts."""

    sql: str
    file: Path
    is_whole: bool


class TargetFacts(BaseModel):
    """What a segment's targets are.

    ``values`` are, of classes, all that occur, or None when those are too many; of numbers the least and the largest.
    """

    model_config = ConfigDict(frozen=True)

    n_known: int = 0
    n_infinite: int = 0
    values: tuple[str, ...] | None = ()


class SegmentJudgement(BaseModel):
    """What was found in one segment; counts and examples by a check's reason.

    Attributes
    ----------
    broken : dict of reason to number of rows
        Of every check, whatever its severity; a row counts under each one that it breaks.
    first_reasons : dict of reason to number of rows
        Of the rows to set aside, each under the first check that it breaks.
    positions, quarantined : Artifact, optional
        Where those rows stand in the segment's file, and the rows themselves.
    """

    model_config = ConfigDict(frozen=True)

    n_rows: int
    broken: dict[str, int]
    examples: dict[str, tuple[str, ...]] = {}
    nulls: dict[str, int] = {}
    first_reasons: dict[str, int] = {}
    target: TargetFacts = TargetFacts()
    positions: Artifact | None = None
    quarantined: Artifact | None = None


def select_segment(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, segment: Segment, types: Mapping[str, ColumnType]
) -> SelectedRows:
    """Write the SELECT of a segment's rows that count, their position as ``file_row_number``; its file is verified."""
    file = artifacts.local_path(segment.artifact)
    path = quote_text(file)
    described = connection.execute(f"DESCRIBE SELECT * FROM read_parquet({path})").fetchall()
    wanted = select_as(types, {name: kind for name, kind, *_ in described})
    rows = f"SELECT {wanted} FROM read_parquet({path}, file_row_number = true)"
    for dropped in segment.dropped:
        gone = f"SELECT position FROM read_parquet({quote_text(artifacts.local_path(dropped))})"
        rows = f"SELECT * FROM ({rows}) WHERE {POSITION} NOT IN ({gone})"
    return SelectedRows(rows, file, is_whole=not segment.n_dropped)


def judge_segment(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    selected: SelectedRows,
    checks: Sequence[RowCheck],
    *,
    table: str,
    also: Iterable[str],
    target: str,
    kind: TargetKind,
) -> SegmentJudgement:
    """Take the rows to set aside in one pass; count what else is broken, and what the target is, in another.

    Parameters
    ----------
    table : str
        Name of the temporary table that will hold the rows to set aside, as :func:`list_broken` makes it.
    also : iterable of str
        More columns whose nulls are counted.
    """
    aside = [check for check in checks if check.severity == "quarantine"]
    told = [check for check in checks if check.severity != "quarantine"]
    columns = sorted({*also, *(name for check in checks for name in check.columns)})
    rows = selected.sql
    nulls = _stored_nulls(connection, selected, columns)
    uncounted = [name for name in columns if name not in nulls]
    # Twice as fast as count(*) FILTER (WHERE …).
    sums = [f"sum(({check.condition})::INT)" for check in told] + [f"count({quote_name(name)})" for name in uncounted]
    found = _fetch(connection, f"SELECT {', '.join(['count(*)', *sums, *_target_sums(target, kind)])} FROM ({rows})")
    n_rows, counts, known = found[0], found[1 : 1 + len(told)], found[1 + len(told) : -4]
    broken = {check.reason: 0 for check in checks}
    broken |= {check.reason: int(count or 0) for check, count in zip(told, counts, strict=True)}
    nulls |= {name: n_rows - n_known for name, n_known in zip(uncounted, known, strict=True)}
    examples = {check.reason: _find_examples(connection, rows, check) for check in told if broken[check.reason]}
    first_reasons: dict[str, int] = {}
    positions = None
    if aside and (n_aside := list_broken(connection, rows, aside, table=table)):
        broken |= _count(connection, f"SELECT unnest({FOUND}).reason AS reason FROM {table}")
        examples |= {check.reason: _take_examples(connection, table, check) for check in aside if broken[check.reason]}
        first_reasons = _count(connection, f"SELECT {FOUND}[1].reason AS reason FROM {table}")
        positions = _store_positions(connection, artifacts, table, n_aside)
    return SegmentJudgement(
        n_rows=n_rows,
        broken=broken,
        examples=examples,
        nulls={name: nulls[name] for name in columns},
        first_reasons=first_reasons,
        target=_target_facts(connection, rows, target, found[-4:], kind),
        positions=positions,
    )


def list_broken(connection: duckdb.DuckDBPyConnection, rows: str, checks: Sequence[RowCheck], *, table: str) -> int:
    """Copy the rows that break any check into a temporary table, and count them.

    One pass that takes few rows whole is faster than one that counts and one that takes them: DuckDB decodes the
    other columns only where a row is wanted. :data:`FOUND` lists all that a row breaks, in the order of the checks.
    """
    entries = ", ".join(f"CASE WHEN {check.condition} THEN {_entry(check)} END" for check in checks)
    any_broken = " OR ".join(check.condition for check in checks)
    made = connection.execute(
        f"CREATE OR REPLACE TEMP TABLE {table} AS SELECT *, "
        f"list_filter([{entries}], lambda entry: entry IS NOT NULL) AS {FOUND} FROM ({rows}) WHERE {any_broken}"
    ).fetchone()
    return 0 if made is None else int(made[0])


def _entry(check: RowCheck) -> str:
    column = "NULL::VARCHAR" if check.column is None else quote_text(check.column)
    return f'struct_pack("column" := {column}, "value" := {check.value}, reason := {quote_text(check.reason)})'


def _count(connection: duckdb.DuckDBPyConnection, reasons: str) -> dict[str, int]:
    query = f"SELECT reason, count(*) FROM ({reasons}) GROUP BY reason ORDER BY reason"
    return dict(connection.execute(query).fetchall())


def _store_positions(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, table: str, n_rows: int
) -> Artifact:
    found = connection.execute(f"SELECT {POSITION} FROM {table}").fetchmany(n_rows)
    return store_positions(artifacts, [position for (position,) in found])


def _stored_nulls(
    connection: duckdb.DuckDBPyConnection, selected: SelectedRows, columns: Sequence[str]
) -> dict[str, int]:
    """Read how many nulls a file says that its columns have; nothing where some of its rows do not count."""
    if not selected.is_whole:
        return {}
    query = f"SELECT path_in_schema, stats_null_count FROM parquet_metadata({quote_text(selected.file)})"
    found: dict[str, int | None] = {}
    for name, n_nulls in connection.execute(query).fetchall():
        before = found.get(name, 0)
        found[name] = None if before is None or n_nulls is None else before + n_nulls
    return {name: count for name in columns if (count := found.get(name)) is not None}


def _take_examples(connection: duckdb.DuckDBPyConnection, table: str, check: RowCheck) -> tuple[str, ...]:
    query = f"SELECT coalesce({check.value}, 'null') FROM {table} WHERE {check.condition} LIMIT {_LOOKED_AT}"
    values = [value for (value,) in connection.execute(query).fetchall()]
    return tuple(dict.fromkeys(values))[:N_EXAMPLES]


def _find_examples(connection: duckdb.DuckDBPyConnection, rows: str, check: RowCheck) -> tuple[str, ...]:
    query = f"SELECT coalesce({check.value}, 'null') FROM ({rows}) WHERE {check.condition} LIMIT {_LOOKED_AT}"
    values = [value for (value,) in connection.execute(query).fetchall()]
    return tuple(dict.fromkeys(values))[:N_EXAMPLES]


def _target_sums(target: str, kind: TargetKind) -> list[str]:
    column = quote_name(target)
    infinite = f"sum(isinf({column})::INT)" if kind.type == "number" else "0"
    return [f"count({column})", infinite, f"CAST(min({column}) AS VARCHAR)", f"CAST(max({column}) AS VARCHAR)"]


def _target_facts(
    connection: duckdb.DuckDBPyConnection, rows: str, target: str, found: Sequence[Any], kind: TargetKind
) -> TargetFacts:
    n_known, n_infinite, least, most = found
    values: tuple[str, ...] | None = tuple(dict.fromkeys(value for value in (least, most) if value is not None))
    if kind.is_class:
        query = f"SELECT DISTINCT CAST({quote_name(target)} AS VARCHAR) AS value FROM ({rows}) WHERE value IS NOT NULL"
        listed = [value for (value,) in connection.execute(f"{query} LIMIT {_MOST_CLASSES + 1}").fetchall()]
        values = None if len(listed) > _MOST_CLASSES else tuple(sorted(listed))
    return TargetFacts(n_known=n_known, n_infinite=int(n_infinite or 0), values=values)


def _fetch(connection: duckdb.DuckDBPyConnection, query: str) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    return () if row is None else tuple(row)
