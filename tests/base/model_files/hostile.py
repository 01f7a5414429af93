"""A small corpus of files that are no model: each would do harm to who reads it carelessly.

Files that run code when they are read make a folder, the canary, whose absence proves that they were not.
"""

from __future__ import annotations

import functools
import io
import json
import operator
import os
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from base.model_files import dump_model


class MakesFolder:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def fitted() -> Any:
    """An honest model."""
    from sklearn.linear_model import Ridge

    return Ridge().fit([[0.0], [1.0]], [0.0, 1.0])


def rewrite(data: bytes, change: Callable[[str, bytes], bytes], *, more: dict[str, bytes] | None = None) -> bytes:
    """Write an archive again with other contents, and further files."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(result, "w", zipfile.ZIP_DEFLATED) as target:
        for name in source.namelist():
            target.writestr(name, change(name, source.read(name)))
        for name, content in (more or {}).items():
            target.writestr(name, content)
    return result.getvalue()


def with_schema(change: Callable[[dict[str, Any]], Any], *, more: dict[str, bytes] | None = None) -> bytes:
    """An honest model whose description was changed."""

    def edit(name: str, content: bytes) -> bytes:
        if name != "schema.json":
            return content
        document = json.loads(content)
        return json.dumps(change(document) or document).encode()

    return rewrite(dump_model(fitted()), edit, more=more)


def with_arrays(content: bytes) -> bytes:
    """An honest model whose arrays were replaced."""
    return rewrite(dump_model(fitted()), lambda name, held: content if name.endswith(".npy") else held)


def _joblib(path: Path) -> bytes:
    import joblib

    stream = io.BytesIO()
    joblib.dump(MakesFolder(path), stream)
    return stream.getvalue()


def _pickled_array(path: Path) -> bytes:
    stream = io.BytesIO()
    np.save(stream, np.array([MakesFolder(path)], dtype=object), allow_pickle=True)
    return with_arrays(stream.getvalue())


def _giant_array() -> bytes:
    header = repr({"descr": "<f8", "fortran_order": False, "shape": (10**13,)}).encode().ljust(117) + b"\n"
    return with_arrays(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header)


def _function(function: Any) -> bytes:
    from sklearn.preprocessing import FunctionTransformer

    return dump_model(FunctionTransformer(function))


def _deep() -> bytes:
    depth = 200_000
    schema = b'{"__class__":"list","__module__":"builtins","__loader__":"ListNode","content":[' * depth
    return rewrite(dump_model(fitted()), lambda name, held: schema if name == "schema.json" else held)


def _cycle() -> bytes:
    def change(document: dict[str, Any]) -> dict[str, Any]:
        cached = {"__class__": "x", "__module__": "y", "__loader__": "CachedNode", "__id__": 7}
        pair = {"__class__": "list", "__module__": "builtins", "__loader__": "ListNode", "content": [cached]}
        return document | pair | {"__id__": 7}

    return with_schema(change)


def _bomb(name: str) -> bytes:
    zeros = b"\0" * (64 << 20)
    return with_schema(lambda _: None, more={name: zeros})


def _called(module: str, name: str, loader: str) -> bytes:
    return with_schema(lambda document: document | {"__module__": module, "__class__": name, "__loader__": loader})


HOSTILE: dict[str, Callable[[Path], bytes]] = {
    "a pickle": lambda canary: pickle.dumps(MakesFolder(canary)),
    "a joblib file": _joblib,
    "an array that is a pickle": _pickled_array,
    "a truncated archive": lambda _: dump_model(fitted())[:-40],
    "an archive with a flipped byte": lambda _: _flip(dump_model(fitted())),
    "an empty file": lambda _: b"",
    "os.system": lambda _: _function(os.system),
    "a partial of os.mkdir": lambda canary: _function(functools.partial(os.mkdir, str(canary))),
    "operator.methodcaller": lambda canary: _function(operator.methodcaller("mkdir", str(canary))),
    "operator.attrgetter": lambda _: _function(operator.attrgetter("__class__")),
    "a function of the user's": lambda _: _called("builtins", "exec", "FunctionNode"),
    "a type of a foreign library": lambda _: _called("subprocess", "Popen", "ObjectNode"),
    "a type that is a path through a module": lambda _: _called("sklearn.utils", "os.system", "FunctionNode"),
    "a loader that there is not": lambda _: _called("sklearn.linear_model._ridge", "Ridge", "EvalNode"),
    "a name that leads out of the archive": lambda _: with_schema(lambda _: None, more={"../../evil.npy": b"x"}),
    "an absolute name": lambda _: with_schema(lambda _: None, more={"/etc/evil.npy": b"x"}),
    "an array that claims to be giant": lambda _: _giant_array(),
    "an array without end in its header": lambda _: with_arrays(b"\x93NUMPY\x02\x00\xff\xff\xff\x7f" + b" " * 64),
    "a schema that is nested without end": lambda _: _deep(),
    "a list that holds itself": lambda _: _cycle(),
    "a schema that is no document": lambda _: with_schema(lambda _: [1, 2]),
    "a zip bomb": lambda _: _bomb("bomb.npy"),
}
"""By name, how each is made; the path is the canary's."""


def _flip(data: bytes) -> bytes:
    middle = len(data) // 3
    return data[:middle] + bytes([data[middle] ^ 0xFF]) + data[middle + 1 :]
