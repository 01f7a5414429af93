"""Read the source that a definition names: a file, a folder or a glob of CSV, Parquet or JSON lines."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from base.csv_files import read_csv
from base.errors import DataRefused, DefinitionError, Fault, nearest
from base.fingerprint import digest_document, digest_file
from base.tables import all_null_columns, check_names, frame_to_table, normalise, table_types
from base.time_columns import parse_time

if TYPE_CHECKING:
    import pyarrow as pa

__all__ = [
    "all_null_columns",
    "frame_to_table",
    "normalise",
    "parse_time",
    "read_source",
    "source_digest",
    "source_files",
    "table_types",
]

_FORMATS = "CSV (.csv, .csv.gz, .csv.zip), Parquet (.parquet) or JSON lines (.jsonl, .ndjson)"
_JSON_BLOCK_BYTES = 64 << 20
_NAMELESS_INDEX = re.compile(r"__index_level_\d+__")


def read_source(source: str, folder: Path) -> pa.Table:
    """Read all files of a source into one table, in the order of their names.

    Parameters
    ----------
    source : str
        A file, a folder (all files of a known format in and below it) or a glob; a relative one starts at
        *folder*.

    Raises
    ------
    DefinitionError
        If there is no such file, or its format is unknown.
    DataRefused
        If a file cannot be read, or the files do not have the same columns.
    """
    import pyarrow as pa

    files = source_files(source, folder)
    tables = [_read(file) for file in files]
    _check_same_columns(files, tables)
    try:
        return pa.concat_tables(tables, promote_options="permissive")
    except (pa.ArrowTypeError, pa.ArrowInvalid) as error:
        raise DataRefused(
            f"source {source!r}", _find_type_faults(files, tables), "write the column the same way in every file"
        ) from error


def source_digest(source: str, folder: Path) -> str:
    """Digest the content of all files of a source, and their names; where the source lies does not count.

    Raises
    ------
    DefinitionError
        If there is no such file, or its format is unknown.
    """
    files = source_files(source, folder)
    root = files[0].parent if len(files) == 1 else _root(source, folder)
    return digest_document({file.relative_to(root).as_posix(): digest_file(file) for file in files})


def source_files(source: str, folder: Path) -> list[Path]:
    """List the files of a source, ordered by name.

    Raises
    ------
    DefinitionError
        If there is none, or its format is unknown.
    """
    if "://" in source:
        raise DefinitionError(
            f"source {source!r} is an address, expected a file, folder or glob; read it in a function of your own "
            "and name that as module:function",
            key="extract.source",
        )
    path = folder / source
    if path.is_file():
        if _format(path) is None:
            raise DefinitionError(
                f"source {source!r} has the unknown format {path.suffix!r}, expected {_FORMATS}", key="extract.source"
            )
        return [path]
    if path.is_dir():
        found = [item for item in path.rglob("*") if not _is_hidden(item.relative_to(path))]
    elif glob.has_magic(source):
        # Path.glob refuses a pattern that is absolute.
        found = [Path(name) for name in glob.glob(str(path), recursive=True)]  # noqa: PTH207
    else:
        raise _no_such_file(source, path)
    files = sorted(item for item in found if item.is_file() and _format(item) is not None)
    if not files:
        raise DefinitionError(
            f"source {source!r} holds no file of a known format (looked at {path}), expected {_FORMATS}",
            key="extract.source",
        )
    return files


def _no_such_file(source: str, path: Path) -> DefinitionError:
    parent = path.parent
    if not parent.is_dir():
        hint = f"; there is no folder {str(parent)!r} either"
    else:
        hint = nearest(path.name, [item.name for item in parent.iterdir()]) or f"; looked at {str(path)!r}"
    return DefinitionError(f"source {source!r}: there is no such file{hint}", key="extract.source")


def _root(source: str, folder: Path) -> Path:
    path = folder / source
    while glob.has_magic(str(path)):
        path = path.parent
    return path


def _is_hidden(path: Path) -> bool:
    # Spark and others leave marks such as _SUCCESS and ._file beside the data.
    return any(part.startswith((".", "_")) for part in path.parts)


def _format(file: Path) -> str | None:
    name = file.name.lower()
    return next((suffix for suffix in _READERS if name.endswith(suffix)), None)


def _read(file: Path) -> pa.Table:
    table = _READERS[_format(file) or ""](file)
    check_names(table.column_names, what=str(file))
    return table


def _read_parquet(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(file).read()
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, PermissionError):
            raise _unreadable(file, error) from error
        fault = Fault(None, f"no whole Parquet file ({_first_line(error)})", "a file that was written to its end")
        raise DataRefused(f"{file}", [fault], "write or fetch the file again") from error
    # The numbers of a frame's rows, which pandas writes beside its columns unless it is told not to.
    return table.select([name for name in table.column_names if not _NAMELESS_INDEX.fullmatch(name)])


def _read_json_lines(file: Path) -> pa.Table:
    import pyarrow as pa
    import pyarrow.json as arrow_json

    try:
        return arrow_json.read_json(file, read_options=arrow_json.ReadOptions(block_size=_JSON_BLOCK_BYTES))
    except pa.ArrowException as error:
        fault = Fault(None, _find_broken_json(file) or _first_line(error), "one JSON object a line, in UTF-8")
        raise DataRefused(f"{file}", [fault], "mend the line, or write the file again") from error


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
    try:
        return read_csv(file)
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


def _check_same_columns(files: list[Path], tables: list[pa.Table]) -> None:
    expected = set(tables[0].column_names)
    faults = []
    for file, table in zip(files[1:], tables[1:], strict=True):
        missing = sorted(expected - set(table.column_names))
        foreign = sorted(set(table.column_names) - expected)
        faults += [Fault(name, f"no such column in {file.name}", f"it, as in {files[0].name}") for name in missing]
        faults += [Fault(name, f"it in {file.name}", f"only the columns of {files[0].name}") for name in foreign]
    if faults:
        way_out = "give the files the same columns, or narrow the source with a glob"
        raise DataRefused(f"{files[0].parent}", faults[:10], way_out)


def _find_type_faults(files: list[Path], tables: list[pa.Table]) -> list[Fault]:
    import pyarrow as pa

    faults = []
    for name in tables[0].column_names:
        first = tables[0].schema.field(name).type
        for file, table in zip(files[1:], tables[1:], strict=True):
            other = table.schema.field(name).type
            try:
                pa.unify_schemas([pa.schema([(name, first)]), pa.schema([(name, other)])], promote_options="permissive")
            except pa.ArrowException:
                faults.append(Fault(name, f"{other} in {file.name}", f"{first}, as in {files[0].name}"))
    return faults[:10] or [Fault(None, "columns of different types", "the same types in every file")]


def _unreadable(file: Path, error: OSError) -> DefinitionError:
    return DefinitionError(
        f"source {str(file)!r} cannot be read: {error.strerror}; give this user the right to", key="extract.source"
    )


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n", maxsplit=1)[0]
