"""Which feature each column of an encoding comes from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

_ONE_TO_ONE = ("SimpleImputer", "StandardScaler", "MinMaxScaler", "RobustScaler", "MaxAbsScaler", "OrdinalEncoder")


def find_owners(encoding: Any, features: Sequence[str]) -> list[int] | None:
    """Name, for each column that a fitted ColumnTransformer gives, the position of its feature.

    Returns
    -------
    list of int or None
        None where a step is not known here, or takes several features together.
    """
    if type(encoding).__name__ != "ColumnTransformer":
        return None
    places = {name: at for at, name in enumerate(features)}
    owners: dict[int, int] = {}
    for name, step, columns in encoding.transformers_:
        block = encoding.output_indices_[name]
        chosen = [places.get(str(column), -1) for column in columns]
        n_columns = block.stop - block.start
        if step == "drop" or not n_columns:
            continue
        widths = _find_widths(step, len(chosen), n_columns)
        if widths is None or sum(widths) != n_columns or -1 in chosen:
            return None
        given = [owner for owner, width in zip(chosen, widths, strict=True) for _ in range(width)]
        owners |= dict(zip(range(block.start, block.stop), given, strict=True))
    return [owners[at] for at in range(len(owners))] if sorted(owners) == list(range(len(owners))) else None


def _find_widths(step: Any, n_features: int, n_columns: int) -> list[int] | None:
    """How many columns each feature becomes."""
    kind = type(step).__name__
    widths: list[int] | None = None
    if step == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        widths = [1] * n_features
    elif kind == "Pipeline":
        widths = _through_pipeline(step, n_features, n_columns)
    elif kind == "SimpleImputer":
        import numpy as np

        statistics = np.asarray(step.statistics_)
        # What had no value in training is dropped.
        gone = [not step.keep_empty_features and value != value for value in statistics.tolist()]  # noqa: PLR0124
        widths = None if step.add_indicator else [0 if one else 1 for one in gone]
    elif kind == "OneHotEncoder":
        widths = [int(width) for width in step._n_features_outs]
    elif kind == "TargetEncoder" or kind in _ONE_TO_ONE:
        widths = [n_columns // n_features] * n_features
    return widths


def _through_pipeline(pipeline: Any, n_features: int, n_columns: int) -> list[int] | None:
    first, *others = [each for _, each in pipeline.steps]
    if any(type(each).__name__ not in _ONE_TO_ONE[1:] for each in others):
        return None
    return _find_widths(first, n_features, n_columns)
