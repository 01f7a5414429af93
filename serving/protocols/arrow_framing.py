"""The messages of an Arrow IPC stream, looked at before anything is unpacked: what they are, and how large."""

from __future__ import annotations

import struct
from collections.abc import Iterator

import msgspec

from base.errors import Fault
from serving.web.problems import BodyRefused, FaultsFound

# Arrow's columnar format, "Encapsulated message format" and Message.fbs; the numbers are its field ids.
_CONTINUATION = b"\xff\xff\xff\xff"
_SCHEMA, _DICTIONARY, _RECORDS = 1, 2, 3
_HEADER_TYPE, _HEADER, _BODY_LENGTH = 1, 2, 3
_LENGTH, _COMPRESSION = 0, 3
_DICTIONARY_DATA = 1
_MOST_METADATA_BYTES = 1 << 22


class Framing(msgspec.Struct, frozen=True, gc=False):
    """What a stream holds, by its own words."""

    n_rows: int
    n_batches: int


def inspect_stream(data: memoryview) -> Framing:
    """Walk over the messages of a stream without unpacking them, and count their rows.

    Compressed batches are refused: a few bytes of them can stand for terabytes.

    Raises
    ------
    BodyRefused
        400 when it is no Arrow IPC stream, 415 when its batches are compressed.
    """
    n_rows = n_batches = 0
    is_first = True
    try:
        for message in _messages(data):
            kind = message.number(_HEADER_TYPE, "<B")
            if (kind == _SCHEMA) != is_first:
                raise _broken("a schema that is not the first message")
            is_first = False
            if kind == _SCHEMA:
                continue
            if kind not in (_DICTIONARY, _RECORDS):
                raise _broken("a message that is no batch")
            batch = message.table(_HEADER)
            if kind == _RECORDS:
                n_rows, n_batches = n_rows + batch.number(_LENGTH, "<q"), n_batches + 1
            else:
                batch = batch.table(_DICTIONARY_DATA)
            if batch.has(_COMPRESSION):
                raise BodyRefused(415, "the stream's batches are compressed, expected batches without compression")
    except struct.error as error:
        raise _broken("a message that is cut") from error
    if is_first:
        raise _broken("no schema")
    if n_rows <= 0:
        raise FaultsFound([Fault(None, "no row", "at least one")])
    return Framing(n_rows, n_batches)


def _messages(data: memoryview) -> Iterator[_Table]:
    place = 0
    while place < len(data):
        if bytes(data[place : place + 4]) != _CONTINUATION:
            raise _broken("a message without its mark")
        (length,) = struct.unpack_from("<i", data, place + 4)
        if length == 0:
            return
        if not 0 < length <= _MOST_METADATA_BYTES or place + 8 + length > len(data):
            raise _broken("a message that is cut")
        message = _Table.root(data[place + 8 : place + 8 + length])
        body_length = message.number(_BODY_LENGTH, "<q")
        place += 8 + length + body_length
        if body_length < 0 or place > len(data):
            raise _broken("a message that is cut")
        yield message


class _Table:
    """A table of a flatbuffer; :class:`struct.error` where it points beyond its bytes."""

    def __init__(self, data: memoryview, place: int) -> None:
        self._data = data
        self._place = place
        (back,) = struct.unpack_from("<i", data, place)
        self._fields = place - back
        if self._fields < 0:
            raise struct.error
        (self._size,) = struct.unpack_from("<H", data, self._fields)

    @classmethod
    def root(cls, data: memoryview) -> _Table:
        return cls(data, struct.unpack_from("<I", data, 0)[0])

    def has(self, field: int) -> bool:
        return self._find(field) != 0

    def number(self, field: int, form: str) -> int:
        at = self._find(field)
        return int(struct.unpack_from(form, self._data, self._place + at)[0]) if at else 0

    def table(self, field: int) -> _Table:
        at = self._find(field)
        if not at:
            raise struct.error
        place = self._place + at
        return _Table(self._data, place + struct.unpack_from("<I", self._data, place)[0])

    def _find(self, field: int) -> int:
        offset = 4 + 2 * field
        if offset + 2 > self._size:
            return 0
        return int(struct.unpack_from("<H", self._data, self._fields + offset)[0])


def _broken(found: str) -> BodyRefused:
    return BodyRefused(400, f"the body is no Arrow IPC stream: {found}")
