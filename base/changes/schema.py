"""Triage of schema changes: what is new, missing, renamed, retyped, or in another unit, between two states of data."""

from __future__ import annotations

from typing import TYPE_CHECKING

from base.changes.change import Change
from base.changes.columns import find_column_changes
from base.changes.profiled_rows import profile_table, sample_rows
from base.changes.profiles import Profile
from base.changes.renames import find_renames

if TYPE_CHECKING:
    import pyarrow as pa

    from base.artifacts import ArtifactStore
    from base.references import Rows

# Enough to see a null in a thousand, and read in a second however long the history is.
MOST_ROWS = 200_000
"""How many rows of each side are looked at."""


def describe_changes(artifacts: ArtifactStore, before: Rows, now: Rows) -> list[Change]:
    """Compare the rows that are new with those of before; at most 200,000 rows of each are looked at.

    Where *now* goes on from *before* (they share segments), only its own segments are compared, so that a day
    does not hide behind years. No new rows, no changes.

    Examples
    --------
    Called between a snapshot and its parent: ``describe_changes(artifacts, parent.rows, snapshot.rows)``.
    """
    known = {segment.artifact.digest for segment in before.segments}
    fresh = [segment for segment in now.segments if segment.artifact.digest not in known]
    rows = now if len(fresh) == len(now.segments) else now.model_copy(update={"segments": tuple(fresh)})
    if not rows.segments or not rows.n_rows or not before.n_rows:
        return []
    current = sample_rows(artifacts, rows, most_rows=MOST_ROWS)
    reference = sample_rows(artifacts, before, most_rows=MOST_ROWS)
    return compare_tables(reference, current)


def compare_tables(reference: pa.Table, current: pa.Table) -> list[Change]:
    """Compare two normalised tables, each in the order of its rows; :func:`find_changes` says how."""
    length = min(current.num_rows, reference.num_rows) // 2
    return find_changes(profile_table(reference, stretch_rows=length), profile_table(current))


def find_changes(reference: Profile, current: Profile) -> list[Change]:
    """Name what has changed between two profiles: columns first, then what is in them.

    Two halves of the same data give nothing; see :func:`base.changes.columns.find_column_changes`.
    """
    missing = [name for name in reference.columns if name not in current.columns]
    new = [name for name in current.columns if name not in reference.columns]
    renames = find_renames(missing, new, reference.columns, current.columns)
    changes = [rename.as_change() for rename in renames]
    old_names, new_names = {rename.old for rename in renames}, {rename.new for rename in renames}
    changes += [
        Change(kind="missing column", column=name, before=reference.columns[name].type)
        for name in missing
        if name not in old_names
    ]
    changes += [
        Change(kind="new column", column=name, now=current.columns[name].type) for name in new if name not in new_names
    ]
    pairs = [(name, name) for name in reference.columns if name in current.columns]
    pairs += [(rename.old, rename.new) for rename in renames]
    for old, now in pairs:
        changes += find_column_changes(now, reference.columns[old], current.columns[now])
    return changes
