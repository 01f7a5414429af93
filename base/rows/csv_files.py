"""Read CSV files, and when one cannot be read, say where it is broken."""

from __future__ import annotations

import csv
import gzip
import io
import itertools
import re
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

from base.errors import DataRefused, Fault

if TYPE_CHECKING:
    import pyarrow as pa

# Types are guessed from the first block: large enough that a second look at the whole file is rare.
_BLOCK_BYTES = 16 << 20
_LARGEST_BLOCK_BYTES = (1 << 31) - 1
_SEPARATORS = ",;\t|"
_MOST_FAULTS = 5
_CHUNK_BYTES = 1 << 20
_MISFIT = re.compile(r"In CSV column #(?P<index>\d+)[^:]*: .*conversion error", re.DOTALL)


def read_csv(file: Path) -> pa.Table:
    """Read a CSV file (plain, ``.gz`` or ``.zip``) with a header, in UTF-8.

    The separator is the comma, or the semicolon, tab or bar where the header holds that instead. Empty
    fields and the usual spellings of nothing (``NA``, ``NULL``, ``nan``, …) are missing, unless quoted. Times
    of day stay the text that they are.

    Raises
    ------
    DataRefused
        If the file is empty, not UTF-8, or has lines with more or fewer fields than its header; it names
        the line.
    """
    import pyarrow as pa

    with _explained(file):
        try:
            table = _parse(file, block_bytes=_BLOCK_BYTES)
        except pa.ArrowInvalid as error:
            if "conversion error" not in str(error) and "straddling" not in str(error):
                raise
            # A later block does not fit the type that the first one suggested: look at the whole file at once.
            table = _parse(file, block_bytes=_LARGEST_BLOCK_BYTES)
        # Arrow decodes the names only when they are asked for.
        times = [
            name for name, kind in zip(table.column_names, table.schema.types, strict=True) if pa.types.is_time(kind)
        ]
        if times:
            table = _parse(file, block_bytes=_LARGEST_BLOCK_BYTES, texts=times)
        if any(pa.types.is_binary(field.type) for field in table.schema):
            raise pa.ArrowInvalid("a column is not UTF-8")
        return table


def stream_csv(file: Path) -> tuple[pa.Schema, Callable[[], Iterator[pa.RecordBatch]]]:
    """Find the types of a CSV file's columns, and give what reads its rows in batches; memory stays flat.

    The types are those that :func:`read_csv` finds: one that only a late row shows is found by a pass of its own.

    Raises
    ------
    DataRefused
        As :func:`read_csv`.
    """
    import pyarrow as pa

    kinds: dict[str, pa.DataType] = {}
    with _explained(file):
        while True:
            with _open_stream(file, kinds) as reader:
                guessed = {field.name: field.type for field in reader.schema}
                misfit = _read_to_misfit(reader)
            if misfit is None and not any(pa.types.is_time(kind) for kind in guessed.values()):
                break
            if misfit is None:
                kinds = guessed | {name: pa.string() for name, kind in guessed.items() if pa.types.is_time(kind)}
                continue
            # What has been guessed so far stays, but for the column whose later values do not fit.
            kinds = guessed | {misfit: _wider(guessed[misfit])}
        if any(pa.types.is_binary(kind) for kind in guessed.values()):
            raise pa.ArrowInvalid("a column is not UTF-8")

    def read() -> Iterator[pa.RecordBatch]:
        with _explained(file), _open_stream(file, guessed) as reader:
            yield from reader

    return pa.schema(list(guessed.items())), read


def _read_to_misfit(reader: pa.csv.CSVStreamingReader) -> str | None:
    """Read to the end, and name the first column with a value that does not fit its type."""
    import pyarrow as pa

    try:
        for _ in reader:
            pass
    except pa.ArrowInvalid as error:
        found = _MISFIT.search(str(error))
        if found is None:
            raise
        return str(reader.schema.names[int(found["index"])])
    return None


def _wider(kind: pa.DataType) -> pa.DataType:
    import pyarrow as pa

    if pa.types.is_null(kind):
        return pa.int64()
    if pa.types.is_integer(kind):
        return pa.float64()
    # A date may go on as a moment; whatever else it is, every value is a text.
    return pa.timestamp("s") if pa.types.is_date(kind) else pa.string()


@contextmanager
def _open_stream(file: Path, kinds: dict[str, pa.DataType]) -> Iterator[pa.csv.CSVStreamingReader]:
    import pyarrow.csv as arrow_csv

    with open_csv(file) as stream:
        separator = _find_separator(stream)
    with open_csv(file) as stream:
        yield arrow_csv.open_csv(
            stream,
            read_options=arrow_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                strings_can_be_null=True, quoted_strings_can_be_null=False, column_types=kinds
            ),
        )


def _parse(file: Path, *, block_bytes: int, texts: list[str] | None = None) -> pa.Table:
    import pyarrow as pa
    import pyarrow.csv as arrow_csv

    with open_csv(file) as stream:
        separator = _find_separator(stream)
    with open_csv(file) as stream:
        return arrow_csv.read_csv(
            stream,
            read_options=arrow_csv.ReadOptions(block_size=block_bytes),
            parse_options=arrow_csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=arrow_csv.ConvertOptions(
                strings_can_be_null=True,
                quoted_strings_can_be_null=False,
                column_types=dict.fromkeys(texts or [], pa.string()),
            ),
        )


@contextmanager
def open_csv(file: Path) -> Iterator[IO[bytes]]:
    """Open a CSV file's bytes, unpacked."""
    suffix = file.suffix.lower()
    if suffix == ".gz":
        with gzip.open(file, "rb") as unpacked:
            yield io.BufferedReader(unpacked)
    elif suffix == ".zip":
        with zipfile.ZipFile(file) as archive, archive.open(_only_member(file, archive)) as member:
            yield member
    else:
        with file.open("rb") as stream:
            yield stream


def _only_member(file: Path, archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if not name.endswith("/") and not name.startswith("__MACOSX")]
    if len(names) != 1:
        fault = Fault(None, f"{len(names)} files ({', '.join(names[:3])})", "one CSV file in the archive")
        raise DataRefused(f"{file}", [fault], "unpack the archive, and give the folder or the one file")
    return names[0]


def _find_separator(stream: IO[bytes]) -> str:
    header = stream.readline(_CHUNK_BYTES)
    counts = {separator: header.count(separator.encode()) for separator in _SEPARATORS}
    # The comma stands first, so it wins a tie.
    return max(counts, key=lambda separator: counts[separator])


@contextmanager
def _explained(file: Path) -> Iterator[None]:
    import pyarrow as pa

    try:
        yield
    except (gzip.BadGzipFile, zipfile.BadZipFile, EOFError, zlib.error) as error:
        fault = Fault(None, f"a broken archive ({error})", "a whole one")
        raise DataRefused(f"{file}", [fault], "fetch the file again") from error
    except UnicodeDecodeError as error:
        raise _refuse_encoding(file) from error
    except pa.ArrowInvalid as error:
        if _first_undecodable(file) is not None:
            raise _refuse_encoding(file) from error
        if faults := _find_broken_lines(file):
            way_out = "mend these lines; a field with a separator in it must stand in double quotes"
            raise DataRefused(f"{file}", faults, way_out) from error
        if "Empty CSV" in str(error):
            fault = Fault(None, "an empty file", "a header and rows")
            raise DataRefused(f"{file}", [fault], "fetch the file again, or take it out of the source") from error
        raise DataRefused(f"{file}", [Fault(None, str(error), "a CSV file")], "mend the file") from error


def _refuse_encoding(file: Path) -> DataRefused:
    found = _first_undecodable(file)
    if found is None:
        fault = Fault(None, "bytes that are not UTF-8", "UTF-8")
    else:
        offset, line, data = found
        kind = "UTF-16" if data in (b"\xff", b"\xfe") and offset == 0 else "another encoding, such as Latin-1"
        fault = Fault(None, f"byte 0x{data.hex()} at offset {offset:,} (line {line:,}); it looks like {kind}", "UTF-8")
    return DataRefused(f"{file}", [fault], "save the file as UTF-8, such as with: iconv -f LATIN1 -t UTF-8")


def _first_undecodable(file: Path) -> tuple[int, int, bytes] | None:
    """Find the first byte that is not UTF-8: offset, line, the byte; None when all are."""
    offset, line, rest = 0, 1, b""
    with open_csv(file) as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            data = rest + chunk
            try:
                data.decode()
                rest = b""
            except UnicodeDecodeError as error:
                # A character may be cut in two by the chunk's end; it has at most four bytes.
                if error.start < len(data) - 3:
                    return _place(data, error.start, offset, line)
                rest = data[error.start :]
            whole = data[: len(data) - len(rest)]
            offset, line = offset + len(whole), line + whole.count(b"\n")
    return _place(rest, 0, offset, line) if rest else None


def _place(data: bytes, start: int, offset: int, line: int) -> tuple[int, int, bytes]:
    return offset + start, line + data[:start].count(b"\n"), data[start : start + 1]


def _find_broken_lines(file: Path) -> list[Fault]:
    with open_csv(file) as stream:
        separator = _find_separator(stream)
    with open_csv(file) as stream:
        reader = csv.reader(io.TextIOWrapper(stream, encoding="utf-8-sig", newline=""), delimiter=separator)
        try:
            header = next(reader, [])
            broken = (
                Fault(None, f"{len(fields)} columns in line {reader.line_num:,}", f"{len(header)}, as in the header")
                for fields in reader
                if fields and len(fields) != len(header)
            )
            return list(itertools.islice(broken, _MOST_FAULTS))
        except csv.Error as error:
            return [Fault(None, f"line {reader.line_num:,}: {error}", "fields and separators")]
