"""`everfit watch`: what the watches see, what is due, and what the arbiter said."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, nearest
from base.times import utc_now
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from monitoring.watches.watching import Watched


def watch_command(names: Sequence[str], *, output: Output) -> None:
    """Watch pipelines once, as the dispatcher does every EVERFIT_WATCH_SECONDS.

    Raises
    ------
    ArgumentError
        If one of *names* is not registered.
    """
    settings = read_settings()
    registry = open_registry(settings)
    from monitoring.watches.watching import watch_all
    from registry.pipelines import list_pipelines

    with registry.database.read() as session:
        known = list_pipelines(session)
    if unknown := [name for name in names if name not in known]:
        raise ArgumentError(
            f"there is no pipeline {unknown[0]!r}; registered are {', '.join(known) or 'none'}"
            f"{nearest(unknown[0], known)}"
        )
    found = watch_all(registry, settings, utc_now(), names=list(names) or None)
    output.table(["pipeline", "what", "seen"], [row for watched in found for row in _rows(watched)])
    for watched in found:
        for due, taken in zip(watched.due, watched.taken, strict=True):
            told = "" if taken.is_new else " (as before)"
            output.say(f"{watched.pipeline}: {due.reason} → {taken.outcome}{told}: {taken.reason}")
        if watched.trouble:
            output.warn(f"{watched.pipeline}: {watched.trouble}")
    output.result({"pipelines": [_document(watched) for watched in found]})


def _rows(watched: Watched) -> list[list[str]]:
    seen = watched.seen
    if seen is None:
        return [[watched.pipeline, "not seen", watched.trouble]]
    if seen.champion is None:
        return [[watched.pipeline, "champion", "none yet: its first training is yours to ask for"]]
    rows = [["champion", f"version {seen.champion}, trained {_moment(seen.trained_at)}"]]
    if (arrived := seen.arrivals) is not None:
        counted = arrived.why_not or f"{_count(arrived.n_rows)} rows, {_count(arrived.n_bytes)} bytes"
        rows += [["new data", counted], ["newest data", _moment(arrived.newest)]]
    if seen.last_labels is not None:
        rows.append(["newest labels", _moment(seen.last_labels)])
    if seen.changed_to is not None:
        rows.append(["definition", f"changed, to {seen.changed_to[:12]}"])
    return [[watched.pipeline, *row] for row in rows]


def _document(watched: Watched) -> dict[str, Any]:
    seen = watched.seen
    arrived = None if seen is None else seen.arrivals
    return {
        "pipeline": watched.pipeline,
        "champion": None if seen is None else seen.champion,
        "n_new_rows": None if arrived is None else arrived.n_rows,
        "n_new_bytes": None if arrived is None else arrived.n_bytes,
        "newest": None if arrived is None else arrived.newest,
        "last_labels": None if seen is None else seen.last_labels,
        "changed_to": None if seen is None else seen.changed_to,
        "due": [
            {
                "kind": due.kind,
                "reason": due.reason,
                "trigger": taken.trigger_id,
                "outcome": taken.outcome,
                "is_new": taken.is_new,
            }
            for due, taken in zip(watched.due, watched.taken, strict=True)
        ],
        "trouble": watched.trouble or (None if arrived is None else arrived.why_not or None),
    }


def _moment(moment: datetime | None) -> str:
    return "unknown" if moment is None else f"{moment:%Y-%m-%d %H:%M} UTC"


def _count(number: int | None) -> str:
    return "an unknown number of" if number is None else f"{number:,}"
