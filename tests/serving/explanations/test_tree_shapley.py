"""Exact contributions of trees: against the definition on small trees, and by their sum on real models."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.explanations import tree_shapley
from serving.explanations.tree_shapley import TreeShapley
from serving.explanations.trees import N_CATEGORIES, Ensemble, Floats, NotReadable, Tree, read_ensemble
from tests.serving.explanations.brute_force import shapley_values, worth

_N_COLUMNS = 5
_OWNERS = [0, 1, 2, 2, 3]
_N_PLAYERS = 4


@st.composite
def trees(draw: st.DrawFn) -> Tree:
    """Trees of up to four levels, whose columns come back, with gaps and with splits on sets of categories."""
    nodes: list[dict[str, Any]] = []

    def grow(depth: int, cover: float) -> int:
        place = len(nodes)
        node: dict[str, Any] = {"cover": cover, "left": -1, "right": -1, "feature": 0, "threshold": 0.0, "gap": False}
        nodes.append(node)
        node["values"] = [draw(st.integers(-5, 5)), draw(st.integers(-5, 5))]
        if depth == 0 or draw(st.integers(0, 4)) == 0:
            return place
        node["feature"] = draw(st.integers(0, _N_COLUMNS - 1))
        node["threshold"] = draw(st.integers(-2, 2)) + 0.5
        node["gap"] = draw(st.booleans())
        if node["feature"] == 4:
            node["set"] = draw(st.sets(st.integers(0, 3), min_size=1))
        share = draw(st.integers(1, 9)) / 10
        node["left"] = grow(depth - 1, cover * share)
        node["right"] = grow(depth - 1, cover * (1 - share))
        return place

    grow(4, 100.0)
    sets = {at: np.isin(np.arange(N_CATEGORIES), list(node["set"])) for at, node in enumerate(nodes) if "set" in node}
    return Tree(
        feature=np.array([node["feature"] for node in nodes]),
        threshold=np.array([node["threshold"] for node in nodes]),
        left=np.array([node["left"] for node in nodes]),
        right=np.array([node["right"] for node in nodes]),
        gaps_go_left=np.array([node["gap"] for node in nodes]),
        cover=np.array([node["cover"] for node in nodes]),
        values=np.array([node["values"] for node in nodes], dtype=np.float64),
        is_left=sets,
        is_known=dict.fromkeys(sets, np.arange(N_CATEGORIES) < 4),
    )


numbers = st.one_of(st.integers(-3, 3).map(float), st.just(float("nan")), st.just(300.0))
rows = st.lists(st.lists(numbers, min_size=_N_COLUMNS, max_size=_N_COLUMNS), min_size=1, max_size=3).map(np.array)


@given(forest=st.lists(trees(), min_size=1, max_size=3), rows=rows)
def test_contributions_are_shapley_values_of_the_game_that_the_trees_play(forest: list[Tree], rows: Floats) -> None:
    ensemble = Ensemble(forest, np.array([0.5, -1.0]), "score")

    shapley = TreeShapley(ensemble, _OWNERS, n_players=_N_PLAYERS)
    found = shapley.explain(rows)

    each = [[shapley_values(tree, row, _OWNERS, _N_PLAYERS) for tree in forest] for row in rows]
    expected = np.array(each).sum(axis=1)
    np.testing.assert_allclose(found, expected, atol=1e-9)
    unknown = sum(worth(tree, rows[0], set(), _OWNERS) for tree in forest)
    np.testing.assert_allclose(shapley.base, ensemble.constant + unknown, atol=1e-9)


@given(tree=trees(), rows=rows)
def test_leaves_that_do_not_fit_the_cache_together_give_the_same(tree: Tree, rows: Floats) -> None:
    ensemble = Ensemble([tree], np.zeros(2), "score")
    whole = TreeShapley(ensemble, _OWNERS, n_players=_N_PLAYERS).explain(rows)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tree_shapley, "_MOST_CELLS", 4)
        in_parts = TreeShapley(ensemble, _OWNERS, n_players=_N_PLAYERS).explain(rows)

    np.testing.assert_allclose(in_parts, whole, atol=1e-12)


def _data(*, gaps: bool) -> tuple[Floats, Any]:
    draw = np.random.default_rng(3)
    x = draw.normal(size=(400, 6)).astype(np.float32).astype(np.float64)
    x[:, 4] = draw.integers(0, 9, size=len(x))
    score = x[:, 0] * x[:, 1] + (x[:, 4] % 3) + 0.3 * draw.normal(size=len(x))
    if gaps:
        x[draw.random(x.shape) < 0.1] = np.nan
    return x, score


_MODELS = [
    ("HistGradientBoostingClassifier", {"max_iter": 8}, 2, True),
    ("HistGradientBoostingClassifier", {"max_iter": 8, "categorical_features": [4]}, 2, True),
    ("HistGradientBoostingClassifier", {"max_iter": 4}, 3, True),
    ("HistGradientBoostingRegressor", {"max_iter": 8, "categorical_features": [4]}, 0, True),
    ("HistGradientBoostingRegressor", {"max_iter": 8, "loss": "poisson"}, 0, True),
    ("GradientBoostingClassifier", {"n_estimators": 5}, 2, False),
    ("GradientBoostingClassifier", {"n_estimators": 5}, 3, False),
    ("GradientBoostingRegressor", {"n_estimators": 5, "init": "zero"}, 0, False),
    ("RandomForestClassifier", {"n_estimators": 5}, 2, True),
    ("RandomForestClassifier", {"n_estimators": 5}, 3, True),
    ("RandomForestRegressor", {"n_estimators": 5}, 0, True),
    ("ExtraTreesClassifier", {"n_estimators": 5}, 2, False),
    ("ExtraTreesRegressor", {"n_estimators": 5}, 0, True),
]


@pytest.mark.parametrize(("name", "parameters", "n_classes", "gaps"), _MODELS)
def test_base_and_contributions_add_up_to_the_margin_of_the_model(
    name: str, parameters: dict[str, Any], n_classes: int, gaps: bool
) -> None:
    from sklearn import ensemble as kinds

    x, score = _data(gaps=gaps)
    target = (
        np.abs(score) if n_classes == 0 else np.digitize(score, np.quantile(score, np.arange(1, n_classes) / n_classes))
    )
    model = getattr(kinds, name)(random_state=0, **parameters).fit(x, target)
    asked = x[:20].copy()
    asked[0, 4] = 200.0

    read = read_ensemble(model)
    order = [4, 0, 1, 2, 3, 5] if "categorical_features" in parameters else list(range(6))
    shapley = TreeShapley(read, order, n_players=6)
    columns = asked[:, order] if "categorical_features" in parameters else asked
    if "categorical_features" in parameters:
        columns = model._preprocess_X(asked, reset=False)
    sums = shapley.explain(columns).sum(axis=1) + shapley.base

    expected = model.predict(asked)
    if n_classes:
        expected = model.decision_function(asked) if hasattr(model, "decision_function") else model.predict_proba(asked)
        expected = expected[:, 1] if read.unit == "probability" and n_classes == 2 else expected
    expected = np.log(expected) if read.unit == "log of the value" else expected
    np.testing.assert_allclose(sums, expected.reshape(sums.shape), atol=1e-9)


def test_a_feature_that_no_tree_asks_for_contributes_nothing() -> None:
    from sklearn.tree import DecisionTreeRegressor

    x, _ = _data(gaps=False)
    model = DecisionTreeRegressor(max_depth=3).fit(x, x[:, 0])

    found = TreeShapley(read_ensemble(model), list(range(6)), n_players=6).explain(x[:10])

    assert np.abs(found[:, 1:]).max() == 0
    assert np.abs(found[:, 0]).min() > 0


def test_a_boosting_that_starts_from_another_model_is_not_a_sum_of_trees() -> None:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.linear_model import LinearRegression

    x, score = _data(gaps=False)
    model = GradientBoostingRegressor(n_estimators=2, init=LinearRegression()).fit(x, score)

    with pytest.raises(NotReadable, match="it starts from a LinearRegression"):
        read_ensemble(model)
