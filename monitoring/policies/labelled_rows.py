"""Rows with their labels, as an estimator learns from them."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


@dataclass(frozen=True)
class LabelledRows:
    """Rows as the estimator sees them, with class codes or values, in the order of time."""

    features: pd.DataFrame
    target: npt.NDArray[Any]

    def followed_by(self, later: LabelledRows) -> LabelledRows:
        """These rows, and later ones."""
        if later.features.empty:
            return self
        features = pd.concat([self.features, later.features], ignore_index=True)
        return LabelledRows(features, np.concatenate([self.target, later.target]))

    def newest(self, n_rows: int) -> LabelledRows:
        """The last rows."""
        return LabelledRows(self.features.tail(n_rows), self.target[-n_rows:])

    def digest(self) -> str:
        """Digest columns, values and their order: the same rows have the same one, whatever their index.

        Examples
        --------
        >>> rows = LabelledRows(pd.DataFrame({"age": [30.0, 40.0]}), np.array([0, 1]))
        >>> again = LabelledRows(pd.DataFrame({"age": [30.0, 40.0]}, index=[7, 8]), np.array([0, 1]))
        >>> rows.digest() == again.digest(), rows.digest() == rows.newest(1).digest()
        (True, False)
        """
        found = hashlib.sha256()
        for name, values in self.features.items():
            found.update(f"{name}:{values.dtype}:".encode())
            found.update(pd.util.hash_pandas_object(values, index=False).to_numpy().tobytes())
        found.update(pd.util.hash_array(self.target).tobytes())
        return found.hexdigest()
