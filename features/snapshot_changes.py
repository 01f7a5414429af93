"""What differs between two snapshots: rows, schema, and how far each column has moved."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from base.artifacts import Artifact, ArtifactStore
from base.changes.profiles import ColumnProfile, profile_view
from base.errors import ArgumentError, nearest
from base.references import Segment, Snapshot
from base.rows.duck import open_duckdb, quote_name, quote_text
from base.rows.reading import view_rows
from features.distributions import MOVED, Bins, Counts, choose_bins, choose_drawn_bins, count_bins, measure_distance

if TYPE_CHECKING:
    import duckdb

_MOST_EXAMPLES = 5
_SIDE = "__side"


@dataclass(frozen=True)
class ChangedValue:
    """One value that two snapshots hold differently for the same key."""

    key: dict[str, Any]
    column: str
    before: Any
    after: Any


@dataclass(frozen=True)
class RowChanges:
    """How many rows were added, removed and changed; without a key a change is a removal and an addition."""

    key: tuple[str, ...]
    n_added: int
    n_removed: int
    n_changed: int | None
    n_unchanged: int
    changed_in: dict[str, int]
    examples: tuple[ChangedValue, ...] = ()


@dataclass(frozen=True)
class SchemaChange:
    """A column that only one side has, or that has another type."""

    column: str
    before: str | None
    after: str | None


@dataclass(frozen=True)
class ColumnMove:
    """How far a column has moved, over all rows and in the new rows alone, with its figures on both sides."""

    column: str
    distance: float
    distance_new: float
    before: ColumnProfile
    after: ColumnProfile
    drawn: Bins
    drawn_counts: tuple[Counts, Counts]

    @property
    def farthest(self) -> float:
        """The larger of the distances that could be measured."""
        return max((value for value in (self.distance, self.distance_new) if value == value), default=0.0)  # noqa: PLR0124

    @property
    def is_moved(self) -> bool:
        """Whether it counts as moved."""
        return self.farthest >= MOVED


@dataclass(frozen=True)
class SnapshotChanges:
    """All that differs between two snapshots; *moves* holds every common column, the farthest first."""

    n_before: int
    n_after: int
    rows: RowChanges
    schema: tuple[SchemaChange, ...]
    moves: tuple[ColumnMove, ...]


def compare_snapshots(
    artifacts: ArtifactStore, before: Snapshot, after: Snapshot, *, key: Sequence[str] = ()
) -> SnapshotChanges:
    """Compare two snapshots.

    Files that both have are not looked at to find the changed rows, so that costs as much as the difference is
    large; how far columns moved is measured over all rows, in a stream.

    Parameters
    ----------
    key : sequence of str
        The columns that name a row; without them rows are the same when all their values are.

    Raises
    ------
    ArgumentError
        If a key column is in neither or one of them only.
    """
    common = _check_key(before, after, key)
    schema = [
        SchemaChange(name, before.columns.get(name), after.columns.get(name))
        for name in dict.fromkeys([*before.columns, *after.columns])
        if before.columns.get(name) != after.columns.get(name)
    ]
    with _opened(artifacts, before, after) as (connection, old, new):
        rows = _compare_rows(connection, common, tuple(key), before.n_rows - old, old=old, new=new)
        same = [name for name in common if before.columns[name] == after.columns[name]]
        moves = _measure_moves(connection, before, after, same, has_new=0 < new < after.n_rows)
    return SnapshotChanges(before.n_rows, after.n_rows, rows, tuple(schema), tuple(moves))


def compare_rows(artifacts: ArtifactStore, before: Snapshot, after: Snapshot, *, key: Sequence[str] = ()) -> RowChanges:
    """Count the rows that differ, as :func:`compare_snapshots` does, and look at nothing else."""
    common = _check_key(before, after, key)
    with _opened(artifacts, before, after) as (connection, old, new):
        return _compare_rows(connection, common, tuple(key), before.n_rows - old, old=old, new=new)


def _check_key(before: Snapshot, after: Snapshot, key: Sequence[str]) -> list[str]:
    common = [name for name in before.columns if name in after.columns]
    for name in key:
        if name not in common:
            raise ArgumentError(f"key column {name!r} is not in both snapshots{nearest(name, common)}")
    return common


@contextmanager
def _opened(
    artifacts: ArtifactStore, before: Snapshot, after: Snapshot
) -> Iterator[tuple[duckdb.DuckDBPyConnection, int, int]]:
    """Open both snapshots as views, with those of the rows that only one of them has, and how many these are."""
    with open_duckdb() as connection:
        view_rows(connection, artifacts, before.rows, name="rows_before")
        view_rows(connection, artifacts, after.rows, name="rows_after")
        old = _view_one_sided(connection, artifacts, before, after, name="rows_old")
        new = _view_one_sided(connection, artifacts, after, before, name="rows_new")
        yield connection, old, new


def _view_one_sided(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, own: Snapshot, other: Snapshot, *, name: str
) -> int:
    """Make a view of the rows that one snapshot has and the other does not, by file and position; count them."""
    partners: dict[str, list[Segment]] = {}
    for segment in other.rows.segments:
        partners.setdefault(segment.artifact.digest, []).append(segment)
    parts = []
    for segment in own.rows.segments:
        same = partners.get(segment.artifact.digest)
        partner = same.pop(0) if same else None
        if partner is not None and not set(partner.dropped) - set(segment.dropped):
            continue
        part = f"SELECT * FROM read_parquet({_path(artifacts, segment.artifact)}, file_row_number = true)"
        for gone in segment.dropped:
            part = f"SELECT * FROM ({part}) WHERE file_row_number NOT IN ({_positions(artifacts, gone)})"
        if partner is not None:
            lost = " UNION ALL ".join(_positions(artifacts, gone) for gone in partner.dropped)
            part = f"SELECT * FROM ({part}) WHERE file_row_number IN ({lost})"
        parts.append(f"SELECT * EXCLUDE (file_row_number) FROM ({part})")
    if not parts:
        # With the columns, and without a row.
        parts = [
            f"SELECT * EXCLUDE (__segment, __position) FROM rows_{'before' if name == 'rows_old' else 'after'} LIMIT 0"
        ]
    union = " UNION ALL BY NAME ".join(f"({part})" for part in parts)
    connection.execute(f"CREATE TEMP VIEW {name} AS {union}")
    ((n_rows,),) = connection.execute(f"SELECT count(*) FROM {name}").fetchall()
    return int(n_rows)


def _path(artifacts: ArtifactStore, artifact: Artifact) -> str:
    return quote_text(artifacts.local_path(artifact))


def _positions(artifacts: ArtifactStore, artifact: Artifact) -> str:
    return f"SELECT position FROM read_parquet({_path(artifacts, artifact)})"


def _compare_rows(
    connection: duckdb.DuckDBPyConnection, common: list[str], key: tuple[str, ...], n_shared: int, *, old: int, new: int
) -> RowChanges:
    if not common or not (old or new):
        return RowChanges(key, new, old, 0 if key else None, n_shared, {})
    names = ", ".join(map(quote_name, common))
    sides = f"SELECT {names}, 0 AS {_SIDE} FROM rows_old UNION ALL BY NAME SELECT {names}, 1 AS {_SIDE} FROM rows_new"
    connection.execute(f"CREATE TEMP VIEW candidates AS {sides}")
    others = [name for name in common if name not in key] if key else []
    hashes = "".join(f", hash({quote_name(name)}) AS h{index}" for index, name in enumerate(others))
    group = ", ".join(map(quote_name, key)) if key else "content"
    grouped = (
        f"SELECT {group}, count(*) FILTER ({_SIDE} = 0) AS n_before, count(*) FILTER ({_SIDE} = 1) AS n_after, "
        f"sum(content) FILTER ({_SIDE} = 0) IS DISTINCT FROM sum(content) FILTER ({_SIDE} = 1) AS differs"
        + "".join(f", min(h{index}) <> max(h{index}) AS d{index}" for index in range(len(others)))
        + f" FROM (SELECT *, hash({names}) AS content{hashes} FROM candidates) GROUP BY {group}"
    )
    both = "n_before > 0 AND n_after > 0 AND differs"
    wanted = [
        "coalesce(sum(greatest(n_after - n_before, 0)), 0)",
        "coalesce(sum(greatest(n_before - n_after, 0)), 0)",
        "coalesce(sum(least(n_before, n_after)) FILTER (differs), 0)" if key else "0",
        "coalesce(sum(least(n_before, n_after)) FILTER (NOT differs), 0)"
        if key
        else "coalesce(sum(least(n_before, n_after)), 0)",
        *(f"count(*) FILTER ({both} AND d{index})" for index in range(len(others))),
    ]
    (found,) = connection.execute(f"SELECT {', '.join(wanted)} FROM ({grouped})").fetchall()
    added, removed, changed, unchanged, *by_column = map(int, found)
    changed_in = {name: count for name, count in zip(others, by_column, strict=True) if count}
    return RowChanges(
        key,
        n_added=added,
        n_removed=removed,
        n_changed=changed if key else None,
        n_unchanged=n_shared + unchanged,
        changed_in=dict(sorted(changed_in.items(), key=lambda item: -item[1])),
        examples=tuple(_find_examples(connection, grouped, key, others)) if changed else (),
    )


def _find_examples(
    connection: duckdb.DuckDBPyConnection, grouped: str, key: tuple[str, ...], others: list[str]
) -> list[ChangedValue]:
    keys = ", ".join(map(quote_name, key))
    wanted = f"SELECT {keys} FROM ({grouped}) WHERE n_before = 1 AND n_after = 1 AND differs ORDER BY {keys}"
    same = " AND ".join(f"c.{quote_name(name)} IS NOT DISTINCT FROM k.{quote_name(name)}" for name in key)
    rows = connection.sql(
        f"SELECT c.* FROM candidates c JOIN ({wanted} LIMIT {_MOST_EXAMPLES}) k ON {same} ORDER BY {keys}, {_SIDE}"
    )
    records = rows.to_arrow_table().to_pylist()
    examples = []
    for before, after in zip(records[::2], records[1::2], strict=True):
        name = next(name for name in others if before[name] != after[name])
        examples.append(ChangedValue({part: before[part] for part in key}, name, before[name], after[name]))
    return examples


def _measure_moves(
    connection: duckdb.DuckDBPyConnection, before: Snapshot, after: Snapshot, columns: list[str], *, has_new: bool
) -> list[ColumnMove]:
    kinds = {name: after.columns[name] for name in columns}
    if not kinds or not before.n_rows or not after.n_rows:
        return []
    one = profile_view(connection, "rows_before", types=before.columns)
    other = profile_view(connection, "rows_after", types=after.columns)
    moves = []
    for name, kind in kinds.items():
        bins = choose_bins(connection, "rows_before", name, kind)
        counts_before, counts_after, counts_new = (
            count_bins(connection, relation, bins).get(0) if wanted else None
            for relation, wanted in (("rows_before", True), ("rows_after", True), ("rows_new", has_new))
        )
        if counts_before is None or counts_after is None:
            continue
        distance = measure_distance(counts_before, counts_after)
        drawn = choose_drawn_bins(name, one.columns[name], other.columns[name])
        sides = [count_bins(connection, relation, drawn)[0] for relation in ("rows_before", "rows_after")]
        moves.append(
            ColumnMove(
                column=name,
                distance=distance,
                distance_new=distance if counts_new is None else measure_distance(counts_before, counts_new),
                before=one.columns[name],
                after=other.columns[name],
                drawn=drawn,
                drawn_counts=(sides[0], sides[1]),
            )
        )
    return sorted(moves, key=lambda move: -move.farthest)
