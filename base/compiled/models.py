"""A fitted pipeline of encoding and estimator as one ONNX model."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from base.compiled.boosting import add_boosting, is_boosting
from base.compiled.columns import add_columns, missing_text, read_columns
from base.compiled.graph import OPERATORS, PROBABILITIES, VALUE, Graph, NotCompiled

MISSING = "missing_category"
"""The note that says which text stands for a missing category."""


def compile_model(
    model: Any,
    *,
    numeric: Sequence[str],
    categorical: Sequence[str],
    n_classes: int | None,
    notes: Mapping[str, str] | None = None,
) -> bytes:
    """Compile a fitted pipeline (steps ``encode`` and ``estimate``) that takes features by name.

    The graph takes ``numeric`` (float32, NaN where missing) and ``categorical`` (text), each with the columns in the
    order given here, and gives ``probabilities`` or ``value``. Histogram gradient boosting is compiled here, other
    estimators by skl2onnx.

    Raises
    ------
    NotCompiled
        Saying what has no compiled form.
    """
    steps = dict(getattr(model, "steps", ()))
    if list(steps) != ["encode", "estimate"]:
        raise NotCompiled(f"it is a {type(model).__name__} and no pipeline of an encoding and an estimator")
    estimator = steps["estimate"]
    if n_classes is not None and len(estimator.classes_) != n_classes:
        raise NotCompiled(f"it knows {len(estimator.classes_)} of {n_classes} classes")
    columns = read_columns(steps["encode"], numeric, categorical)
    missing = missing_text(columns)
    graph = Graph()
    if is_boosting(estimator):
        add_boosting(graph, estimator, columns, missing=missing)
    else:
        matrix = add_columns(graph, columns, missing=missing)
        _add_estimator(graph, estimator, matrix, sum(each.width for each in columns), is_regression=n_classes is None)
    output = VALUE if n_classes is None else PROBABILITIES
    built = graph.build(
        n_numeric=len(numeric),
        n_categorical=len(categorical),
        output=output,
        width=n_classes,
        notes={MISSING: missing, **(notes or {})},
    )
    data: bytes = built.SerializeToString()
    return data


def _add_estimator(graph: Graph, estimator: Any, matrix: str, width: int, *, is_regression: bool) -> None:
    """Let skl2onnx convert an estimator, and take its nodes over."""
    from onnx import compose
    from skl2onnx import convert_sklearn
    from skl2onnx.common.data_types import FloatTensorType

    options = None if is_regression else {id(estimator): {"zipmap": False}}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            converted = convert_sklearn(
                estimator,
                initial_types=[("matrix", FloatTensorType([None, width]))],
                options=options,
                target_opset=OPERATORS,
            )
    except Exception as error:
        first = (str(error).strip().splitlines() or [""])[0]
        raise NotCompiled(
            f"skl2onnx cannot convert {type(estimator).__name__} ({type(error).__name__}: {first[:200]})"
        ) from error
    inner = compose.add_prefix(converted, "estimator_").graph
    outputs = [output.name for output in inner.output]
    graph.add("Identity", [matrix], name="estimator_matrix")
    graph.nodes += inner.node
    graph.constants += inner.initializer
    if is_regression:
        graph.add("Reshape", [outputs[0], graph.constant([-1], np.int64)], name=VALUE)
    else:
        graph.add("Identity", [outputs[1]], name=PROBABILITIES)
