"""`everfit data show`: what one snapshot holds."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from base.validation.checks import MASK
from console.data_snapshots import describe_snapshot, find_uses, show_bytes, show_minute
from console.installation import open_registry, read_settings
from console.snapshot_names import SHOWN_DIGITS, name_pipeline, personal_columns, resolve_snapshot

if TYPE_CHECKING:
    from base.changes.profiles import ColumnProfile, Profile
    from base.references import Segment, Snapshot
    from base.settings import Settings
    from console.output import Output
    from registry.store import Registry
    from registry.tables import SnapshotRow

_SECRET_NAME = re.compile(r"token|secret|password|passwd|credential|api_?key|private", re.IGNORECASE)
_MOST_SEGMENTS = 12


def show_command(pipeline: str, digest: str, *, n_rows: int, output: Output) -> None:
    """Show what a snapshot holds; the values of personal columns are masked.

    Raises
    ------
    ArgumentError
        If there is no such pipeline or snapshot, or its files were deleted.
    """
    from base.changes.profiles import profile_view
    from base.rows.duck import open_duckdb
    from base.rows.reading import view_rows
    from registry.snapshots import read_snapshot

    settings = read_settings()
    registry = open_registry(settings)
    name = name_pipeline(registry, pipeline)
    with registry.database.read() as session:
        row = resolve_snapshot(session, name, digest)
    snapshot = read_snapshot(row)
    personal = personal_columns(registry, name)
    with open_duckdb() as connection:
        view_rows(connection, registry.artifacts, snapshot.rows)
        profile = profile_view(connection, "rows", types=snapshot.columns)
        shown = _first_rows(connection, snapshot, personal, n_rows)
    document = describe_snapshot(row, find_uses(registry).get((name, row.digest), [])) | {
        "run": row.run_id,
        "time": snapshot.time,
        # What it knows of each segment's columns is of use to the next extraction only.
        "state": _without_secrets({name: row.state[name] for name in row.state if name != "segments"}, settings),
        "columns": [_describe_column(profile, column, personal) for column in profile.columns],
        "segments": [_describe_segment(segment) for segment in snapshot.rows.segments],
        "parents": _trace_parents(registry, row),
        "first_rows": shown,
    }
    _say_snapshot(document, output)
    output.result(document)


def _describe_column(profile: Profile, name: str, personal: frozenset[str]) -> dict[str, Any]:
    column = profile.columns[name]
    is_personal = name in personal
    minimum, maximum = _ends(column)
    return {
        "column": name,
        "type": column.type,
        "missing_share": column.null_share,
        "distinct": column.n_distinct,
        "is_distinct_exact": column.is_counted,
        "minimum": MASK if is_personal else minimum,
        "maximum": MASK if is_personal else maximum,
        "is_personal": is_personal,
    }


def _ends(column: ColumnProfile) -> tuple[Any, Any]:
    if column.type == "text":  # the profile's ends of a text are those of its length
        values = sorted(column.categories or ())
        return (values[0], values[-1]) if values else (None, None)
    if column.type == "boolean":
        return column.minimum == 1, column.maximum == 1
    return column.minimum, column.maximum


def _describe_segment(segment: Segment) -> dict[str, Any]:
    return {
        "file": segment.artifact.key,
        "rows": segment.n_stored - segment.n_dropped,
        "dropped": segment.n_dropped,
        "first": None if segment.first is None else segment.first.isoformat(),
        "last": None if segment.last is None else segment.last.isoformat(),
        "bytes": segment.artifact.size_bytes,
    }


def _trace_parents(registry: Registry, row: SnapshotRow) -> list[dict[str, Any]]:
    from registry.snapshots import list_snapshots

    with registry.database.read() as session:
        known = {found.digest: found for found in list_snapshots(session, row.pipeline)}
    parents: list[dict[str, Any]] = []
    digest = row.parent
    # A snapshot may come back to the content of an earlier one.
    while digest is not None and digest not in [parent["digest"] for parent in parents]:
        found = known.get(digest)
        is_deleted = found is None or found.deleted_at is not None
        parents.append({"digest": digest, "rows": None if found is None else found.n_rows, "is_deleted": is_deleted})
        digest = None if found is None else found.parent
    return parents


def _first_rows(connection: Any, snapshot: Snapshot, personal: frozenset[str], n_rows: int) -> list[dict[str, Any]]:
    from base.documents import as_document
    from base.rows.duck import quote_name
    from base.rows.reading import POSITION, SEGMENT

    if n_rows == 0:
        return []
    order = [*([quote_name(snapshot.time)] if snapshot.time else []), SEGMENT, POSITION]
    query = f"SELECT * EXCLUDE ({SEGMENT}, {POSITION}) FROM rows ORDER BY {', '.join(order)} LIMIT {int(n_rows)}"
    table = connection.sql(query).to_arrow_table()
    return [
        {name: MASK if name in personal and value is not None else as_document(value) for name, value in record.items()}
        for record in table.to_pylist()
    ]


def _without_secrets(value: Any, settings: Settings) -> Any:
    from base.masking import mask_secrets

    if isinstance(value, dict):
        return {
            name: "***" if _SECRET_NAME.search(str(name)) else _without_secrets(item, settings)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_without_secrets(item, settings) for item in value]
    return mask_secrets(value, settings) if isinstance(value, str) else value


def _say_snapshot(document: dict[str, Any], output: Output) -> None:
    output.say(
        f"{document['pipeline']}@{document['digest'][:SHOWN_DIGITS]}, made {show_minute(document['made_at'])} UTC"
    )
    span = f", {show_minute(document['first'])} to {show_minute(document['last'])}" if document["first"] else ""
    n_segments = len(document["segments"])
    output.say(
        f"{document['rows']:,} rows ({document['new_rows']:,} new){span}; "
        f"{show_bytes(document['bytes'])} in {n_segments} segment{'' if n_segments == 1 else 's'}"
    )
    for use in document["used_by"]:
        output.say(f"used by {use}")
    for parent in document["parents"][:_MOST_SEGMENTS]:
        rows = "unknown" if parent["rows"] is None else f"{parent['rows']:,} rows"
        output.say(
            f"grown from {parent['digest'][:SHOWN_DIGITS]} ({rows}{', deleted' if parent['is_deleted'] else ''})"
        )
    for name, value in document["state"].items():
        output.say(f"source's {name}: {value}")
    output.say()
    output.table(
        ["column", "type", "missing", "distinct", "minimum", "maximum"],
        [
            [
                column["column"],
                column["type"],
                f"{column['missing_share']:.1%}",
                f"{'' if column['is_distinct_exact'] else '≈ '}{column['distinct']:,}",
                _show(column["minimum"]),
                _show(column["maximum"]),
            ]
            for column in document["columns"]
        ],
    )
    if n_segments > 1 or any(segment["dropped"] for segment in document["segments"]):
        output.say()
        _say_segments(document["segments"], output)
    if document["first_rows"]:
        output.say()
        names = [column["column"] for column in document["columns"]]
        output.table(names, [[_show(record[name]) for name in names] for record in document["first_rows"]])


def _say_segments(segments: list[dict[str, Any]], output: Output) -> None:
    output.table(
        ["segment", "rows", "dropped", "first", "last", "size"],
        [
            [
                segment["file"].rpartition("/")[2][:SHOWN_DIGITS],
                f"{segment['rows']:,}",
                f"{segment['dropped']:,}",
                show_minute(segment["first"]),
                show_minute(segment["last"]),
                show_bytes(segment["bytes"]),
            ]
            for segment in segments[-_MOST_SEGMENTS:]
        ],
    )
    if len(segments) > _MOST_SEGMENTS:
        output.say(f"and {len(segments) - _MOST_SEGMENTS} older segments; --json lists all")


def _show(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    text = "" if value is None else str(value)
    return text if len(text) <= 40 else f"{text[:40]}…"
