"""Digests of what a fitted model holds: a model file written twice is two files, with one content."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

import numpy as np

from base.fingerprint import digest_bytes, digest_document

_SCHEMA = "schema.json"


def digest_model(data: bytes) -> str:
    """Digest the content of a skops file: equal models have equal digests, whenever and wherever they were written.

    In a file of skops stand moments, and addresses of objects as their names. Objects are numbered here in the order
    in which the document names them, arrays go in by their values (a structured one field by field: between its
    fields lies whatever was in memory), and the moments are left out.

    Raises
    ------
    ValueError
        If it is no skops file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            schema = json.loads(archive.read(_SCHEMA))
            files = {name: _digest_file(name, archive.read(name)) for name in archive.namelist() if name != _SCHEMA}
    except (zipfile.BadZipFile, KeyError, json.JSONDecodeError) as error:
        raise ValueError(f"it is no skops file ({type(error).__name__}: {error})") from error
    schema.pop("_skops_version", None)
    return digest_document(_rename(schema, files, {}))


def _rename(node: Any, files: Mapping[str, str], names: dict[int, int]) -> Any:
    if isinstance(node, list):
        return [_rename(item, files, names) for item in node]
    if not isinstance(node, dict):
        return files.get(node, node) if isinstance(node, str) else node
    renamed = {}
    for key, value in node.items():
        if key == "__id__":
            renamed[key] = names.setdefault(value, len(names))
        else:
            renamed[key] = _rename(value, files, names)
    return renamed


def _digest_file(name: str, data: bytes) -> str:
    if name.endswith(".npy"):
        return _digest_array(np.load(io.BytesIO(data), allow_pickle=False))
    if name.endswith(".npz"):
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return digest_document({key: _digest_array(arrays[key]) for key in sorted(arrays.files)})
    return digest_bytes(data)


def _digest_array(array: np.ndarray[Any, Any]) -> str:
    if array.dtype.names is not None:
        parts = {field: _digest_array(np.ascontiguousarray(array[field])) for field in array.dtype.names}
        return digest_document({"fields": parts, "shape": list(array.shape)})
    head = f"{array.dtype.str} {array.shape} ".encode()
    return digest_bytes(head + np.ascontiguousarray(array).tobytes())
