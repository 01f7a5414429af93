"""scikit-learn's trees of every kind in one form: nodes, the way a gap goes, covers, and what a leaf gives."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

Unit = Literal["log-odds", "score", "value", "log of the value", "probability"]

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

N_CATEGORIES = 256
"""As many categories as histogram gradient boosting tells apart in one column."""

_HISTOGRAM = ("HistGradientBoostingClassifier", "HistGradientBoostingRegressor")
_BOOSTING = ("GradientBoostingClassifier", "GradientBoostingRegressor")
_FORESTS = ("RandomForestClassifier", "RandomForestRegressor", "ExtraTreesClassifier", "ExtraTreesRegressor")
_SINGLE = ("DecisionTreeClassifier", "DecisionTreeRegressor", "ExtraTreeClassifier", "ExtraTreeRegressor")
_LINKS: dict[str, Unit] = {"IdentityLink": "value", "LogLink": "log of the value"}


class NotReadable(ValueError):
    """What an estimator computes is not a sum over trees, or not one that is known here."""


@dataclass(frozen=True)
class Tree:
    """One tree's nodes; an inner node *n* has ``left[n] >= 0``, a leaf gives ``values[n]``.

    ``is_left[n]`` says which of the categories go left at a node that splits on a set; another one goes where a gap
    does. ``values`` has the shape (n_nodes, n_outputs).
    """

    feature: Ints
    threshold: Floats
    left: Ints
    right: Ints
    gaps_go_left: Bools
    cover: Floats
    values: Floats
    is_left: dict[int, Bools] = field(default_factory=dict)
    is_known: dict[int, Bools] = field(default_factory=dict)


@dataclass(frozen=True)
class Ensemble:
    """Trees whose sum, with ``constant`` (n_outputs,), is the margin; columns are compared as ``dtype``."""

    trees: Sequence[Tree]
    constant: Floats
    unit: Unit
    dtype: type[np.floating[Any]] = np.float64


def is_tree_ensemble(estimator: Any) -> bool:
    """Tell whether an estimator is one of scikit-learn's trees, or a sum of them."""
    known = (*_HISTOGRAM, *_BOOSTING, *_FORESTS, *_SINGLE)
    return type(estimator).__module__.startswith("sklearn.") and type(estimator).__name__ in known


def read_ensemble(estimator: Any) -> Ensemble:
    """Read a fitted estimator.

    Raises
    ------
    NotReadable
        If it has several targets, or starts from an estimator that looks at the row.
    """
    name = type(estimator).__name__
    if name in _HISTOGRAM:
        return _read_histogram(estimator)
    if int(getattr(estimator, "n_outputs_", 1)) != 1:
        raise NotReadable("it has several targets")
    if name in _BOOSTING:
        return _read_boosting(estimator)
    single = name in _SINGLE
    trees = [estimator] if single else list(estimator.estimators_)
    is_classifier = hasattr(estimator, "predict_proba")
    read = [_read_tree(tree.tree_, scale=1.0 / len(trees)) for tree in trees]
    if is_classifier and read[0].values.shape[1] == 2:
        # As elsewhere, two classes are told by the second.
        read = [_with_values(tree, tree.values[:, 1:]) for tree in read]
    constant = np.zeros(read[0].values.shape[1])
    return Ensemble(read, constant, "probability" if is_classifier else "value", np.float32)


def _read_histogram(estimator: Any) -> Ensemble:
    n_outputs = int(estimator.n_trees_per_iteration_)
    known, places = estimator._bin_mapper.make_known_categories_bitsets()
    trees = []
    for iteration in estimator._predictors:
        for output, predictor in enumerate(iteration):
            trees.append(_read_predictor(predictor, output, n_outputs, known, places))
    constant = np.asarray(estimator._baseline_prediction, dtype=np.float64).ravel()
    constant = np.broadcast_to(constant, (n_outputs,)).copy()
    if hasattr(estimator, "predict_proba"):
        return Ensemble(trees, constant, "log-odds" if n_outputs == 1 else "score")
    link = type(estimator._loss.link).__name__
    if link not in _LINKS:
        raise NotReadable(f"its loss has the link {link}")
    return Ensemble(trees, constant, _LINKS[link])


def _read_predictor(predictor: Any, output: int, n_outputs: int, known: Any, places: Any) -> Tree:
    nodes = predictor.nodes
    is_leaf = nodes["is_leaf"].astype(bool)
    values = np.zeros((len(nodes), n_outputs))
    values[is_leaf, output] = nodes["value"][is_leaf]
    is_left, is_known = {}, {}
    for node in np.flatnonzero(~is_leaf & nodes["is_categorical"].astype(bool)).tolist():
        is_left[node] = _unpack(predictor.raw_left_cat_bitsets[int(nodes["bitset_idx"][node])])
        is_known[node] = _unpack(known[int(places[int(nodes["feature_idx"][node])])])
    return Tree(
        feature=nodes["feature_idx"].astype(np.int64),
        threshold=nodes["num_threshold"].astype(np.float64),
        left=np.where(is_leaf, -1, nodes["left"].astype(np.int64)),
        right=np.where(is_leaf, -1, nodes["right"].astype(np.int64)),
        gaps_go_left=nodes["missing_go_to_left"].astype(bool),
        cover=nodes["count"].astype(np.float64),
        values=values,
        is_left=is_left,
        is_known=is_known,
    )


def _unpack(words: Any) -> Bools:
    return np.unpackbits(np.ascontiguousarray(words, dtype="<u4").view(np.uint8), bitorder="little").astype(bool)


def _read_boosting(estimator: Any) -> Ensemble:
    n_outputs = estimator.estimators_.shape[1]
    start = estimator.init_
    if not isinstance(start, str) and type(start).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotReadable(f"it starts from a {type(start).__name__}, which looks at the row as well")
    trees = []
    for row in estimator.estimators_:
        for output, one in enumerate(row):
            tree = _read_tree(one.tree_, scale=float(estimator.learning_rate))
            values = np.zeros((len(tree.values), n_outputs))
            values[:, output] = tree.values[:, 0]
            trees.append(_with_values(tree, values))
    row = np.zeros((1, estimator.n_features_in_), dtype=np.float32)
    constant = np.asarray(estimator._raw_predict_init(row), dtype=np.float64).ravel()
    if not hasattr(estimator, "predict_proba"):
        return Ensemble(trees, constant, "value", np.float32)
    return Ensemble(trees, constant, "log-odds" if n_outputs == 1 else "score", np.float32)


def _read_tree(tree: Any, *, scale: float) -> Tree:
    values = np.asarray(tree.value, dtype=np.float64)[:, 0, :] * scale
    return Tree(
        feature=np.asarray(tree.feature, dtype=np.int64),
        threshold=np.asarray(tree.threshold, dtype=np.float64),
        left=np.asarray(tree.children_left, dtype=np.int64),
        right=np.asarray(tree.children_right, dtype=np.int64),
        gaps_go_left=np.asarray(tree.missing_go_to_left, dtype=bool),
        cover=np.asarray(tree.weighted_n_node_samples, dtype=np.float64),
        values=values,
    )


def _with_values(tree: Tree, values: Floats) -> Tree:
    return Tree(
        tree.feature,
        tree.threshold,
        tree.left,
        tree.right,
        tree.gaps_go_left,
        tree.cover,
        values,
        tree.is_left,
        tree.is_known,
    )
