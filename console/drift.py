"""The bodies of `everfit drift`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ArgumentError
from base.times import parse_moment
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from console.output import Output
    from registry.tables import WindowRow


def report_command(model: str, *, output_file: str, start: str | None, browse: bool, output: Output) -> None:
    """Write the page of a window to a file.

    Raises
    ------
    ArgumentError
        If there is no such window, it has no page, or the file cannot be written.
    """
    target = Path(output_file)
    if target.suffix.lower() not in (".html", ".htm"):
        raise ArgumentError(f"--output is {output_file!r}, expected a file that ends in .html")
    if not target.parent.is_dir():
        raise ArgumentError(f"--output: there is no folder {str(target.parent)!r}")
    from base.artifacts import Artifact
    from base.atomic_files import write_atomically

    registry = open_registry(read_settings())
    windows = _list_windows(model)
    row = _choose(windows, model, None if start is None else _read_moment(start))
    content = registry.artifacts.read_bytes(Artifact.model_validate(row.findings["page"]))
    write_atomically(target, content)
    output.say(f"the page of {model!r}, window from {row.start:%Y-%m-%d %H:%M} UTC, is {target}: {row.outcome}")
    if browse:
        import webbrowser

        webbrowser.open(target.absolute().as_uri())
    output.result(
        {
            "model": model,
            "start": row.start,
            "stop": row.stop,
            "outcome": row.outcome,
            "output": str(target),
            "size_bytes": len(content),
        }
    )


def windows_command(model: str, *, limit: int, output: Output) -> None:
    """List the newest windows of a model."""
    found = _list_windows(model)[-limit:]
    output.table(
        ["from", "to", "version", "rows", "labelled", "loss", "outcome", "why"],
        [
            [
                f"{row.start:%Y-%m-%d %H:%M}",
                f"{row.stop:%Y-%m-%d %H:%M}",
                str(row.version),
                f"{row.n_rows:,}",
                _labelled(row),
                _loss(row),
                row.outcome,
                row.reason,
            ]
            for row in found
        ],
    )
    if not found:
        output.say(f"no window of {model!r} was checked yet; `everfit monitor {model}` checks what is due")
    output.result(
        {
            "model": model,
            "windows": [
                {
                    "start": row.start,
                    "stop": row.stop,
                    "version": row.version,
                    "rows": row.n_rows,
                    "labelled": row.n_labelled,
                    "labels_due": _labels_due(row),
                    "labels_checked_at": row.labels_checked_at,
                    "metrics": row.metrics,
                    "verdict": row.verdict,
                    "outcome": row.outcome,
                    "reason": row.reason,
                    "is_quiet": row.is_quiet,
                    "findings": row.findings,
                }
                for row in found
            ],
        }
    )


def _list_windows(model: str) -> Sequence[WindowRow]:
    from monitoring.cutting import list_windows
    from registry.versions import check_model

    with open_registry(read_settings()).database.read() as session:
        check_model(session, model)
        return list_windows(session, model)


def _choose(windows: Sequence[WindowRow], model: str, start: datetime | None) -> WindowRow:
    having = [row for row in windows if row.findings.get("page")]
    if start is not None:
        chosen = [row for row in windows if row.start == start]
        if not chosen:
            moment = f"{start:%Y-%m-%d %H:%M} UTC"
            raise ArgumentError(
                f"no window of {model!r} begins at {moment}; `everfit drift windows {model}` lists them"
            )
        having = [row for row in chosen if row in having]
    if not having:
        raise ArgumentError(
            f"no window of {model!r} has a page: the newest of each look has one; `everfit monitor {model}` looks now"
        )
    return having[-1]


def _labels_due(row: WindowRow) -> str | None:
    return None if row.labels_checked_at is not None else row.findings.get("labels_due")


def _labelled(row: WindowRow) -> str:
    due = _labels_due(row)
    return f"due on {due[:10]}" if due else f"{row.n_labelled:,}"


def _loss(row: WindowRow) -> str:
    found = (row.findings.get("performance") or {}).get("loss")
    return "" if found is None or row.metrics.get(found) is None else f"{found} {float(row.metrics[found]):.4f}"


def _read_moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ArgumentError(f"--start: {error}") from None
