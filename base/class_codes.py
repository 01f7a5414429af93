"""Labels as class codes: how values that came from anywhere are matched with a model's classes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd


def encode_labels(values: pd.Series[Any], classes: tuple[Any, ...] | None) -> npt.NDArray[Any]:
    """Write labels as class codes (-1 for a class that the model does not know), or as numbers.

    A class 1 is 1 and 1.0 alike, since JSON and a column with gaps write it either way; it is not True.

    Examples
    --------
    >>> encode_labels(pd.Series([True, False, True]), (False, True)).tolist()
    [1, 0, 1]
    """
    if classes is None:
        return values.astype("float64").to_numpy()
    codes = {name: code for code, name in enumerate(_names(classes))}
    return np.array([codes.get(name, -1) for name in _names(values)], dtype=np.int64)


def _names(values: Iterable[object]) -> list[str]:
    return [repr(float(value)) if _is_number(value) else str(value) for value in values]  # type: ignore[arg-type]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.number) and not isinstance(value, bool)
