"""From raw columns to what an estimator sees: one way, shared by training and serving."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from base.contract import ColumnType
from base.errors import UserCodeError, nearest
from base.times import parse_moment
from base.user_code import UserCode
from features.columns import FeatureRefused, as_categories, as_float32, as_ranks
from features.feature_plan import FeaturePlan
from features.fitted import FittedFeature


def frame_from_rows(rows: Sequence[Mapping[str, Any]], inputs: Mapping[str, ColumnType]) -> pd.DataFrame:
    """Build a frame with one column for each input, typed as in training, from JSON rows.

    A column that a row leaves out is missing in that row. The rows have passed the contract already. Numbers are
    float64, moments are microseconds in UTC, booleans are pandas' own, and a missing text is None: a feature
    function sees one kind of column, wherever the rows come from.

    Examples
    --------
    >>> frame_from_rows([{"age": 3}, {}], {"age": "integer"})["age"].tolist()
    [3.0, nan]
    """
    columns = {name: _typed([row.get(name) for row in rows], kind) for name, kind in inputs.items()}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def frame_from_values(rows: Sequence[tuple[Any, ...]], inputs: Mapping[str, ColumnType]) -> pd.DataFrame:
    """Build the same frame as :func:`frame_from_rows` from rows that are the inputs' values in order.

    Examples
    --------
    >>> frame_from_values([(3, "a"), (None, "b")], {"age": "integer", "name": "text"})["age"].tolist()
    [3.0, nan]
    """
    values = zip(*rows, strict=True) if rows else ([] for _ in inputs)
    columns = {name: _typed(list(column), kind) for (name, kind), column in zip(inputs.items(), values, strict=True)}
    return pd.DataFrame(columns, index=pd.RangeIndex(len(rows)))


def frame_from_table(table: pa.Table, inputs: Mapping[str, ColumnType]) -> pd.DataFrame:
    """Build the same frame as :func:`frame_from_rows` from stored rows; an input that the table lacks is missing.

    A champion that was trained with a column which has gone since is still judged, on rows without it.
    """
    columns = {
        name: _typed_column(table[name], kind) if name in table.column_names else _typed([None] * table.num_rows, kind)
        for name, kind in inputs.items()
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(table.num_rows))


def rows_from_frame(frame: pd.DataFrame, inputs: Mapping[str, ColumnType]) -> list[dict[str, Any]]:
    """Write raw rows as a client would send them; missing values are left out.

    Examples
    --------
    >>> rows_from_frame(pd.DataFrame({"age": [3.0, None]}), {"age": "integer"})
    [{'age': 3}, {}]
    """
    columns = {name: _plain(frame[name], kind) for name, kind in inputs.items()}
    return [
        {name: values[row] for name, values in columns.items() if values[row] is not None} for row in range(len(frame))
    ]


def apply_functions(frame: pd.DataFrame, functions: Sequence[str], code: UserCode) -> pd.DataFrame:
    """Let each of the user's feature functions add its columns; *frame* itself is never changed.

    Raises
    ------
    UserCodeError
        If a function raises, returns no frame, another number of rows, other rows, or rows in another order.
    """
    for path in functions:
        frame = apply_function(frame, path, code)
    return frame


def apply_function(frame: pd.DataFrame, path: str, code: UserCode) -> pd.DataFrame:
    """Let one feature function add its columns, as :func:`apply_functions` does."""
    function = code.function(path)
    try:
        # A deep copy, since a function may write into the values of its columns.
        result = function(frame.copy())
    except (Exception, SystemExit) as error:
        raise UserCodeError(
            path, f"raised {code.describe_error(error)}", "mend it, or take it out of prepare.features"
        ) from error
    _check_result(path, frame, result)
    return result  # type: ignore[no-any-return]


def apply_fitted(frame: pd.DataFrame, fitted: Sequence[FittedFeature]) -> pd.DataFrame:
    """Let each fitted feature add its columns, under the rules of :func:`apply_functions`."""
    for feature in fitted:
        result = feature.transform(frame)
        _check_result(feature.path, frame, result)
        frame = result
    return frame


def select_features(frame: pd.DataFrame, plan: FeaturePlan) -> pd.DataFrame:
    """Take the plan's features out of a frame: numeric ones as float32, categories as text or missing.

    Raises
    ------
    FeatureRefused
        If a feature is not there, or a quantity holds what is no number.
    """
    for name in plan.features:
        if name not in frame.columns:
            raise FeatureRefused(
                f"feature {name!r} is neither an input nor made by a feature function"
                f"{nearest(name, map(str, frame.columns))}"
            )
    columns: dict[str, Any] = {
        name: as_ranks(frame[name], plan.ordinal[name]) if name in plan.ordinal else as_float32(frame[name])
        for name in plan.numeric
    }
    columns |= {name: as_categories(frame[name]) for name in plan.categorical}
    return pd.DataFrame(columns, index=frame.index)


def build_features(
    frame: pd.DataFrame, plan: FeaturePlan, code: UserCode, fitted: Sequence[FittedFeature] = ()
) -> pd.DataFrame:
    """Apply the user's functions and fitted classes to raw rows and select the features.

    Returns
    -------
    DataFrame of shape (n_rows, n_features)
    """
    return select_features(apply_fitted(apply_functions(frame, plan.functions, code), fitted), plan)


def _check_result(path: str, frame: pd.DataFrame, result: object) -> None:
    if not isinstance(result, pd.DataFrame):
        raise UserCodeError(
            path, f"returned {type(result).__name__}", "return the DataFrame with the new columns in it"
        )
    if len(result) != len(frame):
        raise UserCodeError(
            path,
            f"returned {len(result):,} rows for {len(frame):,}",
            "a feature function adds columns and keeps every row",
        )
    if strange := [name for name in result.columns if not isinstance(name, str)]:
        raise UserCodeError(path, f"returned a column named {strange[0]!r}", "name every column by text")
    if not result.columns.is_unique:
        twice = sorted({str(name) for name in result.columns[result.columns.duplicated()]})
        raise UserCodeError(path, f"returned columns {twice} twice", "give each column a name of its own")
    if lost := [name for name in frame.columns if name not in result.columns]:
        raise UserCodeError(path, f"lost columns {lost}", "return all columns that came in, and the new ones")
    if not result.index.equals(frame.index):
        raise UserCodeError(path, "changed the index", "a feature function keeps the rows and their order")
    if moved := [name for name in frame.columns if _is_rearranged(frame[name], result[name])]:
        raise UserCodeError(
            path, f"changed the order of the rows (see columns {moved})", "a feature function keeps the rows in place"
        )


def _is_rearranged(before: pd.Series[Any], after: pd.Series[Any]) -> bool:
    """Tell whether a column holds the values that it held, but at other rows, as after a sort and a new index."""
    if before.dtype != after.dtype or before.equals(after):
        return False
    old, new = (pd.util.hash_pandas_object(column, index=False).to_numpy() for column in (before, after))
    return not np.array_equal(old, new) and np.array_equal(np.sort(old), np.sort(new))


def _typed(values: list[Any], kind: ColumnType) -> pd.Series[Any]:
    if kind in ("number", "integer"):
        return pd.Series(values, dtype="float64")
    if kind == "time":
        # pandas reads fewer ways of writing a moment than the contract lets pass, and none before 1677.
        moments = [None if value is None else parse_moment(value) for value in values]
        return pd.Series(moments, dtype="datetime64[us, UTC]")
    if kind == "boolean":
        return pd.Series(values, dtype="boolean")
    return pd.Series(values, dtype="object")


def _typed_column(column: pa.ChunkedArray, kind: ColumnType) -> pd.Series[Any]:
    if column.null_count == len(column):
        return _typed([None] * len(column), kind)
    typed: pd.Series[Any]
    if kind in ("number", "integer"):
        typed = column.cast("float64", safe=False).to_pandas()
        # No request can carry infinity, so a feature function must not learn to see it.
        typed = typed.where(np.isfinite(typed), np.nan)
    elif kind == "boolean":
        typed = column.to_pandas().astype("boolean")
    elif kind == "time":
        typed = column.cast(pa.timestamp("us", "UTC"), safe=False).to_pandas()
    else:
        typed = column.to_pandas().astype(object)
        typed = typed.mask(typed.isna().to_numpy(), None)
    return typed


def _plain(column: pd.Series[Any], kind: ColumnType) -> list[Any]:
    missing = column.isna().to_numpy(dtype=bool)
    if kind == "integer":
        values = [None if gone else int(value) for value, gone in zip(column, missing, strict=True)]
    elif kind == "time":
        values = [None if gone else value.isoformat() for value, gone in zip(column, missing, strict=True)]
    elif kind == "boolean":
        values = [None if gone else bool(value) for value, gone in zip(column, missing, strict=True)]
    else:
        values = [None if gone else value for value, gone in zip(column.tolist(), missing, strict=True)]
    return values


def restore_missing(frame: pd.DataFrame, categorical: Iterable[str]) -> pd.DataFrame:
    """Write missing categories of a frame that was read from Parquet as :func:`select_features` does.

    Parquet hands back None, which encoders take for another category than NaN.

    Examples
    --------
    >>> restore_missing(pd.DataFrame({"engine": ["turbo", None]}, dtype=object), ["engine"])["engine"].tolist()
    ['turbo', nan]
    """
    return frame.assign(**{name: frame[name].where(frame[name].notna(), np.nan) for name in categorical})
