"""The same rows as each protocol writes them."""

from __future__ import annotations

import csv
import io
import json
import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

Row = dict[str, Any]
ARROW = "application/vnd.apache.arrow.stream"
MISSING = "\x00missing"
"""A text that no row of a test holds."""

_NUMPY = {"INT64": "<i8", "FP64": "<f8", "FP32": "<f4", "BOOL": "?"}


def names_of(rows: Sequence[Row]) -> list[str]:
    """List the columns that any of the rows has."""
    return list(dict.fromkeys(name for row in rows for name in row))


def choose_datatype(values: Sequence[Any]) -> str | None:
    """Choose the datatype that a client would: None where a column has values of several kinds."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {bool} and kinds:
        return "BOOL"
    if kinds <= {str}:
        return "BYTES"
    if kinds == {int} and all(-(2**63) <= value < 2**63 for value in values if value is not None):
        return "INT64"
    return "FP64" if kinds <= {int, float} else None


def as_tensors(rows: Sequence[Row], datatypes: dict[str, str]) -> Row:
    """Write rows as the JSON document of the Open Inference Protocol."""
    inputs = [
        {"name": name, "datatype": datatype, "shape": [len(rows)], "data": [row.get(name) for row in rows]}
        for name, datatype in datatypes.items()
    ]
    return {"inputs": inputs, "parameters": {"missing": MISSING}}


def as_bytes(rows: Sequence[Row], datatypes: dict[str, str]) -> tuple[bytes, dict[str, str]] | None:
    """Write rows as a body with binary tensors and its headers; None where bytes cannot say what is missing."""
    inputs: list[Row] = []
    parts: list[bytes] = []
    for name, datatype in datatypes.items():
        values = [row.get(name) for row in rows]
        if datatype == "BYTES":
            texts = [(MISSING if value is None else value).encode("utf-8", "surrogatepass") for value in values]
            data = b"".join(struct.pack("<I", len(text)) + text for text in texts)
        elif datatype == "FP64":
            data = np.array([np.nan if value is None else value for value in values], "<f8").tobytes()
        elif None in values:
            return None
        else:
            data = np.array(values, _NUMPY[datatype]).tobytes()
        parameters = {"binary_data_size": len(data)}
        inputs.append({"name": name, "datatype": datatype, "shape": [len(rows), 1], "parameters": parameters})
        parts.append(data)
    head = json.dumps({"inputs": inputs, "parameters": {"missing": MISSING}}).encode()
    return b"".join([head, *parts]), {"inference-header-content-length": str(len(head))}


def as_frame(rows: Sequence[Row]) -> Row:
    """Write rows as pandas does with ``orient="split"``."""
    names = names_of(rows)
    data = [[row.get(name) for name in names] for row in rows]
    return {"dataframe_split": {"index": list(range(len(rows))), "columns": names, "data": data}}


def as_columns(rows: Sequence[Row]) -> Row:
    """Write rows as a list of values for each column."""
    return {"inputs": {name: [row.get(name) for row in rows] for name in names_of(rows)}}


def as_csv(rows: Sequence[Row]) -> str:
    """Write rows as CSV, what is missing as nothing."""
    names = names_of(rows)
    stream = io.StringIO(newline="")
    writer = csv.writer(stream)
    writer.writerow(names)
    writer.writerows([["" if row.get(name) is None else row[name] for name in names] for row in rows])
    return stream.getvalue()


def as_arrow(rows: Sequence[Row], *, n_batch: int = 1000, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    """Write rows as an Arrow IPC stream."""
    table = pa.table({name: pa.array([row.get(name) for row in rows]) for name in names_of(rows)})
    return write_arrow(table, n_batch=n_batch, options=options)


def write_arrow(table: pa.Table, *, n_batch: int = 1000, options: pa.ipc.IpcWriteOptions | None = None) -> bytes:
    """Write a table as an Arrow IPC stream."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=n_batch)
    return sink.getvalue()
