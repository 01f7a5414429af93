"""A snapshot judged segment by segment: what was judged before by the same contract is taken over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

from base.artifacts import Artifact, ArtifactMissing, ArtifactStore
from base.contract import ColumnType, DataContract
from base.errors import Fault, nearest
from base.fingerprint import digest_document, digest_package
from base.pipeline import Pipeline
from base.references import Rows, Segment, Snapshot
from base.rows.duck import quote_name
from base.rows.reading import view_rows
from base.validation.checks import RowCheck, compile_checks
from base.validation.duplicates import Duplicates, Key, find_duplicates, keys_of
from base.validation.judgement import (
    N_EXAMPLES,
    SegmentJudgement,
    SelectedRows,
    TargetKind,
    judge_segment,
    select_segment,
)
from tasks.data_faults import find_schema_faults, find_target_faults, find_whole_number_faults, fits, refuse_if

if TYPE_CHECKING:
    import duckdb

_VIEW = "__good"
# What a stored judgement may list of rows that repeat others; beyond it they are looked for anew.
_MOST_KEPT = 100_000


@dataclass(frozen=True)
class JudgedRows:
    """A snapshot's rows, what its contract checks, and what was found: one judgement for each segment.

    ``types`` are those of the snapshot's columns, but of a column without any value what the contract says; ``select``
    writes the SELECT of the segment of an index, after its file was verified. ``unfit`` says why nothing can be learnt
    from these rows, whatever else was found, with the way out; ``duplicates`` were not looked for then.
    """

    rows: Rows
    types: dict[str, ColumnType]
    checks: tuple[RowCheck, ...]
    judgements: tuple[SegmentJudgement, ...]
    duplicates: tuple[Duplicates, ...]
    key: str
    select: Callable[[int], SelectedRows]
    unfit: tuple[tuple[Fault, ...], str] = ((), "")

    @property
    def n_rows(self) -> int:
        """How many rows were judged."""
        return sum(judgement.n_rows for judgement in self.judgements)

    @cached_property
    def broken(self) -> dict[str, int]:
        """By reason, how many rows break a rule."""
        return {check.reason: 0 for check in self.checks} | add_up([one.broken for one in self.judgements])

    @cached_property
    def nulls(self) -> dict[str, int]:
        """By column, how many rows have no value."""
        return add_up([one.nulls for one in self.judgements])

    @cached_property
    def examples(self) -> dict[str, tuple[str, ...]]:
        """By reason, a few values that break a rule, those of the oldest segments first."""
        return gather_examples(self.checks, self.judgements)


def judge_rows(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    before: Artifact | None,
) -> JudgedRows:
    """Judge the segments of a snapshot, but for those that *before* tells of.

    Raises
    ------
    DataRefused
        If a column is missing or of another type.
    """
    contract, spec = pipeline.contract, pipeline.spec
    segments = snapshot.rows.segments
    what = f"the data of pipeline {pipeline.name!r}"
    selects: dict[int, SelectedRows] = {}
    types = dict(snapshot.columns)

    def select(index: int) -> SelectedRows:
        if index not in selects:
            selects[index] = select_segment(connection, artifacts, segments[index], types)
        return selects[index]

    def first_value(name: str) -> str | None:
        for index in range(len(segments)):
            shown = f"SELECT left(CAST({quote_name(name)} AS VARCHAR), 60) AS v FROM ({select(index).sql})"
            if row := connection.execute(f"{shown} WHERE v IS NOT NULL LIMIT 1").fetchone():
                return str(row[0])
        return None

    refuse_if(
        what,
        find_schema_faults(contract, types, first_value),
        "Correct the source, or the contract if the change is meant.",
    )
    target = spec.target_column
    look = "Look at the target's column, or name another one in the definition."
    if target not in types:
        refuse_if(what, [Fault(target, f"no such column{nearest(target, types)}", "the target")], look)
    if retyped := _valueless(contract, types):
        types |= retyped
        selects.clear()
    checks = compile_checks(contract, types, needed={target, *([spec.time] if spec.time else [])})
    keys = keys_of(contract, list(types))
    looked_at = {name for check in checks for name in check.columns} | {name for key in keys for name in key.columns}
    used = {name: kind for name, kind in types.items() if name in looked_at}
    described = {
        "contract": None if contract is None else contract.model_dump(mode="json"),
        "definition": [target, spec.task, spec.time],
        "types": used,
        "code": [digest_package("base"), digest_package("tasks")],
    }
    found = read_judgements(artifacts, before, key=digest_document(described))
    digests = [digest_segment(segment) for segment in segments]
    kind = TargetKind(types[target], spec.task == "classification")
    judgements = tuple(
        known
        if (known := found.segments.get(digest)) is not None and _is_kept(artifacts, known)
        else judge_segment(
            connection,
            artifacts,
            select(index),
            checks,
            table=name_table(index),
            also={name for key in keys if not key.is_whole_row for name in key.columns},
            target=target,
            kind=kind,
        )
        for index, digest in enumerate(digests)
    )

    def count_classes() -> int:
        union = " UNION ALL ".join(
            f"SELECT {quote_name(target)} AS v FROM ({select(i).sql})" for i in range(len(segments))
        )
        row = connection.execute(f"SELECT count(DISTINCT v) FROM ({union})").fetchone()
        return 0 if row is None else int(row[0])

    broken = add_up([judgement.broken for judgement in judgements])
    unfit = (
        tuple(find_whole_number_faults(checks, broken, gather_examples(checks, judgements))),
        "Correct the source, or the contract if the change is meant.",
    )
    if not unfit[0]:
        unfit = (tuple(find_target_faults(pipeline, types, judgements, count_classes)), look)
    good = without_quarantined(snapshot.rows, judgements)
    duplicates = () if unfit[0] else _compare(connection, artifacts, good, contract, keys, digests, found)
    return JudgedRows(snapshot.rows, types, checks, judgements, duplicates, found.key, select, unfit)


class Judgements(BaseModel):
    """What was found in each segment, by the segment's digest, in their order, and which rows repeat others.

    ``key`` names all that the findings depend on beside the rows.
    """

    model_config = ConfigDict(frozen=True)

    key: str
    segments: dict[str, SegmentJudgement]
    duplicates: tuple[Duplicates, ...] | None = ()


def read_judgements(artifacts: ArtifactStore, artifact: Artifact | None, *, key: str) -> Judgements:
    """Read what an earlier run has found; nothing, if that depends on something else or is gone."""
    nothing = Judgements(key=key, segments={})
    if artifact is None:
        return nothing
    try:
        found = Judgements.model_validate_json(artifacts.read_bytes(artifact))
    except (ArtifactMissing, ValidationError):
        return nothing
    return found if found.key == key else nothing


def store_judgements(artifacts: ArtifactStore, judgements: Judgements) -> Artifact:
    """Store what was found."""
    duplicates = judgements.duplicates
    if duplicates is not None and sum(len(found.rows) for found in duplicates) > _MOST_KEPT:
        judgements = judgements.model_copy(update={"duplicates": None})
    return artifacts.put_bytes(judgements.model_dump_json().encode(), suffix=".json")


def _is_kept(artifacts: ArtifactStore, judgement: SegmentJudgement) -> bool:
    """Tell whether a segment's judgement can be taken over: its files are there."""
    return all(file is None or file in artifacts for file in (judgement.positions, judgement.quarantined))


def name_table(index: int) -> str:
    """Name the temporary table of what is broken in the segment of an index."""
    return f"__broken_{index}"


def digest_segment(segment: Segment) -> str:
    """Name a segment by its file and the rows that count."""
    return digest_document(segment.model_dump(mode="json", exclude={"first", "last"}))


def without_quarantined(rows: Rows, judgements: Sequence[SegmentJudgement]) -> Rows:
    """Drop the positions that were set aside from each segment; no file is written."""
    segments = []
    for segment, judgement in zip(rows.segments, judgements, strict=True):
        if judgement.positions is None:
            segments.append(segment)
            continue
        n_dropped = segment.n_dropped + sum(judgement.first_reasons.values())
        dropped = (*segment.dropped, judgement.positions)
        segments.append(segment.model_copy(update={"dropped": dropped, "n_dropped": n_dropped}))
    return rows.model_copy(update={"segments": tuple(segments)})


def _compare(
    connection: duckdb.DuckDBPyConnection,
    artifacts: ArtifactStore,
    good: Rows,
    contract: DataContract | None,
    keys: Sequence[Key],
    digests: Sequence[str],
    before: Judgements,
) -> tuple[Duplicates, ...]:
    """Find what repeats among the good rows; only new segments are compared where the others are as they were."""
    if contract is None or not keys:
        return ()
    known = list(before.segments)
    is_longer = before.duplicates is not None and known == list(digests[: len(known)])
    earlier = {found.key: found for found in before.duplicates or ()} if is_longer else {}
    if len(known) == len(digests) and earlier.keys() >= set(keys):
        return tuple(earlier[key] for key in keys)
    view_rows(connection, artifacts, good, name=_VIEW)
    return tuple(
        find_duplicates(
            connection,
            _VIEW,
            key,
            contract.columns,
            before=earlier.get(key),
            first_new=len(known) if key in earlier else 0,
        )
        for key in keys
    )


def _valueless(contract: DataContract | None, types: Mapping[str, ColumnType]) -> dict[str, ColumnType]:
    """Give the contract's types to columns that have another one, which can only be those without any value."""
    rules = {} if contract is None else contract.columns
    return {
        name: rule.type
        for name, rule in rules.items()
        if name in types and rule.personal is None and not fits(types[name], rule.type)
    }


def add_up(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    """Add up what was counted in each segment.

    Examples
    --------
    >>> add_up([{"age is null": 1}, {"age is null": 2, "age is below 0": 1}])
    {'age is null': 3, 'age is below 0': 1}
    """
    total: Counter[str] = Counter()
    for count in counts:
        total.update(count)
    return dict(total)


def gather_examples(checks: Sequence[RowCheck], judgements: Sequence[SegmentJudgement]) -> dict[str, tuple[str, ...]]:
    """Gather a few examples of each reason, those of the oldest segments first."""
    found = {}
    for check in checks:
        values = [value for judgement in judgements for value in judgement.examples.get(check.reason, ())]
        if values:
            found[check.reason] = tuple(dict.fromkeys(values))[:N_EXAMPLES]
    return found
