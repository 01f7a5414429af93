"""Data that are refused: what was found is kept for a person to look at, as a page and as the rows at fault."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

from base.artifacts import Artifact, ArtifactStore
from base.contract import ExpectationRule
from base.errors import DataRefused, Fault
from base.expectations.asking import ExpectationResult
from base.pipeline import Pipeline
from base.references import Rows, Snapshot, ValidatedData
from base.rows.duck import quote_text
from base.validation.judgement import list_broken
from base.validation.quarantine import REASON, add_quarantined, join_quarantined, store_quarantined
from tasks.judged_rows import JudgedRows, add_up, without_quarantined
from tasks.likely_renames import find_likely_renames
from tasks.row_quarantine import list_extra
from tasks.validation_page import list_rules, render_refused_columns, render_validation

if TYPE_CHECKING:
    import duckdb

Named = Sequence[tuple[ExpectationRule, ExpectationResult]]
# Of data that are wrong in every row, this many show what is wrong with them.
_MOST_ROWS = 100_000


class ValidationRefused(DataRefused):
    """Data that break their contract; the message names the page that was kept.

    Attributes
    ----------
    kept : ValidatedData
        The page and the rows at fault. Nothing of it is good to be learnt from.
    """

    def __init__(
        self, pipeline: str, faults: Sequence[Fault], way_out: str, *, kept: ValidatedData, artifacts: ArtifactStore
    ) -> None:
        self.kept = kept
        lines = [way_out]
        if kept.page is not None:
            lines.append(f"Validation page: {locate_file(artifacts, kept.page)}")
        if kept.quarantined is not None:
            lines.append(
                f"The {kept.n_quarantined:,} rows at fault are listed by `everfit data quarantine {pipeline}`."
            )
        super().__init__(f"the data of pipeline {pipeline!r}", faults, "\n  ".join(lines))


def locate_file(artifacts: ArtifactStore, artifact: Artifact) -> str:
    """Say where an artifact lies, as an address that a browser or fsspec opens."""
    url = artifacts.url
    return f"{url}/{artifact.key}" if "://" in url else f"file://{url}/{artifact.key}"


def refuse_columns(
    error: DataRefused, snapshot: Snapshot, pipeline: Pipeline, artifacts: ArtifactStore, before: Rows | None
) -> ValidationRefused:
    """Keep why the columns are refused, with the likely new names of those that are missing.

    Parameters
    ----------
    before : Rows, optional
        Rows of this pipeline that were good: a renamed column is told by its values.
    """
    renames = find_likely_renames(snapshot, pipeline, artifacts, before)
    page = render_refused_columns(pipeline, snapshot, error.faults, renames)
    kept = _keep(artifacts, page, error.faults, None, {}, n_rows=0)
    way_out = "\n  ".join([*renames, error.way_out])
    return ValidationRefused(pipeline.name, error.faults, way_out, kept=kept, artifacts=artifacts)


def refuse_rows(
    connection: duckdb.DuckDBPyConnection,
    snapshot: Snapshot,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    judged: JudgedRows,
    named: Named,
    faults: Sequence[Fault],
    way_out: str,
) -> ValidationRefused:
    """Keep why rows are refused: the page with every rule, and the rows that break one which is no mere warning."""
    aside = add_up([judgement.first_reasons for judgement in judged.judgements])
    good = without_quarantined(judged.rows, judged.judgements)
    page = render_validation(pipeline, snapshot, judged, list_rules(judged, named), aside, good, faults=faults)
    stored = _store_rows(connection, artifacts, judged, named)
    reasons = {} if stored is None else _count_reasons(connection, artifacts, stored)
    kept = _keep(artifacts, page, faults, stored, reasons, n_rows=judged.n_rows - sum(reasons.values()))
    return ValidationRefused(pipeline.name, faults, way_out, kept=kept, artifacts=artifacts)


def _keep(
    artifacts: ArtifactStore,
    page: str,
    faults: Sequence[Fault],
    quarantined: Artifact | None,
    reasons: dict[str, int],
    *,
    n_rows: int,
) -> ValidatedData:
    report = {"refused": [str(fault) for fault in faults], "quarantined": reasons}
    return ValidatedData(
        good=Rows(segments=()),
        n_rows=n_rows,
        quarantined=quarantined,
        reasons=reasons,
        report=artifacts.put_bytes(json.dumps(report).encode(), suffix=".json"),
        page=artifacts.put_bytes(page.encode(), suffix=".html"),
    )


def _store_rows(
    connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, judged: JudgedRows, named: Named
) -> Artifact | None:
    checks = [check for check in judged.checks if check.severity != "warn" and judged.broken[check.reason]]
    failed = [(rule, result) for rule, result in named if rule.severity != "warn" and not result.success]
    extra = list_extra(artifacts, judged, failed)
    parts, left = [], _MOST_ROWS
    for index, segment in enumerate(judged.rows.segments):
        if left <= 0:
            break
        stored, table = None, f"__refused_{index}"
        rows = judged.select(index).sql
        if checks:
            broken = " OR ".join(check.condition for check in checks)
            some = f"SELECT * FROM ({rows}) WHERE {broken} LIMIT {left}"
            if n_found := list_broken(connection, some, checks, table=table):
                stored = store_quarantined(connection, artifacts, rows, segment, table=table)
                left -= n_found
        if index in extra.found:
            found = dict(list(extra.found[index].items())[: max(left, 0)])
            stored = add_quarantined(connection, artifacts, rows, segment, stored, found)
            left -= len(found)
        if stored is not None:
            parts.append(stored)
    return join_quarantined(connection, artifacts, parts)


def _count_reasons(connection: duckdb.DuckDBPyConnection, artifacts: ArtifactStore, stored: Artifact) -> dict[str, int]:
    path = quote_text(artifacts.local_path(stored))
    query = f"SELECT {REASON}, count(*) FROM read_parquet({path}) GROUP BY ALL ORDER BY ALL"
    return dict(Counter(dict(connection.execute(query).fetchall())))
