"""Histogram gradient boosting as ONNX's tree ensemble, so that every row takes the very same branches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt

from base.compiled.columns import Encoded, Lookup, add_columns
from base.compiled.graph import PROBABILITIES, VALUE, Graph, NotCompiled

_LINKS = {"IdentityLink": None, "LogLink": "Exp"}


def is_boosting(estimator: Any) -> bool:
    """Tell whether an estimator is scikit-learn's histogram gradient boosting."""
    return type(estimator).__name__ in ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor") and type(
        estimator
    ).__module__.startswith("sklearn.")


def add_boosting(graph: Graph, estimator: Any, columns: Sequence[Encoded], *, missing: str) -> None:
    """Add encoding and trees to a graph.

    The trees compare in float64 and ONNX in float32. A float32 feature is at most *t* exactly if it is at most the
    largest float32 number that is not above *t*. A category's float64 number is never compared as such: instead of
    it the table holds how many of the feature's thresholds lie below it, and a threshold becomes its place among
    them, which says the same in small whole numbers.

    Raises
    ------
    NotCompiled
        If the trees split on categories.
    """
    trees = [tree for iteration in estimator._predictors for tree in iteration]
    n_outputs = len(estimator._predictors[0]) if estimator._predictors else 1
    # With categorical features it puts its columns into another order, and splits on sets.
    if getattr(estimator, "_preprocessor", None) is not None:
        raise NotCompiled(
            "its trees split on sets of categories (categorical_features), which has no compiled form here"
        )
    thresholds = _thresholds(trees, sum(each.width for each in columns))
    ranked, is_ranked = _rank(columns, thresholds)
    matrix = add_columns(graph, ranked, missing=missing)
    raw = graph.add(
        "TreeEnsembleRegressor",
        [matrix],
        domain="ai.onnx.ml",
        n_targets=n_outputs,
        base_values=np.asarray(estimator._baseline_prediction, dtype=np.float32).ravel().tolist(),
        **_tree_attributes(trees, n_outputs, thresholds, is_ranked),
    )
    _add_answer(graph, estimator, raw, n_outputs)


def _thresholds(trees: Sequence[Any], width: int) -> list[npt.NDArray[np.float64]]:
    found: list[list[npt.NDArray[np.float64]]] = [[] for _ in range(width)]
    for tree in trees:
        inner = tree.nodes[tree.nodes["is_leaf"] == 0]
        for feature in np.unique(inner["feature_idx"]):
            found[int(feature)].append(inner["num_threshold"][inner["feature_idx"] == feature])
    return [np.unique(np.concatenate(each)) if each else np.empty(0) for each in found]


def _rank(
    columns: Sequence[Encoded], thresholds: Sequence[npt.NDArray[np.float64]]
) -> tuple[list[Encoded], npt.NDArray[np.bool_]]:
    ranked: list[Encoded] = []
    is_ranked: list[bool] = []
    for each in columns:
        start = len(is_ranked)
        is_ranked += [isinstance(each, Lookup)] * each.width
        if not isinstance(each, Lookup):
            ranked.append(each)
            continue
        places = [_place(thresholds[start + at], values) for at, values in enumerate(each.table.T)]
        ranked.append(replace(each, table=np.column_stack(places)))
    return ranked, np.asarray(is_ranked, dtype=bool)


def _place(thresholds: npt.NDArray[np.float64], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Count the thresholds below each value; what is missing stays missing."""
    return np.where(np.isnan(values), np.nan, np.searchsorted(thresholds, values, side="left"))


def _tree_attributes(
    trees: Sequence[Any],
    n_outputs: int,
    thresholds: Sequence[npt.NDArray[np.float64]],
    is_ranked: npt.NDArray[np.bool_],
) -> dict[str, Any]:
    sizes = [len(tree.nodes) for tree in trees]
    nodes = np.concatenate([tree.nodes for tree in trees])
    tree_ids = np.repeat(np.arange(len(trees)), sizes)
    node_ids = np.concatenate([np.arange(size) for size in sizes])
    is_leaf = nodes["is_leaf"].astype(bool)
    features = np.where(is_leaf, 0, nodes["feature_idx"]).astype(np.int64)
    values = _floor_to_float32(np.where(is_leaf, 0.0, nodes["num_threshold"]))
    for feature in np.flatnonzero(is_ranked).tolist():
        rows = ~is_leaf & (features == feature)
        values[rows] = _place(thresholds[feature], nodes["num_threshold"][rows])
    return {
        "nodes_treeids": tree_ids.tolist(),
        "nodes_nodeids": node_ids.tolist(),
        "nodes_featureids": features.tolist(),
        "nodes_values": values.tolist(),
        "nodes_modes": np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
        "nodes_truenodeids": np.where(is_leaf, 0, nodes["left"]).astype(np.int64).tolist(),
        "nodes_falsenodeids": np.where(is_leaf, 0, nodes["right"]).astype(np.int64).tolist(),
        "nodes_missing_value_tracks_true": np.where(is_leaf, 0, nodes["missing_go_to_left"]).astype(np.int64).tolist(),
        "target_treeids": tree_ids[is_leaf].tolist(),
        "target_nodeids": node_ids[is_leaf].tolist(),
        "target_ids": (tree_ids[is_leaf] % n_outputs).tolist(),
        "target_weights": nodes["value"][is_leaf].astype(np.float32).tolist(),
    }


def _floor_to_float32(values: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    rounded = values.astype(np.float32)
    below = np.nextafter(rounded, np.float32(-np.inf))
    return np.where(rounded.astype(np.float64) > values, below, rounded).astype(np.float32)


def _add_answer(graph: Graph, estimator: Any, raw: str, n_outputs: int) -> None:
    link = type(estimator._loss.link).__name__
    if hasattr(estimator, "predict_proba"):
        if n_outputs > 1:
            graph.add("Softmax", [raw], axis=1, name=PROBABILITIES)
            return
        second = graph.add("Sigmoid", [raw])
        first = graph.add("Sub", [graph.constant(1.0, np.float32), second])
        graph.add("Concat", [first, second], axis=1, name=PROBABILITIES)
        return
    if link not in _LINKS:
        raise NotCompiled(f"its loss has the link {link}, which has no compiled form here")
    operator = _LINKS[link]
    answer = raw if operator is None else graph.add(operator, [raw])
    graph.add("Reshape", [answer, graph.constant([-1], np.int64)], name=VALUE)
