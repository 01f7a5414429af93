"""Models that are kept in memory while many are read again and again, as in a backtest."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

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

    def find(self, data: bytes, trusted: Iterable[str]) -> Any | None:
        """Return the model that was read from such a file under the same allow-list, or None."""
        key = _key(data, trusted)
        if key not in self._models:
            return None
        self._models.move_to_end(key)
        return self._models[key]

    def keep(self, data: bytes, trusted: Iterable[str], model: Any) -> None:
        """Keep a model that was read."""
        self._models[_key(data, trusted)] = model
        while len(self._models) > self._most:
            self._models.popitem(last=False)

    def file_of(self, model: Any) -> bytes | None:
        """Return what was written of this very object, or None."""
        found = self._files.get(id(model))
        return None if found is None or found[0] is not model else found[1]

    def keep_file(self, model: Any, data: bytes) -> None:
        """Keep what was written of a model."""
        self._files[id(model)] = (model, data)
        while len(self._files) > self._most:
            self._files.popitem(last=False)


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
