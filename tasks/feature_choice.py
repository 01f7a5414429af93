"""Choose what an estimator sees: which raw columns come in, and what each feature is taken as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from base.contract import ColumnType
from base.pipeline import Pipeline, PrepareSpec
from features.columns import as_categories, as_float32

# Text of which nearly every row has its own value names the row; it is no category.
_IDENTIFIER_SHARE = 0.9
_FEWEST_NAMES = 20
# As in the contract: JSON's integers are exact up to here, and a larger one would be refused in a request.
_LARGEST_EXACT_INTEGER = 2**53


def choose_inputs(types: Mapping[str, ColumnType], pipeline: Pipeline) -> dict[str, ColumnType]:
    """Choose the raw columns that a prediction needs: all but the target, the excluded, and those no contract knows.

    The time column is an input where the user's functions may look at it.
    """
    spec, contract = pipeline.spec, pipeline.contract
    out = {spec.target_column, *spec.prepare.exclude}
    if not spec.prepare.features and spec.time is not None:
        out.add(spec.time)
    known = types if contract is None else {name: rule.type for name, rule in contract.columns.items()}
    return {name: kind for name, kind in known.items() if name not in out}


def drop_unsendable(table: pa.Table, inputs: dict[str, ColumnType]) -> tuple[dict[str, ColumnType], dict[str, str]]:
    """Part the inputs from those that no request could carry as they are."""
    left_out = {
        name: "holds integers beyond 2^53, which a request cannot carry; as text it would be a category"
        for name, kind in inputs.items()
        if kind == "integer" and name in table.column_names and _largest(table[name]) > _LARGEST_EXACT_INTEGER
    }
    return {name: kind for name, kind in inputs.items() if name not in left_out}, left_out


def choose_kinds(
    frame: pd.DataFrame, learnt: pd.DataFrame, spec: PrepareSpec, time: str | None
) -> tuple[tuple[str, ...], tuple[str, ...], dict[str, str]]:
    """Take each column as a quantity or a category: as declared, else by its type; say why one is left out."""
    numeric: list[str] = []
    categorical: list[str] = []
    left_out: dict[str, str] = {}
    for name in frame.columns:
        column = frame[name]
        if name in spec.exclude:
            continue
        if _holds_nothing(learnt[name]):
            left_out[name] = "holds no value in the rows to learn from"
        elif name in spec.numeric:
            numeric.append(name)
        elif name in spec.categorical:
            categorical.append(name)
        elif pd.api.types.is_datetime64_any_dtype(column):
            if name != time:
                left_out[name] = "is a moment; a feature function can make quantities of it"
        elif pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            n_values = as_categories(learnt[name]).nunique()
            if n_values > _IDENTIFIER_SHARE * learnt[name].notna().sum() and n_values > _FEWEST_NAMES:
                left_out[name] = "has a value of its own in nearly every row"
            else:
                categorical.append(name)
        else:
            numeric.append(name)
    return tuple(numeric), tuple(categorical), left_out


def _largest(column: pa.ChunkedArray) -> float:
    bounds = pc.min_max(column).as_py()
    return max((abs(bound) for bound in bounds.values() if bound is not None), default=0)


def _holds_nothing(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_float_dtype(column):
        # Infinity, and what float32 cannot hold, is no quantity that an estimator sees.
        return bool(np.isnan(as_float32(column)).all())
    return bool(column.isna().all())
