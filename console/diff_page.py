"""The page of a comparison: what differs between two snapshots, with small plots."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import TYPE_CHECKING, Any

from base.pages import cards, page, section, table
from console.plots import STYLE, draw_move, show_share

if TYPE_CHECKING:
    from features.snapshot_changes import ColumnMove, SnapshotChanges

_STYLE = """
body { max-width: 1080px } .card { flex-basis: 150px }
.moves { display: grid; grid-template-columns: repeat(auto-fill, minmax(320px, 1fr)); gap: 18px 26px }
.move { border: 1px solid var(--rule); border-radius: 8px; padding: .8em 1em; background: var(--card);
        break-inside: avoid }
.move h3 { margin: 0 0 .1em; font-size: 1.02em; overflow-wrap: anywhere }
.move p { margin: .1em 0 .6em; font-size: .87em }
.key { display: flex; gap: 1.6em; font-size: .87em; margin: 0 0 1em }
.key i { display: inline-block; width: 1.4em; height: .75em; margin-right: .4em; vertical-align: -.05em }
.key .then { border: 1.5px solid var(--soft) } .key .now { background: var(--accent); opacity: .55 }
"""
_MOST_PLOTS = 24


def render_diff(
    title: str, lead: str, changes: SnapshotChanges, document: Mapping[str, Any], personal: frozenset[str]
) -> str:
    """Write the page of a comparison; *document* is what the command prints as JSON."""
    rows = changes.rows
    moved = [move for move in changes.moves if move.is_moved]
    figures = [
        ("rows", f"{changes.n_after:,}", f"before: {changes.n_before:,}", "accent"),
        ("added", f"{rows.n_added:,}", _share_of(rows.n_added, changes.n_after), "good"),
        ("removed", f"{rows.n_removed:,}", _share_of(rows.n_removed, changes.n_before), "bad"),
    ]
    if rows.n_changed is not None:
        figures.append(("changed", f"{rows.n_changed:,}", f"by {', '.join(rows.key)}", "warn"))
    figures.append(("columns moved", f"{len(moved)}", f"of {len(changes.moves)}", "accent"))
    parts = [
        f"<h1>{escape(title)}</h1><p class='lead soft'>{escape(lead)}</p>",
        cards(figures),
        section("Columns", _schema(changes)) if changes.schema else "",
        section("Rows that changed", _changed(document)) if document["examples"] else "",
        section("Columns that moved", _moves(moved, document, personal)) if moved else "",
        section("All columns", _distances(document)),
        "<p class=soft>The distance is Jensen and Shannon's, between 0 (the same) and 1 (nothing in common), less what "
        "chance explains; a missing value counts as a value. A column counts as moved from 0.1 on.</p>",
    ]
    return page(title, "".join(parts), style=STYLE + _STYLE)


def _share_of(part: int, whole: int) -> str:
    return f"{show_share(part / whole)} of the rows" if whole else ""


def _schema(changes: SnapshotChanges) -> str:
    return table(
        ["column", "before", "after"],
        [
            [
                f"<b>{escape(change.column)}</b>",
                change.before or "<span class=good>new</span>",
                change.after or "<span class=bad>gone</span>",
            ]
            for change in changes.schema
        ],
        n_texts=3,
    )


def _changed(document: Mapping[str, Any]) -> str:
    counted = table(
        ["column", "rows changed"], [[escape(name), f"{count:,}"] for name, count in document["changed_in"].items()]
    )
    shown = table(
        [*document["key"], "column", "before", "after"],
        [
            [
                *(escape(str(value)) for value in example["key"].values()),
                escape(example["column"]),
                escape(str(example["before"])),
                escape(str(example["after"])),
            ]
            for example in document["examples"]
        ],
        n_texts=len(document["key"]) + 3,
    )
    return f"{counted}<p class=soft>Such as</p>{shown}"


def _moves(moved: list[ColumnMove], document: Mapping[str, Any], personal: frozenset[str]) -> str:
    figures = {column["column"]: column for column in document["columns"]}
    key = "<p class=key><span><i class=then></i>before</span><span><i class=now></i>after</span></p>"
    boxes = []
    for move in moved[:_MOST_PLOTS]:
        own = figures[move.column]
        is_personal = move.column in personal
        plot = "<p class=soft>personal: not drawn</p>" if is_personal else draw_move(move.drawn, *move.drawn_counts)
        boxes.append(
            f"<div class=move><h3>{escape(move.column)}</h3><p class=soft>distance {move.distance:.2f}, in the new "
            f"rows {move.distance_new:.2f}</p>{plot}<p><span class=soft>before</span> {escape(own['before'])}<br>"
            f"<span class=soft>after</span> {escape(own['after'])}</p></div>"
        )
    rest = len(moved) - _MOST_PLOTS
    more = f"<p class=soft>and {rest} more in the table below</p>" if rest > 0 else ""
    return f"{key}<div class=moves>{''.join(boxes)}</div>{more}"


def _distances(document: Mapping[str, Any]) -> str:
    return table(
        ["column", "before", "after", "distance", "in new rows"],
        [
            [
                f"<b>{escape(column['column'])}</b>" if column["is_moved"] else escape(column["column"]),
                escape(column["before"]),
                escape(column["after"]),
                *(
                    "–" if column[name] is None else f"{column[name]:.2f}"
                    for name in ("distance", "distance_of_new_rows")
                ),
            ]
            for column in document["columns"]
        ],
        n_texts=3,
    )
