"""`everfit labels import`: labels from a file, part by part, through the service or straight into the log."""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError, Fault
from base.times import parse_duration
from console.installation import open_registry, read_settings
from console.label_senders import PART, Taken, direct_sender, service_sender

if TYPE_CHECKING:
    from console.output import Output
    from registry.manifest import ModelManifest

_READ_BYTES = 1 << 20


@dataclass(frozen=True)
class Columns:
    """Which columns of a file say what."""

    id: str
    key: tuple[str, ...]
    time: str
    value: str
    observed_at: str


def import_command(
    file: str, model: str, columns: Columns, *, within: str, service: str | None, output: Output
) -> bool:
    """Import the labels of a file; False where rows were set aside.

    Parts that were taken before are known again: an import that was interrupted is run once more as it was.

    Raises
    ------
    ArgumentError
        If there is no such file, model or column, or the file is no CSV, Parquet or JSON lines.
    RunFailed
        If the service does not take the labels; what it has taken stays, and is not taken twice.
    """
    from registry.manifest import ModelManifest
    from registry.models import resolve_present
    from serving.labels.intake import Counts

    path = Path(file)
    if not path.is_file():
        raise ArgumentError(f"there is no file {file!r}")
    try:
        tolerance: Any = parse_duration(within) if within else timedelta(0)
    except ValueError as error:
        raise ArgumentError(f"--within is {within!r}: {error}") from error
    settings = read_settings()
    registry = open_registry(settings)
    with registry.database.read() as session:
        version = resolve_present(session, registry.environment, model)
    manifest = ModelManifest.model_validate(version.manifest)
    rows = iter(read_label_rows(path, columns, manifest))
    name = _digest(path, repr((columns, within)))
    counts, aside, n_read = Counts(), path.with_name(f"{path.name}.refused.jsonl"), 0
    refused = 0
    with (
        service_sender(settings, manifest, service, within) or direct_sender(settings, manifest, tolerance) as send,
        output.progress("importing labels") as advance,
        _Aside(aside) as set_aside,
    ):
        output.say(f"labels of {manifest.model} go {send.way}")
        while part := list(islice(rows, PART)):
            taken: Taken = send(part, f"{name}-{n_read}")
            counts += taken.counts
            refused += set_aside(part, taken.faults, n_read)
            n_read += len(part)
            advance(f"{n_read:,} labels")
    _say(counts, aside, output)
    output.result({"model": manifest.model, **counts.as_json(), "set_aside": str(aside) if counts.refused else None})
    return counts.refused == 0


def read_label_rows(path: Path, columns: Columns, manifest: ModelManifest) -> Iterator[Any]:
    """Read a file's rows as labels of a request, without holding the file.

    Raises
    ------
    ArgumentError
        If a column is not there, or the file is not what its name says.
    """
    suffix = path.suffix.lower()
    readers: dict[str, Callable[[Path, Columns, ModelManifest], Iterator[Any]]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".jsonl": _read_lines,
        ".ndjson": _read_lines,
    }
    if suffix not in readers:
        raise ArgumentError(f"file {str(path)!r} is not one of {', '.join(readers)}")
    return readers[suffix](path, columns, manifest)


def _read_csv(path: Path, columns: Columns, manifest: ModelManifest) -> Iterator[Any]:
    from serving.labels.body import type_text, value_type

    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.reader(stream, strict=True)
            names = next(reader, [])
            _check_columns(names, columns, path)
            kinds = {name: rule.type for name, rule in manifest.contract.columns.items() if name in columns.key}
            kinds = kinds | {columns.value: value_type(manifest)}
            for cells in reader:
                if cells:
                    padded = [*cells, *[""] * (len(names) - len(cells))]
                    row = {name: type_text(cell, kinds.get(name)) for name, cell in zip(names, padded, strict=False)}
                    yield _as_entry(row, columns)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ArgumentError(f"file {str(path)!r} is no CSV in UTF-8: {error}") from error


def _read_parquet(path: Path, columns: Columns, _manifest: ModelManifest) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(names, columns, path)
            wanted = {columns.id, *columns.key, columns.time, columns.value, columns.observed_at}
            for batch in file.iter_batches(PART, columns=[name for name in names if name in wanted]):
                for row in batch.to_pylist():
                    yield _as_entry(row, columns)
    except (pa.ArrowException, OSError) as error:
        raise ArgumentError(f"file {str(path)!r} is no Parquet file: {error}") from error


def _read_lines(path: Path, columns: Columns, _manifest: ModelManifest) -> Iterator[Any]:
    from serving.labels.body import parse_line

    with path.open("rb") as stream:
        for number, line in enumerate(stream):
            if line.strip():
                row = parse_line(line, number)
                yield _as_entry(row, columns) if isinstance(row, dict) else row


def _as_entry(row: dict[str, Any], columns: Columns) -> dict[str, Any]:
    entry = {"value": row.get(columns.value), "observed_at": row.get(columns.observed_at)}
    if columns.key:
        entry |= {"key": {name: row.get(name) for name in columns.key}, "time": row.get(columns.time)}
    else:
        entry["id"] = row.get(columns.id)
    return {name: value for name, value in entry.items() if value is not None}


def _check_columns(names: list[str], columns: Columns, path: Path) -> None:
    needed = [*columns.key, columns.time] if columns.key else [columns.id]
    for name in (*needed, columns.value):
        if name not in names:
            raise ArgumentError(
                f"file {str(path)!r} has no column {name!r}; it has {', '.join(map(str, names))}; "
                "say with --id-column, --key, --time and --value which ones they are"
            )


class _Aside:
    """Writes rows that were refused to a file of their own; without any, there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._stream: Any = None

    def __enter__(self) -> _Aside:
        self._path.unlink(missing_ok=True)
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is not None:
            self._stream.close()

    def __call__(self, part: list[Any], faults: list[Fault], first: int) -> int:
        by_row: dict[int, list[str]] = {}
        for fault in faults:
            by_row.setdefault(fault.row or 0, []).append(
                f"{fault.column or 'label'}: found {fault.found}, expected {fault.expected}"
            )
        if by_row and self._stream is None:
            self._stream = self._path.open("w", encoding="utf-8")
        for row, reasons in sorted(by_row.items()):
            label = None if isinstance(part[row], Fault) else part[row]
            document = {"row": first + row, "label": label, "reasons": reasons}
            self._stream.write(json.dumps(document, default=str, ensure_ascii=False) + "\n")
        return len(by_row)


def _digest(path: Path, more: str) -> str:
    digest = hashlib.sha256(more.encode())
    with path.open("rb") as stream:
        while data := stream.read(_READ_BYTES):
            digest.update(data)
    return f"import-{digest.hexdigest()[:32]}"


def _say(counts: Any, aside: Path, output: Output) -> None:
    output.say(
        f"{counts.received:,} labels: {counts.accepted:,} accepted ({counts.stored:,} new, "
        f"{counts.repeated:,} repeated, {counts.corrected:,} corrected, {counts.late:,} late, "
        f"{counts.unknown:,} of unknown predictions, "
        f"{counts.ambiguous:,} of keys that fit several), {counts.refused:,} refused"
    )
    if counts.refused:
        output.warn(f"{counts.refused:,} rows are set aside in {str(aside)!r}, each with its reasons")
