"""`everfit data list`: which snapshots there are, and which models need them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from console.installation import is_registry_new, open_registry, read_settings
from console.snapshot_names import SHOWN_DIGITS, name_pipeline

if TYPE_CHECKING:
    from base.references import Segment
    from console.output import Output
    from registry.store import Registry
    from registry.tables import SnapshotRow


def list_command(pipeline: str | None, *, output: Output) -> None:
    """List the snapshots of one pipeline, or of all, newest first.

    Raises
    ------
    ArgumentError
        If there is no pipeline of that name.
    """
    settings = read_settings()
    if pipeline is None and is_registry_new(settings):
        output.say(f"No snapshot yet in {settings.home.absolute()}; `everfit train` makes the first.")
        output.result([])
        return
    from registry.snapshots import list_snapshots

    registry = open_registry(settings)
    name = None if pipeline is None else name_pipeline(registry, pipeline)
    with registry.database.read() as session:
        rows = list_snapshots(session, name)
    uses = find_uses(registry)
    documents = [describe_snapshot(row, uses.get((row.pipeline, row.digest), [])) for row in rows]
    if not documents:
        output.say("No snapshot yet; `everfit train` makes the first.")
    else:
        output.table(
            ["pipeline", "snapshot", "made (UTC)", "rows", "new", "first", "last", "parent", "size", "used by"],
            [
                [
                    found["pipeline"],
                    found["digest"][:SHOWN_DIGITS],
                    show_minute(found["made_at"]),
                    f"{found['rows']:,}",
                    f"{found['new_rows']:,}",
                    show_minute(found["first"]),
                    show_minute(found["last"]),
                    (found["parent"] or "")[:SHOWN_DIGITS],
                    "deleted" if found["deleted_at"] else show_bytes(found["bytes"]),
                    ", ".join(found["used_by"]),
                ]
                for found in documents
            ],
        )
    output.result(documents)


def find_uses(registry: Registry) -> dict[tuple[str, str], list[str]]:
    """Find which model versions were made from each snapshot, with the aliases that name them now.

    Returns
    -------
    dict of (pipeline, digest) to versions, such as ``bike@3 (champion in prod)``
    """
    from sqlmodel import select

    from registry.models import list_versions
    from registry.tables import Alias

    with registry.database.read() as session:
        aliases: dict[tuple[str, int], list[str]] = {}
        for alias in session.exec(select(Alias).order_by(Alias.environment, Alias.alias)):
            aliases.setdefault((alias.model, alias.number), []).append(f"{alias.alias} in {alias.environment}")
        versions = list_versions(session)
    uses: dict[tuple[str, str], list[str]] = {}
    for version in versions:
        names = aliases.get((version.model, version.number), [])
        use = f"{version.model}@{version.number}" + (f" ({', '.join(names)})" if names else "")
        uses.setdefault((version.model, str(version.manifest.get("snapshot"))), []).append(use)
    return uses


def show_bytes(n_bytes: int) -> str:
    """Write a size as people say it.

    Examples
    --------
    >>> show_bytes(512), show_bytes(1_500), show_bytes(388_543), show_bytes(2_500_000_000)
    ('512 B', '1.5 kB', '389 kB', '2.5 GB')
    """
    size = float(n_bytes)
    units = ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        units.pop(0)
    unit = units[0]
    return f"{size:.1f} {unit}" if unit != "B" and size < 9.95 else f"{size:.0f} {unit}"


def describe_snapshot(row: SnapshotRow, used_by: list[str]) -> dict[str, Any]:
    """Describe a snapshot as a JSON document."""
    from registry.snapshots import read_snapshot

    snapshot = read_snapshot(row)
    files = {file.digest: file.size_bytes for segment in snapshot.rows.segments for file in _files(segment)}
    return {
        "pipeline": row.pipeline,
        "digest": row.digest,
        "made_at": row.created_at.isoformat(),
        "rows": row.n_rows,
        "new_rows": row.n_new,
        "first": None if snapshot.first is None else snapshot.first.isoformat(),
        "last": None if snapshot.watermark is None else snapshot.watermark.isoformat(),
        "parent": row.parent,
        "bytes": sum(files.values()),
        "used_by": used_by,
        "deleted_at": None if row.deleted_at is None else row.deleted_at.isoformat(),
    }


def _files(segment: Segment) -> Iterable[Any]:
    return (segment.artifact, *segment.dropped)


def show_minute(moment: str | None) -> str:
    """Write an ISO 8601 moment to the minute; nothing for None."""
    return "" if moment is None else moment[:16].replace("T", " ")
