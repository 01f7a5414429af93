"""Metrics of the user's own: functions ``(target, prediction) -> float`` by import path or of the pipeline's code."""

from __future__ import annotations

import importlib
import logging
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.bootstrap import Blocks
from base.evaluate_spec import MetricSpec
from base.user_code import UserCode
from tasks.scored_rows import ScoredBy

_log = logging.getLogger(__name__)

Draws = npt.NDArray[np.float64]


@dataclass(frozen=True)
class UserMetric:
    """A function that was declared, ready to be called."""

    spec: MetricSpec
    function: Callable[[Any, Any], Any]
    code: UserCode

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.spec.metric

    @property
    def lower_is_better(self) -> bool:
        """Which way is better."""
        return self.spec.lower_is_better

    def measure(
        self,
        labels: npt.NDArray[Any],
        scored: ScoredBy,
        classes: tuple[Any, ...] | None,
        missing: dict[str, str],
    ) -> float | None:
        """Call the function on all rows; what it raises, or answers that is no number, is noted in *missing*.

        Parameters
        ----------
        labels : array of shape (n_rows,)
            The target as the data hold it.
        """
        predictions = self._predictions(scored, classes)
        if predictions is None:
            missing[self.name] = f"{self.spec.function!r} needs answers in the challenger's classes"
            return None
        try:
            return self._call(labels, predictions)
        except Exception as error:
            described = self.code.describe_error(error)
            missing[self.name] = f"{self.spec.function!r} failed: {described}"
            _log.warning("metric %r cannot be measured: %s", self.name, described)
            return None

    def resample(
        self,
        labels: npt.NDArray[Any],
        scored: ScoredBy,
        classes: tuple[Any, ...] | None,
        blocks: Blocks,
        weights: Draws,
    ) -> Draws | None:
        """Call the function on the first of the resamples; None where it is not to be, or fails on all of them."""
        predictions = self._predictions(scored, classes)
        if predictions is None or not self.spec.draws:
            return None
        values = np.full(min(self.spec.draws, len(weights)), np.nan)
        every = np.arange(len(labels))
        for draw in range(len(values)):
            chosen = np.repeat(every, weights[draw].astype(np.intp)[blocks.cell])
            try:
                values[draw] = self._call(labels[chosen], predictions[chosen])
            except Exception:
                # Without one of the classes, say; interval_of gives up where that is often so.
                _log.debug("metric %r failed in a resample", self.name, exc_info=True)
        return values if np.isfinite(values).any() else None

    def _call(self, labels: npt.NDArray[Any], predictions: npt.NDArray[Any]) -> float:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            # Copies: a function may write into what it is given.
            value = float(self.function(labels.copy(), predictions.copy()))
        if not math.isfinite(value):
            raise ValueError(f"it answers {value}, expected a finite number")
        return value

    def _predictions(self, scored: ScoredBy, classes: tuple[Any, ...] | None) -> npt.NDArray[Any] | None:
        if classes is None:
            return scored.answers
        if self.spec.takes == "probabilities":
            if scored.answers.shape[1] != len(classes):
                return None
            return scored.answers[:, 1] if len(classes) == 2 else scored.answers
        codes = scored.points.astype(np.intp)
        return None if (codes < 0).any() else np.asarray(classes)[codes]


def load_metrics(specs: Sequence[MetricSpec], code: UserCode, missing: dict[str, str]) -> list[UserMetric]:
    """Load the declared functions; one that is not there is noted in *missing*.

    Examples
    --------
    >>> missing: dict[str, str] = {}
    >>> spec = MetricSpec(function="sklearn.metrics.no_such_score", lower_is_better=False)
    >>> load_metrics([spec], UserCode({}), missing), missing
    ([], {'no_such_score': "'sklearn.metrics.no_such_score' is not in sklearn.metrics"})
    """
    loaded = []
    for spec in specs:
        try:
            function = code.function(spec.function) if ":" in spec.function else _import(spec.function)
        except Exception as error:
            missing[spec.metric] = str(error)
            _log.warning("metric %r cannot be measured: %s", spec.metric, error)
            continue
        loaded.append(UserMetric(spec, function, code))
    return loaded


def _import(path: str) -> Callable[[Any, Any], Any]:
    module_name, _, name = path.rpartition(".")
    function = getattr(importlib.import_module(module_name), name, None)
    if not callable(function):
        raise AttributeError(f"{path!r} is not in {module_name}")
    return function  # type: ignore[no-any-return]
