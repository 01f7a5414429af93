"""Which method explains which model, and what its contributions are given for."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import BaseEstimator
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, PoissonRegressor, Ridge
from sklearn.neighbors import KNeighborsRegressor
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, QuantileTransformer, StandardScaler, TargetEncoder

from base.user_code import UserCode
from features.feature_plan import FeaturePlan
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.explanations.explainer import Explainer
from serving.explanations.owners import find_owners
from tests.serving.models import register_model

_NUMERIC, _CATEGORICAL = ["fare", "miles"], ["company"]
_FEATURES = [*_NUMERIC, *_CATEGORICAL]


def _frame(n_rows: int = 300) -> pd.DataFrame:
    draw = np.random.default_rng(5)
    frame = pd.DataFrame(draw.gamma(2.0, 3.0, size=(n_rows, 2)).astype(np.float32), columns=_NUMERIC)
    frame.loc[draw.random(n_rows) < 0.1, "miles"] = np.nan
    return frame.assign(company=np.array(["red", "blue", "green", np.nan], dtype=object)[draw.integers(4, size=n_rows)])


def _encoding(*, is_scaled: bool) -> ColumnTransformer:
    steps: list[tuple[str, Any]] = [("fill", SimpleImputer(strategy="median"))]
    numbers = Pipeline(steps + ([("scale", StandardScaler())] if is_scaled else []))
    one_hot = OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=3, sparse_output=False)
    return ColumnTransformer([("numeric", numbers, _NUMERIC), ("categorical", one_hot, _CATEGORICAL)])


def _explainer(registry: Registry, encoding: Any, estimator: BaseEstimator, *, is_regression: bool) -> Explainer:
    frame = _frame()
    target = (frame["fare"] + frame["miles"].fillna(0) + 4 * (frame["company"] == "red")).to_numpy()
    model = Pipeline([("encode", encoding), ("estimate", estimator)])
    model.fit(frame, target if is_regression else target > np.median(target))
    version = register_model(registry, kind="regression" if is_regression else "two classes")
    plan = FeaturePlan(
        inputs={"fare": "number", "miles": "number", "company": "text"},
        numeric=tuple(_NUMERIC),
        categorical=tuple(_CATEGORICAL),
    )
    manifest = ModelManifest.model_validate(version.manifest).model_copy(update={"plan": plan})
    return Explainer(manifest, model, UserCode({}), (), reference=frame, examples=[])


_ROWS: list[dict[str, Any]] = [
    {"fare": 3.0, "miles": 11.0, "company": "red"},
    {"fare": 9.5, "company": "violet"},
    {"fare": 1.0, "miles": 1.0},
]
_TARGET = ColumnTransformer(
    [("numeric", "passthrough", _NUMERIC), ("categorical", TargetEncoder(target_type="continuous", cv=3), _CATEGORICAL)]
)


@pytest.mark.parametrize(
    ("encoding", "estimator", "is_regression", "method", "unit"),
    [
        (_encoding(is_scaled=True), Ridge(), True, "linear", "value"),
        (_encoding(is_scaled=True), LogisticRegression(), False, "linear", "log-odds"),
        (_encoding(is_scaled=True), PoissonRegressor(), True, "linear", "log of the value"),
        (_encoding(is_scaled=False), RandomForestClassifier(5, random_state=0), False, "tree", "probability"),
        (_TARGET, HistGradientBoostingRegressor(max_iter=5), True, "tree", "value"),
        (_encoding(is_scaled=True), KNeighborsRegressor(), True, "sampling", "value"),
    ],
)
def test_each_kind_of_model_has_its_method_and_its_sum(
    registry: Registry, encoding: Any, estimator: Any, is_regression: bool, method: str, unit: str
) -> None:
    explainer = _explainer(registry, encoding, estimator, is_regression=is_regression)

    found = explainer.explain(_ROWS, most_samples=40)

    assert (explainer.method, explainer.unit, explainer.reason is None) == (method, unit, method != "sampling")
    features = pd.DataFrame(_ROWS).reindex(columns=_FEATURES).astype({"fare": "f4", "miles": "f4"})
    expected = explainer.margins.of_features(features, unit=explainer.unit)[:, 0]
    for one, margin in zip(found, expected, strict=True):
        assert isinstance(one, list)
        assert one[0].features.keys() == set(_FEATURES)
        assert one[0].columns == one[0].features
        assert one[0].margin == pytest.approx(margin, abs=1e-6)
        assert one[0].base + sum(one[0].features.values()) == pytest.approx(margin, abs=1e-6)


def test_what_is_not_explained_exactly_says_why(registry: Registry) -> None:
    neighbours = _explainer(registry, _encoding(is_scaled=True), KNeighborsRegressor(), is_regression=True)
    both = ColumnTransformer([("numeric", QuantileTransformer(n_quantiles=9), _NUMERIC)])
    odd = _explainer(registry, both, HistGradientBoostingRegressor(max_iter=2), is_regression=True)

    assert neighbours.reason == "KNeighborsRegressor is neither linear nor made of trees that are known here"
    assert odd.reason == "it is not known which features the columns of its encoding come from"


def test_time_that_is_over_leaves_the_rest_unexplained(registry: Registry) -> None:
    explainer = _explainer(registry, _encoding(is_scaled=True), KNeighborsRegressor(), is_regression=True)

    found = explainer.explain(_ROWS, is_over=lambda: True, most_samples=1000)

    assert [isinstance(one, list) for one in found] == [True, False, False]
    assert found[2].reason == "the time for explanations was over"  # type: ignore[union-attr]


def test_columns_of_an_encoding_belong_to_their_features() -> None:
    encoding = _encoding(is_scaled=True).fit(_frame())

    owners = find_owners(encoding, _FEATURES)

    width = encoding.transform(_frame()).shape[1]
    assert owners == [0, 1] + [2] * (width - 2)
