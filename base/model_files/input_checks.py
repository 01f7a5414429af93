"""The one function that histogram gradient boosting keeps: left out of a file, put back when it is read."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np


def make_input_check() -> Any:
    """Make what ``_preprocess_X`` of scikit-learn 1.9's histogram gradient boosting keeps for its numeric columns."""
    from sklearn.utils.validation import check_array

    return functools.partial(check_array, dtype=[np.float64], ensure_all_finite=False)


def find_input_checks(model: object) -> list[Any]:
    """Find the steps of histogram gradient boostings, wherever they are in a model, that check numeric columns."""
    from sklearn.ensemble._hist_gradient_boosting.gradient_boosting import BaseHistGradientBoosting
    from sklearn.preprocessing import FunctionTransformer

    found: list[Any] = []
    seen: set[int] = set()
    waiting: list[tuple[object, bool]] = [(model, False)]
    while waiting:
        each, is_preprocessing = waiting.pop()
        if id(each) in seen:
            continue
        seen.add(id(each))
        if is_preprocessing and isinstance(each, FunctionTransformer):
            found.append(each)
        elif isinstance(each, list | tuple):
            waiting += [(item, is_preprocessing) for item in each]
        elif isinstance(each, dict):
            waiting += [(item, is_preprocessing) for item in each.values()]
        elif type(each).__module__.startswith("sklearn.") and hasattr(each, "__dict__"):
            is_boosting = isinstance(each, BaseHistGradientBoosting)
            waiting += [
                (value, is_preprocessing or (is_boosting and name == "_preprocessor"))
                for name, value in vars(each).items()
            ]
    return found
