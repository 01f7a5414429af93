"""An Arrow IPC stream as rows, a few thousand at a time, whatever the size of its batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from base.contract_rules import ColumnRule
from base.errors import Fault
from base.json_values import cut_text
from serving.protocols.arrow_framing import inspect_stream
from serving.protocols.requests import RowsRefused
from serving.web.problems import BodyRefused, FaultsFound

if TYPE_CHECKING:
    import pyarrow as pa

Row = dict[str, Any]
_TAKEN = "null, bool, integers, floats, string, dictionary of string, timestamp or date"


class RowStream:
    """The rows of a stream, read in order.

    Parameters
    ----------
    data : bytes or mmap
        The whole stream; it is not copied.
    columns : mapping of column to rule
        The model's signature.
    most_chunk_bytes : int
        To how many bytes of text the rows of one reading may unpack.

    Raises
    ------
    BodyRefused
        400 when it is no Arrow IPC stream, 415 when it is compressed, 422 when a column has a type that no value of a
        request has.
    """

    def __init__(self, data: Any, columns: Mapping[str, ColumnRule], *, most_chunk_bytes: int) -> None:
        import pyarrow as pa

        view = memoryview(data)
        self.n_rows = inspect_stream(view).n_rows
        self._most_bytes = most_chunk_bytes
        try:
            self._reader = pa.ipc.open_stream(pa.BufferReader(pa.py_buffer(data)))
            # What is no text is found out only when it is read.
            self._names: list[str] = list(self._reader.schema.names)
            _check_schema(self._reader.schema, columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise _broken(error) from error
        self._batch: pa.RecordBatch | None = None
        self._place = 0

    def read(self, most_rows: int) -> list[Row]:
        """Read the next rows; none at the end of the stream.

        Raises
        ------
        BodyRefused
            400 when a batch is broken, 413 when texts unpack to too much.
        RowsRefused
            When a moment is finer than microseconds.
        """
        import pyarrow as pa

        rows: list[Row] = []
        while len(rows) < most_rows and self._advance():
            assert self._batch is not None
            part = self._batch.slice(self._place, most_rows - len(rows))
            self._place += part.num_rows
            try:
                rows += self._convert(part)
            except (pa.ArrowException, ValueError, OverflowError) as error:
                raise _broken(error) from error
        return rows

    def _advance(self) -> bool:
        import pyarrow as pa

        while self._batch is None or self._place >= self._batch.num_rows:
            try:
                batch = self._reader.read_next_batch()
                # What is not checked here could read beyond the body when its values are taken.
                batch.validate(full=True)
            except StopIteration:
                return False
            except (pa.ArrowException, OSError, ValueError) as error:
                raise _broken(error) from error
            self._batch, self._place = batch, 0
        return True

    def _convert(self, part: pa.RecordBatch) -> list[Row]:
        names = self._names
        if not names:
            return [{} for _ in range(part.num_rows)]
        columns = [self._values(name, column) for name, column in zip(names, part.columns, strict=True)]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def _values(self, name: str, column: pa.Array) -> list[Any]:
        import pyarrow as pa

        kind = column.type
        if pa.types.is_dictionary(kind):
            return self._unpack(name, column)
        if pa.types.is_timestamp(kind):
            return _moments(name, column)
        if pa.types.is_date(kind):
            return _texts_of(column.cast("timestamp[ms]").cast("int64"), "ms", "D", "")
        values: list[Any] = column.to_pylist()
        if pa.types.is_floating(kind):
            return [None if value != value else value for value in values]  # noqa: PLR0124 (only NaN differs from itself)
        return values

    def _unpack(self, name: str, column: pa.DictionaryArray) -> list[Any]:
        words = column.dictionary.to_pylist()
        lengths = [0 if word is None else len(word) for word in words]
        places = column.indices.to_pylist()
        if sum(lengths[place] for place in places if place is not None) > self._most_bytes:
            raise BodyRefused(
                413, f"the texts of column {cut_text(name)!r} unpack to too much; send fewer rows at a time"
            )
        return [None if place is None else words[place] for place in places]


def _check_schema(schema: pa.Schema, columns: Mapping[str, ColumnRule]) -> None:
    import pyarrow as pa

    faults: list[Fault] = []
    for field in schema:
        kind, name = field.type, cut_text(field.name)
        rule = columns.get(field.name)
        if schema.names.count(field.name) > 1:
            faults.append(Fault(name, "a column that is there twice", "each column once"))
        elif (pa.types.is_timestamp(kind) or pa.types.is_date(kind)) and rule is not None and rule.type != "time":
            # Written as text, it would be a category that nobody has meant.
            faults.append(Fault(name, str(kind), rule.type))
        elif not _is_taken(kind):
            faults.append(Fault(name, cut_text(str(kind)), _TAKEN))
    if faults:
        raise FaultsFound(faults)


def _is_taken(kind: pa.DataType) -> bool:
    import pyarrow as pa

    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    checks = (
        pa.types.is_null,
        pa.types.is_boolean,
        pa.types.is_integer,
        pa.types.is_floating,
        pa.types.is_string,
        pa.types.is_large_string,
        pa.types.is_timestamp,
        pa.types.is_date,
    )
    return any(check(kind) for check in checks)


def _moments(name: str, column: pa.Array) -> list[Any]:
    import pyarrow as pa

    # With a zone, the numbers are of UTC; the zone's name says only how to show them.
    offset = "" if column.type.tz is None else "+00:00"
    try:
        numbers = column.cast(pa.timestamp("us", column.type.tz)).cast("int64")
    except pa.ArrowInvalid as error:
        found = Fault(cut_text(name), f"a moment that is no whole number of microseconds ({column.type})", "time")
        raise RowsRefused([found], n_rows=len(column)) from error
    return _texts_of(numbers, "us", "us", offset)


def _texts_of(numbers: pa.Array, unit: str, shown: Any, offset: str) -> list[Any]:
    is_null = numbers.is_null().to_numpy(zero_copy_only=False)
    moments = numbers.fill_null(0).to_numpy(zero_copy_only=False).view(f"datetime64[{unit}]")
    texts = np.datetime_as_string(moments, unit=shown).tolist()
    return [None if gap else f"{text}{offset}" for text, gap in zip(texts, is_null.tolist(), strict=True)]


def _broken(error: Exception) -> BodyRefused:
    return BodyRefused(400, f"the body is no Arrow IPC stream: {cut_text(str(error))}")
