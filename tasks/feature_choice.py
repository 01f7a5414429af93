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
from base.rows.personal import protected_contract
from features.columns import as_categories, as_float32, as_ranks

# Text of which nearly every row has its own value names the row; it is no category.
_IDENTIFIER_SHARE = 0.9
_FEWEST_NAMES = 20
# Of many rows, gradient boosting keeps a tenth to know when to stop; when all values of a column are among those, it
# fails, and ten values are never all there by chance.
_FEWEST_QUANTITIES = 10
# As in the contract: JSON's integers are exact up to here, and a larger one would be refused in a request.
_LARGEST_EXACT_INTEGER = 2**53


def choose_inputs(types: Mapping[str, ColumnType], pipeline: Pipeline) -> dict[str, ColumnType]:
    """Choose the raw columns that a prediction needs: all but the target, the excluded, and those no contract knows.

    The time column is an input where the user's functions may look at it. What the contract marks sensitive is
    none: no function ever sees it, so none can make a feature of it. Hashed personal values are text.
    """
    spec, contract = pipeline.spec, pipeline.contract
    out = {spec.target_column, *spec.prepare.exclude, *sensitive_columns(pipeline)}
    if not (spec.prepare.features or spec.prepare.fitted) and spec.time is not None:
        out.add(spec.time)
    protected = None if contract is None else protected_contract(contract)
    known = types if contract is None else {} if protected is None else protected.types
    return {name: kind for name, kind in known.items() if name not in out}


def sensitive_columns(pipeline: Pipeline) -> tuple[str, ...]:
    """List the columns that may cut rows into slices, and never be looked at by an estimator."""
    rules = {} if pipeline.contract is None else pipeline.contract.columns
    return tuple(name for name, rule in rules.items() if rule.sensitive)


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
        elif name in spec.ordinal and np.isnan(as_ranks(learnt[name], spec.ordinal[name])).all():
            left_out[name] = f"holds none of the values that prepare.ordinal ranks: {', '.join(spec.ordinal[name])}"
        elif name in {*spec.numeric, *spec.ordinal, *spec.categorical, *spec.one_hot}:
            (numeric if name in {*spec.numeric, *spec.ordinal} else categorical).append(name)
        elif pd.api.types.is_datetime64_any_dtype(column):
            if name != time:
                left_out[name] = "is a moment; a feature function can make quantities of it"
        elif pd.api.types.is_bool_dtype(column) or not pd.api.types.is_numeric_dtype(column):
            if _names_the_row(learnt[name]):
                left_out[name] = "has a value of its own in nearly every row"
            else:
                categorical.append(name)
        elif (n_values := _n_quantities(learnt[name])) < min(_FEWEST_QUANTITIES, len(learnt) / 100):
            left_out[name] = f"holds {n_values} values in the rows to learn from, fewer than {_FEWEST_QUANTITIES}"
        else:
            numeric.append(name)
    return tuple(numeric), tuple(categorical), left_out


def _largest(column: pa.ChunkedArray) -> float:
    bounds = pc.min_max(column).as_py()
    return max((abs(bound) for bound in bounds.values() if bound is not None), default=0)


def _names_the_row(column: pd.Series[Any]) -> bool:
    n_values = as_categories(column).nunique()
    return bool(n_values > _IDENTIFIER_SHARE * column.notna().sum() and n_values > _FEWEST_NAMES)


def _n_quantities(column: pd.Series[Any]) -> int:
    # Infinity, and what float32 cannot hold, is no quantity that an estimator sees.
    return int((~np.isnan(as_float32(column))).sum())


def _holds_nothing(column: pd.Series[Any]) -> bool:
    if pd.api.types.is_float_dtype(column):
        return _n_quantities(column) == 0
    return bool(column.isna().all())
