"""Which new column is likely what the contract misses: by name and by values, against rows that were good before."""

from __future__ import annotations

from base.artifacts import ArtifactMissing, ArtifactStore
from base.changes.change import Change
from base.changes.contract_diff import judge_profile
from base.changes.profiled_rows import profile_table, sample_rows
from base.changes.profiles import Profile
from base.changes.renames import find_renames
from base.contract import ColumnRule, DataContract
from base.pipeline import Pipeline
from base.references import Rows, Snapshot

# Enough to tell two columns apart, and read in a moment.
_MOST_ROWS = 20_000


def find_likely_renames(
    snapshot: Snapshot, pipeline: Pipeline, artifacts: ArtifactStore, before: Rows | None
) -> tuple[str, ...]:
    """Say, for columns that the contract has and the data have not, which new columns they are likely called now.

    With rows that were good before, names, types and values are compared. Without, names and types are, and a column
    of categories is also told by holding no other ones: that is all that a contract says of values.
    """
    rules = {} if pipeline.contract is None else pipeline.contract.columns
    missing = [name for name, rule in rules.items() if name not in snapshot.columns and rule.personal != "drop"]
    new = [name for name in snapshot.columns if name not in rules]
    if not missing or not new or not snapshot.n_rows:
        return ()
    now = _profile(artifacts, snapshot.rows)
    earlier = None if before is None or not before.n_rows else _profile_earlier(artifacts, before)
    known = {} if earlier is None else {name: earlier.columns[name] for name in missing if name in earlier.columns}
    renames = find_renames(missing, new, known, now.columns)
    found = {rename.old for rename in renames} | {rename.new for rename in renames}
    told = [str(rename.as_change()) for rename in renames]
    for name in missing:
        if name not in found and name not in known:
            told += _by_categories(name, rules[name], [other for other in new if other not in found], now)
    return tuple(told)


def _profile(artifacts: ArtifactStore, rows: Rows) -> Profile:
    return profile_table(sample_rows(artifacts, rows, most_rows=_MOST_ROWS))


def _profile_earlier(artifacts: ArtifactStore, rows: Rows) -> Profile | None:
    try:
        return _profile(artifacts, rows)
    except ArtifactMissing:  # retention has deleted them meanwhile
        return None


def _by_categories(name: str, rule: ColumnRule, new: list[str], now: Profile) -> list[str]:
    if rule.categories is None:
        return []
    fitting = [other for other in new if now.columns[other].n_present and _keeps(rule, other, now)]
    if len(fitting) != 1:
        return []
    change = Change(
        kind="renamed column", column=name, now=repr(fitting[0]), detail="likely: no other holds these categories"
    )
    return [str(change)]


def _keeps(rule: ColumnRule, column: str, profile: Profile) -> bool:
    alone = Profile(n_rows=profile.n_rows, columns={column: profile.columns[column]})
    return not judge_profile(DataContract(columns={column: rule}), alone)
