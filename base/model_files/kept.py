"""Models that are kept in memory while many are read again and again, as in a backtest."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

# Of a node of skops' schema: how it is read, and a function's name.
_TYPE_KEYS = ("__loader__", "module_path", "function")

_kept: ContextVar[KeptModels | None] = ContextVar("kept_models", default=None)


class KeptModels:
    """The models that were read or written last, by what their files hold.

    A model is one object then, whoever reads it: nobody may change it.

    Parameters
    ----------
    most : int
        How many are kept.
    """

    def __init__(self, most: int = 24) -> None:
        self._most = most
        self._models: OrderedDict[tuple[str, frozenset[str]], Any] = OrderedDict()
        self._files: OrderedDict[int, tuple[Any, bytes]] = OrderedDict()
        self._written: OrderedDict[str, Any] = OrderedDict()
        self._accepted: set[tuple[frozenset[str], frozenset[str]]] = set()

    def find(self, data: bytes, trusted: Iterable[str]) -> Any | None:
        """Return the model that was read from such a file under the same allow-list, or None.

        One that was written here is not read at all, where another of exactly its types was read before.
        """
        key = _key(data, trusted)
        if key not in self._models:
            model = self._written.get(key[0])
            if model is None or (key[1], _types_within(data)) not in self._accepted:
                return None
            self._add(key, model)
        self._models.move_to_end(key)
        return self._models[key]

    def keep(self, data: bytes, trusted: Iterable[str], model: Any) -> None:
        """Keep a model that was read."""
        key = _key(data, trusted)
        self._add(key, model)
        self._accepted.add((key[1], _types_within(data)))

    def file_of(self, model: Any) -> bytes | None:
        """Return what was written of this very object, or None."""
        found = self._files.get(id(model))
        return None if found is None or found[0] is not model else found[1]

    def keep_file(self, model: Any, data: bytes) -> None:
        """Keep what was written of a model."""
        self._files[id(model)] = (model, data)
        self._written[hashlib.sha256(data).hexdigest()] = model
        for kept in (self._files, self._written):
            while len(kept) > self._most:
                kept.popitem(last=False)

    def _add(self, key: tuple[str, frozenset[str]], model: Any) -> None:
        self._models[key] = model
        while len(self._models) > self._most:
            self._models.popitem(last=False)


@contextmanager
def keeping_models(kept: KeptModels) -> Iterator[KeptModels]:
    """Let :func:`~base.model_files.load_model` and ``dump_model`` keep their models in memory meanwhile.

    Examples
    --------
    >>> with keeping_models(KeptModels()) as kept:
    ...     find_kept_models() is kept
    True
    """
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def find_kept_models() -> KeptModels | None:
    """Return where models are kept now; None where they are not."""
    return _kept.get()


def _key(data: bytes, trusted: Iterable[str]) -> tuple[str, frozenset[str]]:
    return hashlib.sha256(data).hexdigest(), frozenset(trusted)


def _types_within(data: bytes) -> frozenset[str]:
    """Name all types that a model file holds, as its schema says."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        schema = json.loads(archive.read("schema.json"))
    found: set[str] = set()
    waiting = [schema]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            found.update(f"{name}={node[name]}" for name in _TYPE_KEYS if isinstance(node.get(name), str))
            found.add(f"{node.get('__module__')}.{node.get('__class__')}")
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)
    return frozenset(found)
