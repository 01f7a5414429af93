"""Bodies of the Open Inference Protocol: tensors in, one for each column or one for all, rows out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import msgspec

from base.contract_rules import ColumnRule
from base.errors import Fault
from base.json_values import cut_text
from serving.protocols.documents import expect_object, name_value, parse_document, refuse_too_many
from serving.protocols.plain_tensors import read_plain
from serving.protocols.requests import RowsRefused
from serving.protocols.tensors import DATATYPES, Tensor, read_bytes, read_data
from serving.web.problems import BodyRefused, FaultsFound

Row = dict[str, Any]
OUTPUTS = ("prediction", "probabilities", "id", "version")
"""The tensors of an answer; a regression has no probabilities."""

_EXAMPLE = '{"name": "age", "shape": [2], "datatype": "FP64", "data": [36, 41]}'
_ELSEWHERE = ("shared_memory_region", "classification")


class Output(msgspec.Struct, frozen=True, gc=False):
    """A tensor that the client wants, and whether as bytes."""

    name: str
    is_binary: bool


class InferRequest(msgspec.Struct, frozen=True, gc=False):
    """A request for predictions as a client of the protocol makes it."""

    rows: list[Row]
    outputs: Sequence[Output] | None
    is_binary: bool
    id: str | None


def read_infer_body(
    body: bytes, *, header_length: int | None, columns: Mapping[str, ColumnRule], most_rows: int
) -> InferRequest:
    """Read a request's tensors as rows.

    Parameters
    ----------
    header_length : int, optional
        Bytes of the JSON document, where tensors follow it as bytes (``Inference-Header-Content-Length``).
    columns : mapping of column to rule
        The model's signature.

    Raises
    ------
    BodyRefused
        400 when the document is no JSON, 413 when there are too many rows, 422 when tensors do not fit together.

    Examples
    --------
    >>> body = b'{"inputs": [{"name": "age", "shape": [2], "datatype": "INT64", "data": [36, 41]}]}'
    >>> read_infer_body(body, header_length=None, columns={}, most_rows=10).rows
    [{'age': 36}, {'age': 41}]
    """
    plain = read_plain(body, most_rows=most_rows) if header_length is None else None
    if plain is not None:
        rows, request = plain
        return InferRequest(rows, _read_outputs(request.outputs, is_binary=False), False, request.id)
    if header_length is not None and not 0 <= header_length <= len(body):
        raise BodyRefused(
            400, f"Inference-Header-Content-Length is {header_length:,}, but the body has {len(body):,} bytes"
        )
    document = parse_document(body if header_length is None else body[:header_length])
    document = expect_object(document, "the body", '{"inputs": [...]}')
    parameters = _read_parameters(document)
    missing, is_binary = parameters.get("missing", ""), parameters.get("binary_data_output", False)
    if not isinstance(missing, str):
        raise FaultsFound([Fault(None, f"{name_value(missing)} as the parameter 'missing'", "a text")])
    if not isinstance(is_binary, bool):
        raise FaultsFound([Fault(None, f"{name_value(is_binary)} as 'binary_data_output'", "true or false")])
    outputs = _read_outputs(document.get("outputs"), is_binary=is_binary)
    name = document.get("id")
    if name is not None and not isinstance(name, str):
        raise FaultsFound([Fault(None, f"{name_value(name)} as the id", "a text")])
    binary = memoryview(body)[len(body) if header_length is None else header_length :]
    tensors = _read_tensors(document.get("inputs"), binary, missing=missing, most_rows=most_rows, columns=columns)
    return InferRequest(_make_rows(tensors, list(columns)), outputs, is_binary, name)


def _read_tensors(
    entries: Any, binary: memoryview, *, missing: str, most_rows: int, columns: Mapping[str, ColumnRule]
) -> list[Tensor]:
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if entries == [] else name_value(entries)
        raise FaultsFound([Fault(None, f"{found} as 'inputs'", f"a list of at least one tensor, such as {_EXAMPLE}")])
    tensors: list[Tensor] = []
    seen: set[str] = set()
    n_rows = -1
    heads = [_read_head(entry) for entry in entries]
    for entry, (name, datatype, shape, parameters) in zip(entries, heads, strict=True):
        if name in seen:
            raise FaultsFound([Fault(cut_text(name), "a tensor that is there twice", "each tensor once")])
        seen.add(name)
        if len(shape) == 2 and shape[1] != 1 and len(entries) == 1:
            _check_matrix(name, datatype, shape, columns)
        elif len(shape) != 1 and shape[1] != 1:
            raise FaultsFound([_wrong_shape(name, shape)])
        if n_rows not in (-1, shape[0]):
            raise FaultsFound([Fault(cut_text(name), f"{shape[0]:,} rows", f"{n_rows:,}, as the tensor before has")])
        n_rows = shape[0]
        if n_rows < 1:
            raise FaultsFound([Fault(cut_text(name), "no row", "at least one")])
        refuse_too_many(n_rows, most_rows)
        size = n_rows * (shape[1] if len(shape) == 2 else 1)
        n_bytes = parameters.get("binary_data_size")
        if n_bytes is None:
            data = entry.get("data")
            if not isinstance(data, list):
                raise FaultsFound([Fault(cut_text(name), f"{name_value(data)} as 'data'", "a list of values")])
            values = _counted(n_rows, read_data, name, datatype, data, size=size, missing=missing)
        else:
            if type(n_bytes) is not int or not 0 <= n_bytes <= len(binary):
                found = f"{name_value(n_bytes)} as 'binary_data_size'"
                raise FaultsFound([Fault(cut_text(name), found, f"at most the {len(binary):,} bytes that are left")])
            values = _counted(n_rows, read_bytes, name, datatype, binary[:n_bytes], size=size, missing=missing)
            binary = binary[n_bytes:]
        tensors.append(Tensor(name, shape, values))
    if len(binary):
        raise FaultsFound([Fault(None, f"{len(binary):,} bytes behind the last tensor", "none")])
    return tensors


def _counted(
    n_rows: int, read: Callable[..., list[Any]], name: str, datatype: str, data: Any, *, size: int, missing: str
) -> list[Any]:
    try:
        return read(cut_text(name), datatype, data, size=size, missing=missing)
    except FaultsFound as error:
        raise RowsRefused(error.faults, n_rows=n_rows) from error


def _read_head(entry: Any) -> tuple[str, str, list[int], dict[str, Any]]:
    entry = expect_object(entry, "an input", _EXAMPLE)
    name, datatype, shape = entry.get("name"), entry.get("datatype"), entry.get("shape")
    if not isinstance(name, str):
        raise FaultsFound([Fault(None, f"{name_value(name)} as the name of an input", "a column's name")])
    if not isinstance(datatype, str) or datatype not in DATATYPES:
        raise FaultsFound(
            [Fault(cut_text(name), f"{name_value(datatype)} as 'datatype'", f"one of {', '.join(DATATYPES)}")]
        )
    if not isinstance(shape, list) or not 1 <= len(shape) <= 2 or any(type(one) is not int for one in shape):
        raise FaultsFound([_wrong_shape(name, shape)])
    if min(shape) < 0 or max(shape) >= 1 << 53:
        raise FaultsFound([_wrong_shape(name, shape)])
    return name, datatype, shape, _read_parameters(entry)


def _read_parameters(document: dict[str, Any]) -> dict[str, Any]:
    parameters = document.get("parameters")
    if parameters is None:
        return {}
    parameters = expect_object(parameters, "'parameters'", '{"binary_data_size": 16}')
    for name in _ELSEWHERE:
        if parameters.get(name):
            raise FaultsFound([Fault(None, f"the parameter {name!r}", "tensors in the body; that is not supported")])
    for name, value in parameters.items():
        if not isinstance(value, str | int | float | bool):
            found = f"{name_value(value)} as the parameter {cut_text(name)!r}"
            raise FaultsFound([Fault(None, found, "a text, a number, true or false")])
    return parameters


def _check_matrix(name: str, datatype: str, shape: Sequence[int], columns: Mapping[str, ColumnRule]) -> None:
    if others := [column for column, rule in columns.items() if rule.type not in ("number", "integer")]:
        found = f"shape {list(shape)}, one tensor for all columns"
        raise FaultsFound([Fault(cut_text(name), found, f"a tensor for each column, since {others[0]!r} is no number")])
    if datatype in ("BYTES", "BOOL"):
        raise FaultsFound([Fault(cut_text(name), f"{datatype} for numbers", "FP64, FP32 or integers")])
    if shape[1] != len(columns):
        known = cut_text(", ".join(columns))
        raise FaultsFound([Fault(cut_text(name), f"{shape[1]:,} columns", f"{len(columns):,}: {known}")])


def _wrong_shape(name: str, shape: Any) -> Fault:
    return Fault(cut_text(name), f"the shape {cut_text(repr(shape))}", "[n] or [n, 1], with n rows")


def _make_rows(tensors: Sequence[Tensor], columns: Sequence[str]) -> list[Row]:
    first = tensors[0]
    if len(first.shape) == 2 and first.shape[1] != 1:
        width = first.shape[1]
        starts = range(0, len(first.values), width)
        return [dict(zip(columns, first.values[at : at + width], strict=True)) for at in starts]
    names = [tensor.name for tensor in tensors]
    return [dict(zip(names, row, strict=True)) for row in zip(*(tensor.values for tensor in tensors), strict=True)]


def _read_outputs(entries: Any, *, is_binary: bool) -> list[Output] | None:
    if entries is None or entries == []:
        return None
    if not isinstance(entries, list):
        raise FaultsFound([Fault(None, f"{name_value(entries)} as 'outputs'", "a list of objects with a name")])
    found: list[Output] = []
    for each in entries:
        entry = expect_object(each, "an output", '{"name": "prediction"}')
        name = entry.get("name")
        if not isinstance(name, str) or name not in OUTPUTS:
            raise FaultsFound([Fault(None, f"{name_value(name)} as an output", f"one of {', '.join(OUTPUTS)}")])
        wanted = _read_parameters(entry).get("binary_data", is_binary)
        if not isinstance(wanted, bool):
            raise FaultsFound([Fault(None, f"{name_value(wanted)} as 'binary_data'", "true or false")])
        found.append(Output(name, wanted))
    return found
