"""`everfit data diff`: what differs between two snapshots."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.validation.checks import MASK
from console.installation import open_registry, read_settings
from console.plots import as_json_value, show_number, show_share, show_value
from console.snapshot_names import SHOWN_DIGITS, declared_key, name_pipeline, personal_columns, resolve_snapshot

if TYPE_CHECKING:
    from base.changes.profiles import ColumnProfile
    from console.output import Output
    from features.snapshot_changes import ColumnMove, SnapshotChanges

_MOST_MOVES = 15


def diff_command(pipeline: str, before: str, after: str, *, key: list[str], html: str | None, output: Output) -> None:
    """Compare two snapshots of a pipeline; the values of personal columns are masked.

    Raises
    ------
    ArgumentError
        If there is no such pipeline, snapshot or key column, or the page's folder is not there.
    """
    from features.snapshot_changes import compare_snapshots
    from registry.snapshots import read_snapshot

    page = None if html is None else Path(html).absolute()
    if page is not None and not page.parent.is_dir():
        raise ArgumentError(f"--html names folder {str(page.parent)!r}, which is not there; make it first")
    registry = open_registry(read_settings())
    name = name_pipeline(registry, pipeline)
    with registry.database.read() as session:
        rows = [resolve_snapshot(session, name, digest) for digest in (before, after)]
    one, other = map(read_snapshot, rows)
    if not key:
        common = one.columns.keys() & other.columns.keys()
        key = [column for column in declared_key(registry, name) if column in common]
        key = key if len(key) == len(declared_key(registry, name)) else []
    personal = personal_columns(registry, name)
    changes = compare_snapshots(registry.artifacts, one, other, key=key)
    document = {"pipeline": name, "before": rows[0].digest, "after": rows[1].digest} | _as_json(changes, personal)
    if page is not None:
        from base.atomic_files import write_atomically
        from console.diff_page import render_diff

        title = f"{name}: {rows[0].digest[:SHOWN_DIGITS]} → {rows[1].digest[:SHOWN_DIGITS]}"
        made = " → ".join(f"{row.created_at:%Y-%m-%d %H:%M}" for row in rows)
        content = render_diff(title, f"Two snapshots, made {made} UTC", changes, document, personal)
        write_atomically(page, content.encode())
        document["page"] = str(page)
    _say(document, changes, personal, output)
    output.result(document)


def describe_column(profile: ColumnProfile, *, is_personal: bool) -> str:
    """Say in a few figures what a column holds."""
    parts = []
    if profile.null_share:
        parts.append(f"{show_share(profile.null_share)} missing")
    if is_personal:
        parts.append(f"{profile.n_distinct:,} values, personal")
    elif profile.type in ("text", "boolean"):
        present = max(1, profile.n_present)
        parts += [f"{_cut(item.value)} {show_share(item.n / present)}" for item in profile.top[:2]]
        if profile.n_distinct > 2:
            parts.append(f"{profile.n_distinct:,} values")
    elif profile.quantiles:
        median = profile.quantiles[len(profile.quantiles) // 2]
        median = round(median) if profile.type == "integer" else median
        parts.append(f"median {show_value(median, profile.type)}")
        if profile.type != "time" and isinstance(profile.minimum, float):
            parts.append(f"{show_number(profile.minimum)} to {show_number(float(profile.maximum or 0))}")
    return ", ".join(parts) or "no value"


def _as_json(changes: SnapshotChanges, personal: frozenset[str]) -> dict[str, Any]:
    from base.documents import as_document

    rows = changes.rows

    def shown(name: str, value: Any) -> Any:
        return MASK if name in personal and value is not None else as_document(value)

    return {
        "rows_before": changes.n_before,
        "rows_after": changes.n_after,
        "key": list(rows.key),
        "added": rows.n_added,
        "removed": rows.n_removed,
        "changed": rows.n_changed,
        "unchanged": rows.n_unchanged,
        "changed_in": rows.changed_in,
        "examples": [
            {
                "key": {name: shown(name, value) for name, value in example.key.items()},
                "column": example.column,
                "before": shown(example.column, example.before),
                "after": shown(example.column, example.after),
            }
            for example in rows.examples
        ],
        "schema": [vars(change) for change in changes.schema],
        "columns": [
            {
                "column": move.column,
                "distance": as_json_value(move.distance),
                "distance_of_new_rows": as_json_value(move.distance_new),
                "is_moved": move.is_moved,
                "before": describe_column(move.before, is_personal=move.column in personal),
                "after": describe_column(move.after, is_personal=move.column in personal),
            }
            for move in changes.moves
        ],
    }


def _say(document: dict[str, Any], changes: SnapshotChanges, personal: frozenset[str], output: Output) -> None:
    rows = changes.rows
    output.say(
        f"{document['pipeline']} {document['before'][:SHOWN_DIGITS]} → {document['after'][:SHOWN_DIGITS]}: "
        f"{changes.n_before:,} → {changes.n_after:,} rows"
    )
    found = [f"{rows.n_added:,} added", f"{rows.n_removed:,} removed"]
    if rows.n_changed is not None:
        found.append(f"{rows.n_changed:,} changed")
    by = f"by {', '.join(rows.key)}" if rows.key else "by their whole content: without a key, a change is both"
    output.say(f"{', '.join(found)}, {rows.n_unchanged:,} the same ({by})")
    if rows.changed_in:
        output.say("changed in " + ", ".join(f"{name} ({count:,})" for name, count in rows.changed_in.items()))
    for example in document["examples"]:
        key = ", ".join(f"{name} {value}" for name, value in example["key"].items())
        output.say(f"  {key}: {example['column']} {_cut(example['before'])} → {_cut(example['after'])}")
    for change in changes.schema:
        output.say(f"column {change.column}: {_describe_schema_change(change.before, change.after)}")
    moved = [move for move in changes.moves if move.is_moved]
    if not moved:
        output.say("no column has moved")
    else:
        output.say()
        output.table(
            ["moved column", "distance", "in new rows", "before", "after"],
            [_cells(move, personal) for move in moved[:_MOST_MOVES]],
        )
        if len(moved) > _MOST_MOVES:
            output.say(f"and {len(moved) - _MOST_MOVES} more; --html or --json show all")
    if "page" in document:
        output.say(f"page: {document['page']}")


def _describe_schema_change(before: str | None, after: str | None) -> str:
    if before is None:
        return f"new ({after})"
    return f"gone (was {before})" if after is None else f"{before} → {after}"


def _cells(move: ColumnMove, personal: frozenset[str]) -> list[str]:
    is_personal = move.column in personal
    sides = [describe_column(profile, is_personal=is_personal) for profile in (move.before, move.after)]
    return [move.column, f"{move.distance:.2f}", f"{move.distance_new:.2f}", *sides]


def _cut(value: object) -> str:
    text = "null" if value is None else str(value)
    return text if len(text) <= 30 else f"{text[:30]}…"
