"""Tensors of the Open Inference Protocol: values in and out, as JSON or as bytes behind it."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from base.errors import Fault
from base.json_values import name_type, show_value
from serving.web.problems import MOST_FAULTS, FaultsFound

_INTEGERS = {
    f"{sign}INT{bits}": np.dtype(f"<{kind}{bits // 8}")
    for sign, kind in (("", "i"), ("U", "u"))
    for bits in (8, 16, 32, 64)
}
_FLOATS = {f"FP{bits}": np.dtype(f"<f{bits // 8}") for bits in (16, 32, 64)}
_DTYPES: dict[str, np.dtype[Any]] = {**_INTEGERS, **_FLOATS, "BOOL": np.dtype(np.uint8)}
_BOUNDS = {name: (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max)) for name, dtype in _INTEGERS.items()}
_LARGEST = {name: float(np.finfo(dtype).max) for name, dtype in _FLOATS.items()}
DATATYPES = ("BOOL", *_INTEGERS, *_FLOATS, "BYTES")
"""What a tensor's values may be."""

_LENGTH = struct.Struct("<I")
_NOTHING = type(None)
_TYPES: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool, _NOTHING}),
    "BYTES": frozenset({str, _NOTHING}),
    **dict.fromkeys(_INTEGERS, frozenset({int, _NOTHING})),
    **dict.fromkeys(_FLOATS, frozenset({int, float, _NOTHING})),
}


class Tensor(msgspec.Struct, frozen=True, gc=False):
    """A named tensor that is whole: ``values`` in row-major order, None where one is missing."""

    name: str
    shape: Sequence[int]
    values: list[Any]


def read_data(name: str, datatype: str, data: list[Any], *, size: int, missing: str) -> list[Any]:
    """Read the values of a tensor that stand in the JSON document, flat or nested.

    Raises
    ------
    FaultsFound
        Where one is not of the datatype, or where there are more or fewer than *size*.

    Examples
    --------
    >>> read_data("age", "FP64", [[1.5], [None]], size=2, missing="")
    [1.5, None]
    >>> read_data("age", "INT64", [1.5], size=1, missing="")
    Traceback (most recent call last):
    serving.web.problems.FaultsFound: 1 fault in the body, such as: row 0, column 'age': found 1.5 (number), …
    """
    if data and type(data[0]) is list and all(type(row) is list for row in data):
        data = [value for row in data for value in row]
    if len(data) != size:
        raise FaultsFound([Fault(name, f"{len(data):,} values", f"{size:,}, as the tensor's shape says")])
    if not set(map(type, data)) <= _TYPES[datatype]:
        known = _TYPES[datatype]
        _refuse(name, datatype, data, [place for place, value in enumerate(data) if type(value) not in known])
    if datatype in _BOUNDS:
        low, high = _BOUNDS[datatype]
        wrong = [place for place, value in enumerate(data) if value is not None and not low <= value <= high]
        if wrong:
            _refuse(name, datatype, data, wrong)
    elif datatype in ("FP16", "FP32"):
        largest = _LARGEST[datatype]
        wrong = [place for place, value in enumerate(data) if value is not None and not -largest <= value <= largest]
        if wrong:
            _refuse(name, datatype, data, wrong)
    elif datatype == "BYTES" and missing in data:
        return [None if value == missing else value for value in data]
    return data


def read_bytes(name: str, datatype: str, data: memoryview, *, size: int, missing: str) -> list[Any]:
    """Read the values of a tensor whose bytes stand behind the JSON document, the lowest byte first.

    Raises
    ------
    FaultsFound

    Examples
    --------
    >>> read_bytes("age", "FP32", memoryview(np.array([0.5, np.nan], "<f4").tobytes()), size=2, missing="")
    [0.5, None]
    """
    if datatype == "BYTES":
        return _read_texts(name, data, size, missing)
    dtype = _DTYPES[datatype]
    if len(data) != size * dtype.itemsize:
        raise FaultsFound(
            [Fault(name, f"{len(data):,} bytes", f"{size * dtype.itemsize:,}: {size:,} values of {datatype}")]
        )
    array = np.frombuffer(data, dtype=dtype)
    if datatype == "BOOL":
        if len(wrong := np.flatnonzero(array > 1)):
            _refuse(name, datatype, array.tolist(), wrong.tolist())
        array = array.astype(bool)
    values: list[Any] = array.tolist()
    if datatype in _FLOATS:
        for place in np.flatnonzero(np.isnan(array)).tolist():
            values[place] = None
    return values


def write_bytes(datatype: str, values: Any) -> bytes:
    """Write values as the bytes of a tensor.

    Examples
    --------
    >>> write_bytes("BYTES", ["far"]), write_bytes("BOOL", [True])
    (b'\\x03\\x00\\x00\\x00far', b'\\x01')
    """
    if datatype == "BYTES":
        parts: list[bytes] = []
        for value in values:
            text = value.encode()
            parts += (_LENGTH.pack(len(text)), text)
        return b"".join(parts)
    return np.asarray(values, dtype=_DTYPES[datatype]).tobytes()


def _read_texts(name: str, data: memoryview, size: int, missing: str) -> list[Any]:
    values: list[Any] = []
    faults: list[Fault] = []
    place, end = 0, len(data)
    while place < end and len(values) <= size:
        start = place + 4
        stop = start + (_LENGTH.unpack_from(data, place)[0] if start <= end else end)
        if stop > end:
            raise FaultsFound([Fault(name, "an element that is cut", "4 bytes of its length, then as many bytes")])
        try:
            text = str(data[start:stop], "utf-8")
        except UnicodeDecodeError:
            text = missing
            if len(faults) <= MOST_FAULTS:
                faults.append(Fault(name, "bytes that are no text", "text in UTF-8", row=len(values)))
        values.append(None if text == missing else text)
        place = stop
    if len(values) != size:
        found = f"more than {size:,}" if len(values) > size else f"{len(values):,}"
        raise FaultsFound([Fault(name, f"{found} elements", f"{size:,}, as the tensor's shape says")])
    if faults:
        raise FaultsFound(faults)
    return values


def _refuse(name: str, datatype: str, data: Sequence[Any], places: Sequence[int]) -> None:
    raise FaultsFound(
        [
            Fault(name, f"{show_value(data[place])} ({name_type(data[place])})", datatype, row=place)
            for place in places[: MOST_FAULTS + 1]
        ]
    )
