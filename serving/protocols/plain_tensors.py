"""Tensors as most requests have them, read in one pass of compiled code; whatever else comes goes the thorough way."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec

# What is beyond, good or not, is rare: an integer that a double cannot hold must be looked at digit by digit.
_LARGEST = 2**53 - 1
_Number = Annotated[float, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
_Integer = Annotated[int, msgspec.Meta(ge=-_LARGEST, le=_LARGEST)]
# The empty text stands for a missing value.
_Text = Annotated[str, msgspec.Meta(min_length=1)]


class _Tensor(msgspec.Struct, tag_field="datatype", gc=False):
    name: str
    shape: list[int]
    parameters: None = None


class _Numbers(_Tensor, tag="FP64", gc=False):
    data: list[_Number | None] = []


class _Integers(_Tensor, tag="INT64", gc=False):
    data: list[_Integer | None] = []


class _Texts(_Tensor, tag="BYTES", gc=False):
    data: list[_Text | None] = []


class _Booleans(_Tensor, tag="BOOL", gc=False):
    data: list[bool | None] = []


class PlainRequest(msgspec.Struct, gc=False):
    """A request without parameters whose tensors are whole and of the usual datatypes."""

    inputs: list[_Numbers | _Integers | _Texts | _Booleans]
    id: str | None = None
    outputs: Any = None
    parameters: None = None


_decoder = msgspec.json.Decoder(PlainRequest)


def read_plain(body: bytes, *, most_rows: int) -> tuple[list[dict[str, Any]], PlainRequest] | None:
    """Read a request's rows, or None where it needs the thorough way.

    Examples
    --------
    >>> body = b'{"inputs": [{"name": "age", "shape": [2], "datatype": "FP64", "data": [36, 41.5]}]}'
    >>> read_plain(body, most_rows=10)[0]
    [{'age': 36.0}, {'age': 41.5}]
    >>> read_plain(body.replace(b"FP64", b"INT64"), most_rows=10) is None
    True
    """
    if b"\\ud" in body or b"\\uD" in body:
        return None  # half a character may be escaped
    try:
        request = _decoder.decode(body)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    inputs = request.inputs
    n_rows = inputs[0].shape[0] if inputs and inputs[0].shape else 0
    if not 0 < n_rows <= most_rows:
        return None
    names = [tensor.name for tensor in inputs]
    if len(set(names)) < len(names):
        return None
    one, two = [n_rows], [n_rows, 1]
    for tensor in inputs:
        if len(tensor.data) != n_rows or (tensor.shape not in (one, two)):
            return None
    if n_rows == 1:
        return [{tensor.name: tensor.data[0] for tensor in inputs}], request
    columns = [tensor.data for tensor in inputs]
    return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)], request
