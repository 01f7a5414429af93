"""`everfit data quarantine`: the rows that a run set aside, each with what is wrong with it."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.validation.checks import MASK
from console.installation import open_registry, read_settings
from console.snapshot_names import name_pipeline, personal_columns

if TYPE_CHECKING:
    import duckdb

    from base.artifacts import Artifact
    from console.output import Output
    from registry.store import Registry
    from registry.tables import StepExecution

_STEP, _REFUSED = "validate_data", "validate_data refused"
_FORMATS = {
    ".csv": "FORMAT csv, HEADER",
    ".jsonl": "FORMAT json",
    ".parquet": "FORMAT parquet, COMPRESSION zstd",
}
_VIEW = "quarantined"


def quarantine_command(
    pipeline: str, *, run: str | None, reason: str | None, limit: int, output_file: str | None, output: Output
) -> None:
    """Count the quarantined rows by reason, and list them; the values of personal columns are masked.

    Raises
    ------
    ArgumentError
        If there is no such pipeline or run, or the file's format is unknown.
    ArtifactMissing
        If retention has deleted the run's quarantine.
    """
    from base.references import ValidatedData
    from base.rows.duck import open_duckdb, quote_text

    target = None if output_file is None else Path(output_file)
    if target is not None and target.suffix.lower() not in _FORMATS:
        raise ArgumentError(f"--output is {output_file!r}, expected a name that ends with {', '.join(_FORMATS)}")
    registry = open_registry(read_settings())
    name = name_pipeline(registry, pipeline)
    step = _find_validation(registry, name, run)
    validated = ValidatedData.model_validate(step.output)
    document: dict[str, Any] = {
        "pipeline": name,
        "run": step.run_id,
        "refused": step.step == _REFUSED,
        "page": None if validated.page is None else _locate(registry, validated.page),
        "rows": validated.n_rows,
        "quarantined": validated.n_quarantined,
        "reasons": validated.reasons,
        "matching": 0,
        "output": None,
        "shown": [],
    }
    if validated.quarantined is not None:
        personal = personal_columns(registry, name)
        with open_duckdb() as connection:
            path = quote_text(registry.artifacts.local_path(validated.quarantined))
            connection.execute(f"CREATE VIEW stored AS FROM read_parquet({path}, file_row_number = true)")
            _create_view(connection, personal, reason)
            ((document["matching"],),) = connection.execute(f"SELECT count(*) FROM {_VIEW}").fetchall()
            document["shown"] = _list_rows(connection, reason, limit)
            if target is not None:
                _write(connection, target)
                document["output"] = str(target)
    _say(document, reason, output)
    output.result(document)


def _locate(registry: Registry, page: Artifact) -> str:
    url = registry.artifacts.url
    return f"{url}/{page.key}" if "://" in url else f"file://{url}/{page.key}"


def _find_validation(registry: Registry, pipeline: str, run: str | None) -> StepExecution:
    from sqlmodel import col, select

    from registry.tables import StepExecution

    is_judged = col(StepExecution.step).in_([_STEP, _REFUSED])
    query = select(StepExecution).where(StepExecution.pipeline == pipeline, is_judged)
    if run is not None:
        query = query.where(col(StepExecution.run_id).startswith(run, autoescape=True))
    with registry.database.read() as session:
        steps = list(session.exec(query.order_by(col(StepExecution.id).desc()).limit(50)))
    runs = list(dict.fromkeys(step.run_id for step in steps))
    if not runs:
        which = "no run" if run is None else f"no run {run!r}"
        raise ArgumentError(
            f"pipeline {pipeline!r} has {which} that has validated data; `everfit train {pipeline}` makes one"
        )
    if run is not None and len(runs) > 1:
        raise ArgumentError(f"run {run!r} may be {', '.join(runs[:5])}; give more of its name")
    return steps[0]


def _create_view(connection: duckdb.DuckDBPyConnection, personal: frozenset[str], reason: str | None) -> None:
    """Make the view of the matching rows, whichever version of Everfit has stored them."""
    from base.rows.duck import quote_name, quote_text
    from base.validation.quarantine import BROKEN, FILE, POSITION, REASON

    names = [row[0] for row in connection.execute("DESCRIBE stored").fetchall()]
    masked = ", ".join(
        f"CASE WHEN {quote_name(name)} IS NULL THEN NULL ELSE {quote_text(MASK)} END AS {quote_name(name)}"
        for name in names
        if name in personal
    )
    hidden = quote_text(MASK)
    no_list = 'NULL::STRUCT("column" VARCHAR, "value" VARCHAR, reason VARCHAR)[]'
    people = f"[{', '.join(map(quote_text, sorted(personal)))}]::VARCHAR[]"
    broken = (
        f'list_transform({BROKEN}, lambda entry: struct_pack("column" := entry."column", "value" := CASE WHEN '
        f'list_contains({people}, entry."column") AND entry."value" IS NOT NULL THEN {hidden} '
        f'ELSE entry."value" END, reason := entry.reason))'
        if BROKEN in names
        else no_list
    )
    place = POSITION if POSITION in names else "file_row_number"
    file = FILE if FILE in names else "NULL::VARCHAR"
    own = ", ".join(name for name in (BROKEN, FILE, POSITION, "file_row_number") if name in names)
    replaced = f" REPLACE ({masked})" if masked else ""
    texts = f"list_concat([{REASON}], coalesce(list_transform({broken}, lambda entry: entry.reason), []))"
    sought = quote_text((reason or "").lower())
    wanted = (
        "true"
        if reason is None
        else f"list_bool_or(list_transform({texts}, lambda found: contains(lower(found), {sought})))"
    )
    connection.execute(
        f"CREATE VIEW {_VIEW} AS SELECT * EXCLUDE ({own}){replaced}, {broken} AS {BROKEN}, {file} AS {FILE}, "
        f"{place} AS {POSITION} FROM stored WHERE {wanted} ORDER BY file_row_number"
    )


def _list_rows(connection: duckdb.DuckDBPyConnection, reason: str | None, limit: int) -> list[dict[str, Any]]:
    """List each broken rule of the first rows: the row, the column, the value and the reason."""
    from base.validation.quarantine import BROKEN, FILE, POSITION, REASON

    query = f"SELECT {FILE}, {POSITION}, {REASON}, {BROKEN} FROM {_VIEW} LIMIT {int(limit)}"
    listed = []
    for file, position, first, broken in connection.execute(query).fetchall():
        entries = broken or [{"column": None, "value": None, "reason": first}]
        for entry in entries:
            if reason is None or reason.lower() in str(entry["reason"]).lower():
                listed.append({"segment": file, "row": position, **entry})
    return listed


def _write(connection: duckdb.DuckDBPyConnection, target: Path) -> None:
    from base.rows.duck import quote_text
    from base.validation.quarantine import BROKEN

    kind = target.suffix.lower()
    # A CSV cell holds no list.
    query = (
        f"SELECT * REPLACE (to_json({BROKEN})::VARCHAR AS {BROKEN}) FROM {_VIEW}" if kind == ".csv" else f"FROM {_VIEW}"
    )
    target = target.absolute()
    if not target.parent.is_dir():
        raise ArgumentError(f"--output names folder {str(target.parent)!r}, which is not there; make it first")
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".everfit-") as folder:
        file = Path(folder, f"rows{kind}")
        connection.execute(f"COPY ({query}) TO {quote_text(file)} ({_FORMATS[kind]})")
        file.replace(target)


def _say(document: dict[str, Any], reason: str | None, output: Output) -> None:
    place = f"{document['pipeline']}, run {document['run']}"
    if document["refused"]:
        output.say(f"{place}: refused; {document['quarantined']:,} rows are at fault")
    else:
        output.say(f"{place}: {document['quarantined']:,} rows set aside, {document['rows']:,} good")
    if document["page"] is not None:
        output.say(f"validation page: {document['page']}")
    if not document["reasons"]:
        return
    by_count = sorted(document["reasons"].items(), key=lambda item: -item[1])
    output.table(["rows", "first reason"], [[f"{count:,}", text] for text, count in by_count])
    if reason is not None:
        output.say(f"{document['matching']:,} rows have a reason with {reason!r} in it")
    if document["shown"]:
        output.say()
        output.table(
            ["segment", "row", "column", "value", "reason"],
            [
                [
                    (entry["segment"] or "")[:8],
                    entry["row"],
                    entry["column"] or "",
                    "null" if entry["column"] and entry["value"] is None else entry["value"] or "",
                    entry["reason"],
                ]
                for entry in document["shown"]
            ],
        )
    if document["output"]:
        output.say(f"{document['matching']:,} rows written to {document['output']}")
