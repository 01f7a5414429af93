"""Fits that are done once for equal rows, recipe and seed, while many trainings share them, as in a backtest."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import pandas as pd

from base.artifacts import Artifact, ArtifactStore
from base.atomic_files import write_atomically
from base.errors import EverfitError
from base.fingerprint import digest_document
from base.model_files import dump_model, load_model
from base.references import Reference, TrainingData
from base.train_spec import EstimatorSpec

# A shorter fit is done again sooner than its file is read.
_WORTH_A_FILE = 0.5
_MOST_IN_MEMORY = 24

_kept: ContextVar[KeptFits | None] = ContextVar("kept_fits", default=None)


class _StoredFit(Reference):
    model: Artifact
    seconds: float


class KeptFits:
    """Fitted estimators by all that a fit depends on: the newest in memory, the longer ones also in files.

    Parameters
    ----------
    folder : Path
        Where it is noted which fit gave which file; shared by all processes that fit for one backtest.
    is_sharing : bool
        False: nothing is kept and every fit is done, to measure what sharing spares.

    Attributes
    ----------
    n_fits, n_reused : int
        Fits that were done here, and those that were not needed.
    seconds : float
        That the fits done here took.
    spared : float
        That those took when they were done, which were not needed again.
    """

    def __init__(
        self, folder: Path, artifacts: ArtifactStore, *, trusted: tuple[str, ...] = (), is_sharing: bool = True
    ) -> None:
        self._folder = folder
        self._artifacts = artifacts
        self._trusted = trusted
        self._is_sharing = is_sharing
        self._memory: OrderedDict[str, tuple[Any, float]] = OrderedDict()
        self.n_fits = 0
        self.n_reused = 0
        self.seconds = 0.0
        self.spared = 0.0

    def take(self, key: str, fit: Callable[[], Any]) -> Any:
        """Return the model of this key, fitted now if it was not before; a fit that fails is not kept."""
        if self._is_sharing and (found := self._find(key)) is not None:
            self.n_reused += 1
            self.spared += found[1]
            return found[0]
        started = time.perf_counter()
        model = fit()
        seconds = time.perf_counter() - started
        self.n_fits += 1
        self.seconds += seconds
        if self._is_sharing:
            self._remember(key, model, seconds)
            if seconds > _WORTH_A_FILE:
                stored = _StoredFit(
                    model=self._artifacts.put_bytes(dump_model(model), suffix=".skops"), seconds=seconds
                )
                write_atomically(self._folder / f"{key}.json", stored.model_dump_json().encode())
        return model

    def _find(self, key: str) -> tuple[Any, float] | None:
        if key in self._memory:
            self._memory.move_to_end(key)
            return self._memory[key]
        try:
            stored = _StoredFit.model_validate_json((self._folder / f"{key}.json").read_bytes())
            model = load_model(self._artifacts.read_bytes(stored.model), trusted=self._trusted)
        except (OSError, EverfitError, ValueError):
            return None  # never written, or of a type that may not be read: it is fitted again
        self._remember(key, model, stored.seconds)
        return model, stored.seconds

    def _remember(self, key: str, model: Any, seconds: float) -> None:
        self._memory[key] = model, seconds
        while len(self._memory) > _MOST_IN_MEMORY:
            self._memory.popitem(last=False)


@contextmanager
def keeping_fits(kept: KeptFits) -> Iterator[KeptFits]:
    """Let :func:`tasks.fits.fit_rows` take fits from *kept* meanwhile, and leave its own there."""
    token = _kept.set(kept)
    try:
        yield kept
    finally:
        _kept.reset(token)


def find_kept_fits() -> KeptFits | None:
    """Return where fits are kept now; None where they are not."""
    return _kept.get()


def take_fit(spec: EstimatorSpec, data: TrainingData, rows: pd.DataFrame, *, seed: int, fit: Callable[[], Any]) -> Any:
    """Fit, or take the model of an equal fit, where fits are kept."""
    kept = _kept.get()
    return fit() if kept is None else kept.take(name_fit(spec, data, rows, seed=seed), fit)


def name_fit(spec: EstimatorSpec, data: TrainingData, rows: pd.DataFrame, *, seed: int) -> str:
    """Name a fit by all that it depends on: recipe, seed, kinds of the features, classes, and the rows themselves."""
    told = {
        "estimator": spec.estimator,
        "parameters": spec.parameters,
        "seed": seed,
        "numeric": data.numeric,
        "categorical": data.categorical,
        "ordinal": data.ordinal,
        "one_hot": data.one_hot,
        "n_classes": None if data.classes is None else len(data.classes),
        "columns": list(rows.columns),
        "rows": digest_rows(rows),
    }
    return digest_document(told)


def digest_rows(rows: pd.DataFrame) -> str:
    """Digest the values of rows, in their order; the index does not count.

    Examples
    --------
    >>> frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", None]})
    >>> digest_rows(frame) == digest_rows(frame.set_index(pd.Index([7, 8])))
    True
    >>> digest_rows(frame) == digest_rows(frame.iloc[::-1])
    False
    """
    hashes = pd.util.hash_pandas_object(rows, index=False, categorize=True)
    return hashlib.sha256(hashes.to_numpy().tobytes()).hexdigest()
