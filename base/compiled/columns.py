"""The encoding of columns as tables and arithmetic: what scikit-learn's ColumnTransformer does to a row's features."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.compiled.graph import CATEGORICAL, NUMERIC, Graph, NotCompiled

# No category that anybody has can be this.
_UNKNOWN = "\x00unknown"
Table = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Numbers:
    """Numeric features as they are, or with gaps filled and scaled as float32 arithmetic does it."""

    indexes: tuple[int, ...]
    fill: npt.NDArray[np.float64] | None = None
    mean: npt.NDArray[np.float64] | None = None
    scale: npt.NDArray[np.float64] | None = None

    @property
    def width(self) -> int:
        """How many columns come out."""
        return len(self.indexes)


@dataclass(frozen=True)
class Lookup:
    """One categorical feature: each category's numbers are a row of a table, the last row is for any other one."""

    index: int
    categories: tuple[str | None, ...]
    table: Table

    @property
    def width(self) -> int:
        """How many columns come out."""
        return int(self.table.shape[1])


Encoded = Numbers | Lookup


def read_columns(encoding: Any, numeric: Sequence[str], categorical: Sequence[str]) -> list[Encoded]:
    """Read what a fitted ColumnTransformer does, in the order of the columns that it gives.

    Raises
    ------
    NotCompiled
        If it holds a step that is not known here.
    """
    found: list[Encoded] = []
    for name, step, columns in encoding.transformers_:
        chosen = [str(column) for column in columns]
        if not chosen or step == "drop":
            continue
        if all(column in numeric for column in chosen):
            found.append(_read_numbers(step, [list(numeric).index(column) for column in chosen]))
        elif all(column in categorical for column in chosen):
            found += _read_lookups(step, chosen, [list(categorical).index(column) for column in chosen])
        else:
            raise NotCompiled(f"step {name!r} of its encoding mixes numbers and categories")
    return found


def add_columns(graph: Graph, columns: Sequence[Encoded], *, missing: str) -> str:
    """Add the encoding to a graph, and return the name of the matrix of float32 numbers that it makes.

    Parameters
    ----------
    missing : str
        The text that stands for a missing category.
    """
    parts = [
        _add_numbers(graph, each) if isinstance(each, Numbers) else _add_lookup(graph, each, missing)
        for each in columns
    ]
    return parts[0] if len(parts) == 1 else graph.add("Concat", parts, axis=1)


def missing_text(columns: Sequence[Encoded]) -> str:
    """Choose the text that stands for a missing category: the empty one, unless that is a category itself."""
    known = {category for each in columns if isinstance(each, Lookup) for category in each.categories}
    text = ""
    while text in known:
        text = f"<{text or 'missing'}>"
    return text


def _read_numbers(step: Any, indexes: list[int]) -> Numbers:
    kind = type(step).__name__
    if step == "passthrough" or (kind == "FunctionTransformer" and step.func is None):
        return Numbers(tuple(indexes))
    known = (["SimpleImputer"], ["SimpleImputer", "StandardScaler"])
    if kind != "Pipeline" or [type(each).__name__ for _, each in step.steps] not in known:
        raise NotCompiled(f"its numbers are encoded by {kind}, which has no compiled form here")
    (_, imputer), *more = step.steps
    scaler = more[0][1] if more else None
    statistics = np.asarray(imputer.statistics_, dtype=np.float64)
    if imputer.add_indicator or (scaler is not None and (scaler.mean_ is None or scaler.scale_ is None)):
        raise NotCompiled("its numbers are filled or scaled in a way that has no compiled form here")
    # A column without any value in training is dropped by the imputer.
    kept = [at for at in range(len(indexes)) if imputer.keep_empty_features or not np.isnan(statistics[at])]
    return Numbers(
        tuple(indexes[at] for at in kept),
        fill=statistics[kept],
        mean=None if scaler is None else np.asarray(scaler.mean_, dtype=np.float64),
        scale=None if scaler is None else np.asarray(scaler.scale_, dtype=np.float64),
    )


def _read_lookups(encoder: Any, columns: list[str], indexes: list[int]) -> list[Encoded]:
    import pandas as pd

    kind = type(encoder).__name__
    if kind not in ("TargetEncoder", "OneHotEncoder", "OrdinalEncoder"):
        raise NotCompiled(f"its categories are encoded by {kind}, which has no compiled form here")
    categories = [list(each) for each in encoder.categories_]
    longest = max(map(len, categories))
    # Every category once, then one that is none; the encoder itself says what becomes of each.
    asked = {
        column: pd.Series([*known, *[_UNKNOWN] * (longest + 1 - len(known))], dtype=object)
        for column, known in zip(columns, categories, strict=True)
    }
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        answered = np.asarray(encoder.transform(pd.DataFrame(asked)), dtype=np.float64)
        gaps = pd.DataFrame({column: pd.Series([np.nan], dtype=object) for column in columns})
        missing = np.asarray(encoder.transform(gaps), dtype=np.float64)
    widths = _widths(encoder, len(columns), answered.shape[1])
    found: list[Encoded] = []
    start = 0
    for index, known, width in zip(indexes, categories, widths, strict=True):
        block = slice(start, start + width)
        table = np.vstack([answered[: len(known), block], missing[:, block], answered[-1:, block]])
        found.append(Lookup(index, (*(_text(category) for category in known), None), table))
        start += width
    return found


def _widths(encoder: Any, n_columns: int, n_outputs: int) -> list[int]:
    if type(encoder).__name__ == "OneHotEncoder":
        return [int(width) for width in encoder._n_features_outs]
    return [n_outputs // n_columns] * n_columns


def _text(category: object) -> str | None:
    return category if isinstance(category, str) else None


def _add_numbers(graph: Graph, numbers: Numbers) -> str:
    matrix = graph.add("Gather", [NUMERIC, graph.constant(numbers.indexes, np.int64)], axis=1)
    if numbers.fill is None:
        return matrix
    gaps = graph.add("IsNaN", [matrix])
    matrix = graph.add("Where", [gaps, graph.constant(numbers.fill.astype(np.float32), np.float32), matrix])
    if numbers.mean is None or numbers.scale is None:
        return matrix
    # NumPy subtracts and divides a float32 array by float64 ones in float64, and rounds after each.
    for operator, values in (("Sub", numbers.mean), ("Div", numbers.scale)):
        wide = graph.add("Cast", [matrix], to=_DOUBLE)
        matrix = graph.add("Cast", [graph.add(operator, [wide, graph.constant(values, np.float64)])], to=_FLOAT)
    return matrix


# TensorProto.FLOAT and DOUBLE, without importing onnx for them.
_FLOAT, _DOUBLE = 1, 11


def _add_lookup(graph: Graph, lookup: Lookup, missing: str) -> str:
    column = graph.add("Gather", [CATEGORICAL, graph.constant(lookup.index, np.int64)], axis=1)
    keys: dict[str, int] = {}
    for number, category in enumerate(lookup.categories):
        keys[missing if category is None else category] = number
    row = graph.add(
        "LabelEncoder",
        [column],
        domain="ai.onnx.ml",
        keys_strings=list(keys),
        values_int64s=list(keys.values()),
        default_int64=len(lookup.table) - 1,
    )
    return graph.add("Gather", [graph.constant(lookup.table, np.float32), row], axis=0)
