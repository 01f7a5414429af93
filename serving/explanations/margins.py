"""The margin of a model: what its contributions add up to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from registry.manifest import ModelManifest
from serving.explanations.trees import Floats, Unit

# A probability of nothing has no logarithm; this is 1 in 10 ** 9.
_SMALLEST = 1e-9


class Margins:
    """Asks a fitted pipeline of an encoding and an estimator, or any other model, for margins.

    ``unit`` is what a model is sampled in: log-odds or a score for classes, else the value.
    """

    def __init__(self, manifest: ModelManifest, model: Any) -> None:
        self._classes = manifest.classes
        self._threshold = manifest.threshold
        self._model = model
        self._spread: float | None = None
        steps = dict(getattr(model, "steps", ()))
        self._steps = list(steps.values()) if len(steps) == 2 else None
        self.unit: Unit = "value"
        if manifest.classes is not None:
            self.unit = "log-odds" if len(manifest.classes) == 2 else "score"

    def encode(self, features: pd.DataFrame) -> Floats:
        """Give what the estimator sees, (n_rows, n_columns), as its trees or coefficients take it."""
        assert self._steps is not None
        encoding, estimator = self._steps
        columns = encoding.transform(features)
        if hasattr(columns, "toarray"):
            columns = columns.toarray()
        if getattr(estimator, "_preprocessor", None) is not None:
            columns = estimator._preprocess_X(columns, reset=False)
        return np.asarray(columns)

    def answer(self, features: pd.DataFrame) -> Floats:
        """Answer rows of features as a scorer does."""
        answers = self._model.predict(features) if self._classes is None else self._model.predict_proba(features)
        return np.asarray(answers, dtype=np.float64)

    def order_columns(self, owners: list[int]) -> list[int]:
        """Bring the owners of columns into the order in which the estimator's trees see them."""
        assert self._steps is not None
        estimator = self._steps[1]
        if getattr(estimator, "_preprocessor", None) is None:
            return owners
        # With categorical features, histogram gradient boosting puts those first.
        is_categorical = np.asarray(estimator.is_categorical_, dtype=bool)
        return [owners[at] for at in [*np.flatnonzero(is_categorical), *np.flatnonzero(~is_categorical)]]

    def of_features(self, features: pd.DataFrame, *, unit: Unit | None = None) -> Floats:
        """Give margins of rows of features, of shape (n_rows, n_outputs), in :attr:`unit` unless told otherwise."""
        if self._classes is None:
            values = self.answer(features).reshape(-1, 1)
            return np.log(values) if unit == "log of the value" else values
        if unit is not None and unit != "probability" and hasattr(self._model, "decision_function"):
            # What exact contributions add up to; asked of any model, it need not be a logarithm of anything.
            return np.asarray(self._model.decision_function(features), dtype=np.float64).reshape(len(features), -1)
        shares = self.answer(features)
        two = shares.shape[1] == 2
        if unit == "probability":
            return shares[:, 1:] if two else shares
        shares = np.clip(shares, _SMALLEST, 1 - _SMALLEST)
        if two:
            return (np.log(shares[:, 1:]) - np.log(shares[:, :1])).reshape(-1, 1)
        return np.log(shares)

    def chosen(self, answer: Any, *, n_outputs: int, per_class: bool) -> list[tuple[int, Any]]:
        """Name the outputs to explain of a row, each with its class; of two classes, the second has the only one."""
        if self._classes is None:
            return [(0, None)]
        if n_outputs == 1:
            return [(0, self._classes[-1])]
        if per_class:
            return list(enumerate(self._classes))
        at = int(np.argmax(answer))
        return [(at, self._classes[at])]

    def spread(self, reference: pd.DataFrame) -> float:
        """The standard deviation of the answers to the reference."""
        if self._spread is None:
            self._spread = float(np.std(self.answer(reference))) or 1.0
        return self._spread
