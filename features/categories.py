"""The names of categories: one text for one value, wherever it comes from."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def name_category(value: Any) -> str | float:
    """Write one category as :func:`features.columns.as_categories` does; a missing one is NaN.

    Examples
    --------
    >>> name_category(9.0), name_category(True), name_category("turbo"), name_category(None)
    ('9', 'True', 'turbo', nan)
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_):
        return str(bool(value))
    if isinstance(value, float | int | np.number):
        number = float(value)
        if math.isnan(number):
            return np.nan
        # Every digit of an identifier counts; repr is the shortest text that is this number and no other.
        return str(int(number)) if number.is_integer() else repr(number)
    return np.nan if value is None or _is_missing(value) else str(value)


def _is_missing(value: Any) -> bool:
    # The service names texts and numbers, and starts without pandas.
    import pandas as pd

    return bool(pd.api.types.is_scalar(value) and pd.isna(value))
