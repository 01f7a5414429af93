"""The formats of files: CSV, Parquet and JSON lines, read whole or in batches."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import DataRefused, DefinitionError, Fault
from base.rows.csv_files import read_csv, stream_csv
from base.rows.tables import check_names

if TYPE_CHECKING:
    import pyarrow as pa

FORMATS = "CSV (.csv, .csv.gz, .csv.zip), Parquet (.parquet) or JSON lines (.jsonl, .ndjson)"

_JSON_BLOCK_BYTES = 64 << 20
_BATCH_ROWS = 65_536
_NAMELESS_INDEX = re.compile(r"__index_level_\d+__")
# What a byte of each format takes in memory, roughly, while it is read whole.
_GROWTH = {".csv": 4, ".csv.gz": 24, ".csv.zip": 24, ".jsonl": 4, ".ndjson": 4}


@dataclass(frozen=True)
class Batches:
    """A file's rows, batch after batch: *read* starts anew each time it is called."""

    schema: pa.Schema
    read: Callable[[], Iterator[pa.RecordBatch]]


def find_format(name: str) -> str | None:
    """Return the known ending of a file's name, or None."""
    return next((suffix for suffix in _READERS if name.lower().endswith(suffix)), None)


def read_file(file: Path, *, name: str = "") -> pa.Table:
    """Read a file into one table.

    Raises
    ------
    DataRefused
        If the file is broken; it says where.
    DefinitionError
        If this user may not read it.
    """
    table = _READERS[find_format(file.name) or ""](file)
    check_names(table.column_names, what=name or str(file))
    return table


def open_file(file: Path, *, row_groups: Callable[[Path], list[int]] | None = None) -> Batches:
    """Open a file whose rows are read in batches, so that memory stays flat.

    Parameters
    ----------
    row_groups : callable, optional
        Which row groups of a Parquet file are worth reading.

    Raises
    ------
    DataRefused, DefinitionError
        As :func:`read_file`.
    """
    suffix = find_format(file.name)
    if suffix == ".parquet":
        opened = _open_parquet(file, row_groups)
    elif suffix in (".jsonl", ".ndjson"):
        opened = _open_json_lines(file)
    else:
        with _readable(file):
            opened = Batches(*stream_csv(file))
    check_names(opened.schema.names, what=str(file))
    return opened


def count_rows_of(file: Path) -> int:
    """Count a file's rows; of Parquet only the footer is read.

    Raises
    ------
    DataRefused, DefinitionError
        As :func:`read_file`.
    """
    if find_format(file.name) == ".parquet":
        return int(_parquet(file).metadata.num_rows)
    return sum(batch.num_rows for batch in open_file(file).read())


def memory_bytes(file: Path) -> int:
    """Estimate what a file takes in memory when it is read whole."""
    suffix = find_format(file.name) or ""
    if suffix == ".parquet":
        metadata = _parquet(file).metadata
        sizes = (metadata.row_group(index).total_byte_size for index in range(metadata.num_row_groups))
        # Dictionaries make a column smaller in a file than in memory.
        return int(max(sum(sizes), metadata.num_rows * metadata.num_columns * 8))
    return file.stat().st_size * _GROWTH[suffix]


def _read_parquet(file: Path) -> pa.Table:
    import pyarrow as pa

    try:
        table = _parquet(file).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        raise _no_whole_parquet(file, error) from error
    # The numbers of a frame's rows, which pandas writes beside its columns unless it is told not to.
    return table.select(plain_names(table.column_names))


def _open_parquet(file: Path, row_groups: Callable[[Path], list[int]] | None) -> Batches:
    import pyarrow as pa

    with _parquet(file) as opened:
        schema = opened.schema_arrow
    names = plain_names(schema.names)
    schema = pa.schema([schema.field(name) for name in names])

    def read() -> Iterator[pa.RecordBatch]:
        wanted = None if row_groups is None else row_groups(file)
        try:
            with _parquet(file, pre_buffer=False, buffer_size=1 << 20) as parquet:
                yield from parquet.iter_batches(_BATCH_ROWS, row_groups=wanted, columns=names)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _no_whole_parquet(file, error) from error

    return Batches(schema, read)


def _parquet(file: Path, **options: object) -> pa.parquet.ParquetFile:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.ParquetFile(file, **options)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise _unreadable(file, error) from error
        raise _no_whole_parquet(file, error) from error


def _no_whole_parquet(file: Path, error: Exception) -> DataRefused:
    fault = Fault(None, f"no whole Parquet file ({_first_line(error)})", "a file that was written to its end")
    return DataRefused(f"{file}", [fault], "write or fetch the file again")


def plain_names(names: list[str]) -> list[str]:
    """Leave out what pandas stores of a frame's nameless index."""
    return [name for name in names if not _NAMELESS_INDEX.fullmatch(name)]


def _read_json_lines(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as arrow_json

    with _readable(file):
        try:
            return arrow_json.read_json(file, read_options=arrow_json.ReadOptions(block_size=_JSON_BLOCK_BYTES))
        except pa.ArrowException as error:
            fault = Fault(None, _find_broken_json(file) or _first_line(error), "one JSON object a line, in UTF-8")
            raise DataRefused(f"{file}", [fault], "mend the line, or write the file again") from error


def _open_json_lines(file: Path) -> Batches:
    import pyarrow as pa
    import pyarrow.json as arrow_json

    options = arrow_json.ReadOptions(block_size=_JSON_BLOCK_BYTES)
    try:
        # Types are told by all rows, not by the first ones: a first pass looks whether they hold to the end.
        with arrow_json.open_json(file, read_options=options) as reader:
            schema = reader.schema
            for _ in reader:
                pass
    except pa.ArrowException:
        table = _read_json_lines(file)
        return Batches(table.schema, lambda: iter(table.to_batches(_BATCH_ROWS)))

    def read() -> Iterator[pa.RecordBatch]:
        with arrow_json.open_json(file, read_options=options) as reader:
            yield from reader

    return Batches(schema, read)


def _find_broken_json(file: Path) -> str | None:
    import json

    with file.open("rb") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                value = json.loads(line) if line.strip() else {}
            except ValueError as error:
                return f"line {number:,}: {error}"
            if not isinstance(value, dict):
                return f"line {number:,}: {type(value).__name__}"
    return None


def _read_csv(file: Path) -> pa.Table:
    with _readable(file):
        return read_csv(file)


@contextmanager
def _readable(file: Path) -> Iterator[None]:
    try:
        yield
    except PermissionError as error:
        raise _unreadable(file, error) from error


_READERS: dict[str, Callable[[Path], pa.Table]] = {
    ".csv": _read_csv,
    ".csv.gz": _read_csv,
    ".csv.zip": _read_csv,
    ".parquet": _read_parquet,
    ".jsonl": _read_json_lines,
    ".ndjson": _read_json_lines,
}


def _unreadable(file: Path, error: OSError) -> DefinitionError:
    return DefinitionError(
        f"source {str(file)!r} cannot be read: {error.strerror}; give this user the right to", key="extract.source"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
