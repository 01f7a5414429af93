"""Set bad rows aside: by position in their segments, and as rows of their own with all that they break."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from base.artifacts import Artifact, ArtifactStore
from base.contract import ExpectationRule
from base.expectations.asking import ExpectationResult
from base.references import Rows
from base.rows.reading import drop_positions, read_positions
from base.validation.judgement import SegmentJudgement
from base.validation.quarantine import add_quarantined, join_quarantined, store_quarantined
from tasks.judged_rows import (
    JudgedRows,
    Judgements,
    add_up,
    digest_segment,
    name_table,
    store_judgements,
    without_quarantined,
)

if TYPE_CHECKING:
    import duckdb

Broken = tuple[str | None, str | None, str]
"""The column, its value as text, and the reason."""


@dataclass(frozen=True)
class ExtraRows:
    """What was found beyond a segment's own checks: by segment and position, all that a row breaks.

    ``positions`` are those that no check had set aside; ``reasons`` count every row of the quarantine once.
    """

    found: dict[int, dict[int, list[Broken]]] = field(default_factory=dict)
    positions: dict[int, list[int]] = field(default_factory=dict)
    reasons: dict[str, int] = field(default_factory=dict)


def name_expectation(result: ExpectationResult) -> str:
    """Name an expectation of the contract's own list as a reason.

    Examples
    --------
    >>> name_expectation(ExpectationResult(type="expect_tips", arguments={"column": "tips"}, success=False))
    'expect_tips (tips) does not hold'
    """
    named = [result.arguments[key] for key in ("column", "column_A", "column_B") if key in result.arguments]
    named += result.arguments.get("column_list", [])
    columns = f" ({', '.join(map(str, named))})" if named else ""
    return f"{result.type}{columns} does not hold"


def list_extra(
    artifacts: ArtifactStore, judged: JudgedRows, failed: Sequence[tuple[ExpectationRule, ExpectationResult]]
) -> ExtraRows:
    """List the rows that repeat others, and those that break expectations of the contract's own list."""
    found: dict[int, dict[int, list[Broken]]] = defaultdict(lambda: defaultdict(list))
    for repeated in judged.duplicates:
        columns = repeated.key.columns
        name = columns[0] if len(columns) == 1 and not repeated.key.is_whole_row else None
        for segment, position, shown in repeated.rows:
            found[segment][position].append((name, shown, repeated.key.reason))
    for _rule, result in failed:
        column = result.arguments.get("column")
        for segment, position in result.rows:
            found[segment][position].append((column, None, name_expectation(result)))
    reasons = Counter(add_up([judgement.first_reasons for judgement in judged.judgements]))
    positions = {}
    for segment, rows in found.items():
        known = _positions(artifacts, judged.judgements[segment])
        positions[segment] = sorted(rows.keys() - known)
        reasons.update(rows[position][0][2] for position in positions[segment])
    return ExtraRows({segment: dict(rows) for segment, rows in found.items()}, positions, dict(reasons))


def set_aside(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, judged: JudgedRows, extra: ExtraRows
) -> tuple[Rows, Artifact | None, Artifact]:
    """Store the quarantined rows; return the good rows, the quarantined ones and the judgements to go on from."""
    judgements, parts = [], []
    for index, (segment, judgement) in enumerate(zip(judged.rows.segments, judged.judgements, strict=True)):
        stored = judgement.quarantined
        if judgement.positions is not None and stored is None:
            stored = store_quarantined(
                connection, artifacts, judged.select(index).sql, segment, table=name_table(index)
            )
        judgements.append(judgement.model_copy(update={"quarantined": stored}))
        if index in extra.found:
            stored = add_quarantined(
                connection, artifacts, judged.select(index).sql, segment, stored, extra.found[index]
            )
        if stored is not None:
            parts.append(stored)
    good = without_quarantined(judged.rows, judgements)
    segments = [
        drop_positions(artifacts, segment, extra.positions.get(index, ()))
        for index, segment in enumerate(good.segments)
    ]
    digests = [digest_segment(segment) for segment in judged.rows.segments]
    kept = Judgements(
        key=judged.key, segments=dict(zip(digests, judgements, strict=True)), duplicates=judged.duplicates
    )
    return (
        good.model_copy(update={"segments": tuple(segments)}),
        join_quarantined(connection, artifacts, parts),
        store_judgements(artifacts, kept),
    )


def _positions(artifacts: ArtifactStore, judgement: SegmentJudgement) -> set[int]:
    return set() if judgement.positions is None else set(read_positions(artifacts, judgement.positions).tolist())
