"""Models that are kept in memory under the names of their fits, while many are made and asked, as in a backtest."""

from __future__ import annotations

import pickle
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any
from weakref import WeakKeyDictionary

from base.artifacts import Artifact
from base.atomic_files import write_atomically
from base.model_files.archive import ModelFileRefused
from base.model_files.reading import load_model
from base.model_files.writing import dump_model

_MOST_BYTES = 1 << 29

SUFFIX = ".kept"
"""Of a reference to a model that has no file in a store: its digest is the name of its fit."""

_kept: ContextVar[KeptModels | None] = ContextVar("kept_models", default=None)


class KeptModels:
    """Fitted models by the names of their fits, the latest in memory; one that is to outlive the process is written.

    A model is one object then, whoever reads it: nobody may change it.

    Parameters
    ----------
    folder : Path
        Where models are written; shared by all processes that keep the same models.
    trusted : iterable of str
        Types that a model may hold beside those on the allow-list, where it is read out of a file that another
        process has written.
    most, most_bytes : int
        How many are in memory, and how large; one that has to leave is written.
    """

    def __init__(
        self, folder: Path, *, trusted: Iterable[str] = (), most: int = 256, most_bytes: int = _MOST_BYTES
    ) -> None:
        self._folder = folder
        self._trusted = tuple(trusted)
        self._most, self._most_bytes = most, most_bytes
        self._models: OrderedDict[str, Any] = OrderedDict()
        self._sizes: dict[str, int] = {}
        self._names: WeakKeyDictionary[Any, tuple[str, str]] = WeakKeyDictionary()
        self._accepted: set[tuple[str, frozenset[str]]] = set()

    def name(self, model: Any, *, fit: str, kind: str) -> None:
        """Note which fit a model has come of.

        Parameters
        ----------
        fit : str
            A digest of all that the fit depended on.
        kind : str
            A digest of what says of which types the model is made; of each kind, one has to pass the allow-list.
        """
        self._names[model] = fit, kind

    def keep(self, model: Any) -> Artifact | None:
        """Keep a model that was named, and return the reference to it; None where it has no name."""
        named = self._names.get(model)
        if named is None:
            return None
        self._add(named[0], model)
        return Artifact(digest=named[0], size_bytes=0, suffix=SUFFIX)

    def read(self, artifact: Artifact, trusted: Iterable[str]) -> Any:
        """Return a kept model, out of memory or of its file.

        Raises
        ------
        ModelFileRefused
            If it is of a type that may not be read.
        FileNotFoundError
            If another process has kept it, and not written it.
        """
        allowed = frozenset(trusted)
        model = self._models.get(artifact.digest)
        if model is None:
            model = load_model(self._file(artifact.digest).read_bytes(), trusted=allowed)
            self._add(artifact.digest, model)
            return model
        self._models.move_to_end(artifact.digest)
        named = self._names.get(model)
        if named is not None and (named[1], allowed) not in self._accepted:
            load_model(dump_model(model, compression=1), trusted=allowed)
            self._accepted.add((named[1], allowed))
        return model

    def find(self, fit: str, kind: str) -> Any:
        """Return the model of a fit that is in memory or was written; None where there is none that can be read."""
        if fit not in self._models and not self._file(fit).is_file():
            return None
        try:
            model = self.read(Artifact(digest=fit, size_bytes=0, suffix=SUFFIX), self._trusted)
        except (OSError, ModelFileRefused):
            return None
        self.name(model, fit=fit, kind=kind)
        return model

    def write(self, artifact: Artifact) -> None:
        """Write a kept model where other processes and another day find it."""
        if artifact.suffix == SUFFIX and not self._file(artifact.digest).is_file():
            self._write(artifact.digest, self._models[artifact.digest])

    def has(self, artifact: Artifact) -> bool:
        """Tell whether a model can be read; one of a store always can."""
        is_kept = artifact.digest in self._models or self._file(artifact.digest).is_file()
        return artifact.suffix != SUFFIX or is_kept

    def let_go(self) -> None:
        """Forget what was not written: nobody will ask for it any more."""
        for fit in [fit for fit in self._models if not self._file(fit).is_file()]:
            del self._models[fit], self._sizes[fit]

    def _add(self, fit: str, model: Any) -> None:
        self._models[fit] = model
        self._models.move_to_end(fit)
        if fit not in self._sizes:
            self._sizes[fit] = measure_model(model)
        while len(self._models) > 1 and (
            len(self._models) > self._most or sum(self._sizes.values()) > self._most_bytes
        ):
            oldest, left = self._models.popitem(last=False)
            del self._sizes[oldest]
            if not self._file(oldest).is_file():
                self._write(oldest, left)

    def _write(self, fit: str, model: Any) -> None:
        # What is kept for a while is not packed tightly: that takes longer than the fit of a small model.
        write_atomically(self._file(fit), dump_model(model, compression=1))

    def _file(self, fit: str) -> Path:
        return self._folder / f"{fit}.skops"


def measure_model(model: Any) -> int:
    """Count the bytes that a model takes, arrays without copying them; 0 where nothing tells.

    Examples
    --------
    >>> import numpy as np
    >>> 8_000 < measure_model({"values": np.zeros(1_000)}) < 9_000
    True
    """
    buffers: list[pickle.PickleBuffer] = []
    try:
        told = len(pickle.dumps(model, protocol=5, buffer_callback=buffers.append))
    except Exception:  # what cannot be written is not kept for long either
        return 0
    return told + sum(buffer.raw().nbytes for buffer in buffers)


@contextmanager
def keeping_models(kept: KeptModels) -> Iterator[KeptModels]:
    """Let :mod:`base.model_files.stored` keep models in memory meanwhile.

    Examples
    --------
    >>> with keeping_models(KeptModels(Path("models"))) as kept:
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
