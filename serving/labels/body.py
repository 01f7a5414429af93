"""Bodies of labels: JSON, JSON lines, CSV, Parquet or an Arrow stream in, labels or every fault out."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import orjson

from base.contract import ColumnType
from base.errors import Fault
from base.json_values import cut_text, show_value
from registry.manifest import ModelManifest
from serving.labels.entries import FIELDS, EntryJudge
from serving.labels.label import LabelBatch
from serving.web.payloads import parse_json
from serving.web.problems import BodyRefused, FaultsFound

if TYPE_CHECKING:
    import pyarrow as pa

JSON = "application/json"
CONTENT_TYPES = {
    JSON: "json",
    "application/x-ndjson": "lines",
    "application/jsonl": "lines",
    "application/x-jsonlines": "lines",
    "text/csv": "csv",
    "application/vnd.apache.parquet": "parquet",
    "application/x-parquet": "parquet",
    "application/vnd.apache.arrow.stream": "arrow",
}
"""What a body of labels may be, and how it is read."""

_WORDS = {"true": True, "false": False, "1": True, "0": False}
_NOTHING = timedelta(0)
# A few bytes of Parquet can stand for gigabytes of one repeated text.
_MOST_UNPACKED_BYTES = 512 << 20


def read_label_body(
    body: bytes,
    content_type: str,
    manifest: ModelManifest,
    most: int,
    *,
    now: datetime,
    within: timedelta = _NOTHING,
    personal_key: bytes | None = None,
    partial: bool | None = None,
) -> LabelBatch:
    """Read the labels of a request's body.

    A table (CSV, Parquet, Arrow) has columns ``id`` or the key's columns and ``time``, ``value``, and where they
    are known ``observed_at`` and ``within``; a key column that is called like one of those is ``key.NAME``.

    Parameters
    ----------
    content_type : str
        The request's header; empty for JSON.
    most : int
        How many labels the body may hold.
    now, within, personal_key :
        See :class:`serving.labels.entries.EntryJudge`.
    partial : bool, optional
        Take what is right and tell what is not; else one fault refuses all of them. Default: all of a JSON document or
        nothing, since a program wrote it; of everything else what is right.

    Raises
    ------
    BodyRefused
        400 when the body is not what its type says, 413 when it holds too many labels, 415 for another type, 422 when
        labels are wrong, or where *partial* all of them.
    """
    kind = CONTENT_TYPES.get(content_type.partition(";")[0].strip().lower() or JSON)
    if kind is None:
        raise BodyRefused(
            415, f"the body is {cut_text(content_type)!r}, expected one of {', '.join(sorted(CONTENT_TYPES))}"
        )
    readers: dict[str, Callable[[bytes, ModelManifest, int], list[Any]]] = {
        "json": _read_json,
        "lines": _read_lines,
        "csv": _read_csv,
        "parquet": _read_parquet,
        "arrow": _read_arrow,
    }
    entries = readers[kind](body, manifest, most)
    if not entries:
        raise FaultsFound([Fault(None, "no label", "at least one")])
    judge = EntryJudge(manifest, now=now, within=within, personal_key=personal_key)
    batch = judge.judge(entries)
    takes_part = kind != "json" if partial is None else partial
    if batch.n_refused and (not takes_part or batch.n_refused == batch.n_received):
        raise FaultsFound(batch.faults)
    return batch


def rows_as_entries(
    rows: Iterator[dict[str, Any]], names: list[str], manifest: ModelManifest
) -> Iterator[dict[str, Any]]:
    """Write a table's rows as labels of a JSON body: the key's columns become its key.

    Raises
    ------
    FaultsFound
        If a column belongs to no label.
    """
    key: dict[str, str] = {}
    for name in manifest.key:
        if f"key.{name}" in names:
            key[f"key.{name}"] = name
        elif name in names and name not in FIELDS:
            key[name] = name
    expected = [field for field in FIELDS if field != "key"] + list(manifest.key)
    if unknown := [name for name in names if name not in key and (name not in FIELDS or name == "key")]:
        raise FaultsFound(
            [Fault(cut_text(name), "an unknown column", f"only {', '.join(expected)}") for name in unknown]
        )
    fields = [name for name in names if name not in key]
    for row in rows:
        entry = {name: row[name] for name in fields if row[name] is not None}
        found = {shown: row[column] for column, shown in key.items() if row[column] is not None}
        # Of a table with both, each row may use the one or the other.
        yield entry | {"key": found} if found and "id" not in entry else entry


def type_text(text: str, kind: ColumnType | None) -> Any:
    """Read a text of a CSV file as its column's type; one that is none of it stays a text, to be named as a fault.

    Examples
    --------
    >>> type_text("3", "integer"), type_text("true", "boolean"), type_text("x", "number"), type_text("", "text")
    (3, True, 'x', None)
    """
    if text == "":
        return None
    if kind == "boolean":
        return _WORDS.get(text.strip().lower(), text)
    if kind in ("number", "integer"):
        try:
            return int(text)
        except ValueError:
            try:
                return float(text)
            except ValueError:
                return text
    return text


def value_type(manifest: ModelManifest) -> ColumnType:
    """Name the type of a model's labels."""
    classes = manifest.classes
    if classes is None:
        return "number"
    if all(isinstance(known, bool) for known in classes):
        return "boolean"
    return "text" if any(isinstance(known, str) for known in classes) else "number"


def _read_json(body: bytes, _manifest: ModelManifest, most: int) -> list[Any]:
    document = parse_json(body)
    if not isinstance(document, dict) or "labels" not in document:
        raise FaultsFound([Fault(None, _name(document), 'an object such as {"labels": [...]}')])
    if unknown := [name for name in document if name != "labels"]:
        raise FaultsFound([Fault(None, f"the key {show_value(name)}", "only 'labels'") for name in unknown])
    entries = document["labels"]
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if entries == [] else _name(entries)
        raise FaultsFound([Fault(None, f"{found} in 'labels'", "a list of at least one object")])
    _refuse_more(len(entries), most)
    return entries


def _read_lines(body: bytes, _manifest: ModelManifest, most: int) -> list[Any]:
    lines = [line for line in body.split(b"\n") if line.strip()]
    _refuse_more(len(lines), most)
    return [parse_line(line, row) for row, line in enumerate(lines)]


def parse_line(line: bytes, row: int) -> Any:
    """Parse a label of JSON lines, or say what is wrong with its line."""
    try:
        return orjson.loads(line)
    except ValueError as error:
        return Fault(None, f"a line that is no JSON ({cut_text(str(error))})", "an object", row=row)


def _read_csv(body: bytes, manifest: ModelManifest, most: int) -> list[Any]:
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BodyRefused(400, f"the body is no text in UTF-8: byte {error.start:,} is none of it") from error
    try:
        return read_csv_entries(io.StringIO(text, newline=""), manifest, most=most)
    except csv.Error as error:
        raise BodyRefused(400, f"the body is no CSV: {cut_text(str(error))}") from error


def read_csv_entries(stream: io.TextIOBase, manifest: ModelManifest, *, most: int) -> list[Any]:
    """Read the labels of a CSV file whose first line names its columns."""
    reader = csv.reader(stream, strict=True)
    names = next(reader, None)
    if not names:
        raise FaultsFound([Fault(None, "no line", "a line of column names, and one for each label")])
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise FaultsFound([Fault(cut_text(twice[0]), "a column that is there twice", "each column once")])
    kinds = csv_types(names, manifest)
    rows: list[dict[str, Any]] = []
    for cells in reader:
        if not cells:
            continue
        _refuse_more(len(rows) + 1, most)
        padded = [*cells, *[""] * (len(names) - len(cells))]
        rows.append({name: type_text(cell, kinds[name]) for name, cell in zip(names, padded, strict=False)})
    return list(rows_as_entries(iter(rows), names, manifest))


def csv_types(names: list[str], manifest: ModelManifest) -> dict[str, ColumnType | None]:
    """Say as what the texts of a CSV file's columns are read."""
    columns = manifest.contract.columns
    kinds: dict[str, ColumnType | None] = {
        name: columns[name.removeprefix("key.")].type if name.removeprefix("key.") in columns else None
        for name in names
    }
    return kinds | dict.fromkeys(FIELDS) | {"value": value_type(manifest)}


def _read_parquet(body: bytes, manifest: ModelManifest, most: int) -> list[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(pa.BufferReader(body)) as file:
            metadata = file.metadata
            _refuse_more(metadata.num_rows, most)
            unpacked = sum(metadata.row_group(place).total_byte_size for place in range(metadata.num_row_groups))
            if unpacked > _MOST_UNPACKED_BYTES:
                raise BodyRefused(413, f"the Parquet file unpacks to {unpacked:,} bytes; send it in parts")
            return _table_entries(file.read(), manifest)
    except (pa.ArrowException, OSError) as error:
        raise BodyRefused(400, f"the body is no Parquet file: {cut_text(str(error))}") from error


def _read_arrow(body: bytes, manifest: ModelManifest, most: int) -> list[Any]:
    import pyarrow as pa

    try:
        with pa.ipc.open_stream(pa.BufferReader(body)) as stream:
            batches, n_rows, n_bytes = [], 0, 0
            for batch in stream:
                n_rows, n_bytes = n_rows + batch.num_rows, n_bytes + batch.nbytes
                _refuse_more(n_rows, most)
                if n_bytes > _MOST_UNPACKED_BYTES:
                    raise BodyRefused(413, "the Arrow stream unpacks to more than 512 MB; send it in parts")
                # What is not checked here could read beyond the body when its values are taken.
                batch.validate(full=True)
                batches.append(batch)
            return _table_entries(pa.Table.from_batches(batches, schema=stream.schema), manifest)
    except (pa.ArrowException, OSError) as error:
        raise BodyRefused(400, f"the body is no Arrow stream: {cut_text(str(error))}") from error


def _table_entries(table: pa.Table, manifest: ModelManifest) -> list[Any]:
    names = table.column_names
    if len(set(names)) < len(names):
        raise FaultsFound([Fault(None, "a column that is there twice", "each column once")])
    return list(rows_as_entries(iter(table.to_pylist()), names, manifest))


def _refuse_more(found: int, most: int) -> None:
    if found > most:
        raise BodyRefused(
            413,
            f"the request holds {found:,} labels, expected at most {most:,} (EVERFIT_MAX_LABELS); send them in parts",
            reason="too_many",
        )


def _name(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else show_value(value)
