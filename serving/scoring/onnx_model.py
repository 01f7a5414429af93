"""A compiled model that is loaded: features in, the answers of scikit-learn out, a hundred times sooner for one row."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from base.compiled.graph import CATEGORICAL, NUMERIC
from base.compiled.models import MISSING

if TYPE_CHECKING:
    import pandas as pd

# Warnings about what a graph could do better are none of a service's log.
_ERRORS_ONLY = 3


class OnnxModel:
    """An ONNX model with the features that it takes, by name and in order."""

    def __init__(self, data: bytes, *, numeric: Sequence[str], categorical: Sequence[str]) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        # The rows of a request are few: more threads would wait for each other.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = _ERRORS_ONLY
        self._session = onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"])
        self._numeric, self._categorical = list(numeric), list(categorical)
        self.notes: dict[str, str] = dict(self._session.get_modelmeta().custom_metadata_map)

    def predict_features(self, features: pd.DataFrame) -> npt.NDArray[np.float64]:
        """Answer rows of features.

        Returns
        -------
        array of shape (n_rows, n_classes) or (n_rows,)
            Probabilities of the classes, or values.
        """
        import pandas as pd

        texts = features[self._categorical].to_numpy(object)
        return self.predict(features[self._numeric].to_numpy(np.float32), np.where(pd.isna(texts), self.missing, texts))

    def predict(
        self, numeric: npt.NDArray[np.float32], categorical: npt.NDArray[np.object_]
    ) -> npt.NDArray[np.float64]:
        """Answer rows as matrices, of shape (n_rows, n_numeric) and (n_rows, n_categorical); no category is missing."""
        inputs: dict[str, Any] = {}
        if self._numeric:
            inputs[NUMERIC] = numeric
        if self._categorical:
            inputs[CATEGORICAL] = categorical
        return np.asarray(self._session.run(None, inputs)[0], dtype=np.float64)

    @property
    def missing(self) -> str:
        """The text that stands for a missing category."""
        return self.notes[MISSING]
