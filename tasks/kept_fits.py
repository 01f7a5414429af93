"""Fits that are done once for equal rows, recipe and seed, while many trainings share them, as in a backtest."""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd

from base.atomic_files import write_atomically
from base.fingerprint import digest_document
from base.model_files.kept import find_kept_models, measure_model
from base.references import Reference, TrainingData
from base.train_spec import EstimatorSpec

_MOST_IN_MEMORY = 96
_MOST_BYTES = 1 << 29

_kept: ContextVar[KeptFits | None] = ContextVar("kept_fits", default=None)


class FitName(NamedTuple):
    """A digest of all that a fit depends on, and one of what says of which types its model is made."""

    fit: str
    kind: str


class _Figures(Reference):
    """What was asked of a model, and how long its fit and the asking took."""

    figures: tuple[float, ...]
    seconds: float


class _Kept(NamedTuple):
    """A fitted model, how long its fit took, and how large it is."""

    model: Any
    seconds: float
    n_bytes: int


class KeptFits:
    """Fits by all that they depend on: the latest models in memory, and figures that were asked of one also in files.

    Parameters
    ----------
    folder : Path
        Where figures are noted; shared by all processes that fit for one backtest.
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

    def __init__(self, folder: Path, *, is_sharing: bool = True) -> None:
        self._folder = folder
        self.is_sharing = is_sharing
        self._is_asking = False
        self._models: OrderedDict[str, _Kept] = OrderedDict()
        self._figures: dict[str, _Figures] = {}
        self.n_fits = 0
        self.n_reused = 0
        self.seconds = 0.0
        self.spared = 0.0

    def take(self, find_name: Callable[[], FitName], fit: Callable[[], Any]) -> Any:
        """Return the model of this name, fitted now if it was not before; a fit that fails is not kept."""
        if self._is_asking or not self.is_sharing:
            return self._fit(fit)[0]
        name = find_name()
        found = self._models.get(name.fit)
        if found is not None:
            self._models.move_to_end(name.fit)
            self._spare(found.seconds)
            return found.model
        models = find_kept_models()
        # Another process may have written it: reading takes a fraction of a fit.
        if models is not None and (model := models.find(name.fit, name.kind)) is not None:
            seconds = self._find_seconds(name.fit)
            self._spare(seconds)
        else:
            model, seconds = self._fit(fit)
            if models is not None:
                models.name(model, fit=name.fit, kind=name.kind)
            write_atomically(self._file(name.fit), _Figures(figures=(), seconds=seconds).model_dump_json().encode())
        self._keep(name.fit, _Kept(model, seconds, measure_model(model)))
        return model

    def ask(self, key: str, ask: Callable[[], Sequence[float]]) -> tuple[float, ...]:
        """Return figures that were asked of a fit under this key before, in whatever process; or ask now.

        Asking is fitting once, so that what it fits is not kept for itself.
        """
        found = self._find_figures(key)
        if found is not None:
            self._spare(found.seconds)
            return found.figures
        started, self._is_asking = time.perf_counter(), True
        try:
            found = _Figures(figures=tuple(ask()), seconds=time.perf_counter() - started)
        finally:
            self._is_asking = False
        if self.is_sharing:
            self._figures[key] = found
            write_atomically(self._file(key), found.model_dump_json().encode())
        return found.figures

    def _fit(self, fit: Callable[[], Any]) -> tuple[Any, float]:
        started = time.perf_counter()
        model = fit()
        seconds = time.perf_counter() - started
        self.n_fits += 1
        self.seconds += seconds
        return model, seconds

    def _keep(self, fit: str, kept: _Kept) -> None:
        self._models[fit] = kept
        while len(self._models) > 1 and (
            len(self._models) > _MOST_IN_MEMORY or sum(each.n_bytes for each in self._models.values()) > _MOST_BYTES
        ):
            self._models.popitem(last=False)

    def _find_seconds(self, fit: str) -> float:
        """Return how long a fit took in whatever process did it."""
        found = self._find_figures(fit)
        return 0.0 if found is None else found.seconds

    def _spare(self, seconds: float) -> None:
        self.n_reused += 1
        self.spared += seconds

    def _find_figures(self, key: str) -> _Figures | None:
        if not self.is_sharing or key in self._figures:
            return self._figures.get(key)
        try:
            found = _Figures.model_validate_json(self._file(key).read_bytes())
        except (OSError, ValueError):
            return None  # nobody has asked it before
        return self._figures.setdefault(key, found)

    def _file(self, key: str) -> Path:
        return self._folder / f"{key}.json"


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
    return fit() if kept is None else kept.take(lambda: name_fit(spec, data, rows, seed=seed), fit)


def ask_fit(
    spec: EstimatorSpec,
    data: TrainingData,
    rows: pd.DataFrame,
    *,
    seed: int,
    question: str,
    ask: Callable[[], Sequence[float]],
) -> tuple[float, ...]:
    """Fit and ask for figures, or take those of an equal fit, where fits are kept.

    Parameters
    ----------
    question : str
        Names what is asked of the model, and on which rows (:func:`name_question`).
    ask : callable
        Fits on *rows*, and returns the figures.
    """
    kept = _kept.get()
    if kept is None or not kept.is_sharing:
        return tuple(ask())
    return kept.ask(digest_document([name_fit(spec, data, rows, seed=seed).fit, question]), ask)


def name_question(what: str, rows: pd.DataFrame) -> str:
    """Name what is asked on some rows; where nothing is kept, nobody needs the rows' digest."""
    kept = _kept.get()
    return what if kept is None or not kept.is_sharing else f"{what} {digest_rows(rows)}"


def name_fit(spec: EstimatorSpec, data: TrainingData, rows: pd.DataFrame, *, seed: int) -> FitName:
    """Name a fit by all that it depends on: recipe, seed, kinds of the features, classes, and the rows themselves."""
    told = {
        "estimator": spec.estimator,
        "parameters": spec.parameters,
        "numeric": data.numeric,
        "categorical": data.categorical,
        "ordinal": data.ordinal,
        "one_hot": data.one_hot,
        "n_classes": None if data.classes is None else len(data.classes),
        "columns": list(rows.columns),
    }
    kind = digest_document(told)
    return FitName(fit=digest_document([kind, seed, digest_rows(rows)]), kind=kind)


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
