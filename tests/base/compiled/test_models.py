"""Claims about compiled models: they answer as scikit-learn does, also where rows are strange, or there is none."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.compiled.graph import NotCompiled
from base.compiled.models import MISSING, compile_model
from serving.scoring.onnx_model import OnnxModel

_NUMERIC, _CATEGORICAL = ("a", "b"), ("c", "d")
_N = 400


def _rows(seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "a": draw.normal(size=_N).astype(np.float32),
            "b": np.where(draw.random(_N) < 0.1, np.nan, draw.exponential(size=_N)).astype(np.float32),
            "c": pd.Series(draw.choice(np.array(["x", "zürich", "", np.nan], dtype=object), _N), dtype=object),
            "d": pd.Series(draw.integers(0, 60, _N).astype(str), dtype=object),
        }
    )


def _target(rows: pd.DataFrame, task: str) -> Any:
    value = rows["a"] + rows["b"].fillna(-1) + (rows["c"] == "x") + rows["d"].astype(int) % 7 / 3
    return {"binary": (value > 2).astype(int), "multi": np.digitize(value, [1, 2.5]), "regression": value * 1e4}[task]


def _fit(estimator: Any, encoder: str, task: str) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler, TargetEncoder

    fill, scale = ("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())
    # As trees get them, and as everything else does.
    filled = Pipeline([fill] if encoder == "one-hot, not scaled" else [fill, scale])
    numbers = "passthrough" if encoder == "target" else filled
    categories = (
        TargetEncoder(target_type="continuous" if task == "regression" else "auto")
        if encoder == "target"
        else OneHotEncoder(handle_unknown="infrequent_if_exist", max_categories=20, sparse_output=False)
    )
    encoding = ColumnTransformer(
        [("numeric", numbers, list(_NUMERIC)), ("categorical", categories, list(_CATEGORICAL)), ("none", "drop", [])]
    )
    rows = _rows()
    return Pipeline([("encode", encoding), ("estimate", estimator)]).fit(rows, _target(rows, task))


def _compiled(model: Any, task: str) -> OnnxModel:
    n_classes = {"binary": 2, "multi": 3, "regression": None}[task]
    data = compile_model(model, numeric=_NUMERIC, categorical=_CATEGORICAL, n_classes=n_classes)
    return OnnxModel(data, numeric=_NUMERIC, categorical=_CATEGORICAL)


def _expected(model: Any, rows: pd.DataFrame) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return model.predict_proba(rows) if hasattr(model, "predict_proba") else model.predict(rows)


def _strange() -> pd.DataFrame:
    rows = _rows(seed=1)
    rows.loc[::7, "d"] = "never seen"
    rows.loc[::11, ["c", "d"]] = np.nan
    rows.loc[::13, ["a", "b"]] = np.nan
    rows.loc[0, ["a", "b"]] = [np.float32(3e38), np.float32(-3e38)]
    return rows


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("task", ["binary", "multi", "regression"])
@pytest.mark.parametrize(
    ("name", "encoder"),
    [
        ("HistGradientBoosting", "target"),
        ("HistGradientBoosting", "one-hot"),
        ("RandomForest", "one-hot"),
        ("RandomForest", "one-hot, not scaled"),
        ("linear", "one-hot"),
    ],
)
def test_a_compiled_model_answers_as_scikit_learn_does(name: str, encoder: str, task: str) -> None:
    from sklearn import ensemble, linear_model

    estimators: dict[str, tuple[Any, Any]] = {
        "HistGradientBoosting": (
            ensemble.HistGradientBoostingClassifier(max_iter=15),
            ensemble.HistGradientBoostingRegressor(max_iter=15),
        ),
        "RandomForest": (
            ensemble.RandomForestClassifier(5, max_depth=5),
            ensemble.RandomForestRegressor(5, max_depth=5),
        ),
        "linear": (linear_model.LogisticRegression(max_iter=200), linear_model.Ridge()),
    }
    model = _fit(estimators[name][task == "regression"], encoder, task)
    compiled = _compiled(model, task)

    for rows in (_rows(), _strange().iloc[1:], _strange().head(1)) if name == "HistGradientBoosting" else (_rows(),):
        expected = _expected(model, rows)
        # In float32, a sum of leaves or products keeps six digits.
        np.testing.assert_allclose(
            compiled.predict_features(rows), expected, atol=1e-6 * max(1, np.abs(expected).max())
        )


def test_trees_take_the_same_branch_right_at_their_thresholds() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = _fit(HistGradientBoostingRegressor(max_iter=5, learning_rate=1.0), "target", "regression")
    compiled = _compiled(model, "regression")
    nodes = np.concatenate([tree.nodes for each in model.steps[1][1]._predictors for tree in each])
    found = nodes["num_threshold"][(nodes["is_leaf"] == 0) & (nodes["feature_idx"] == 0)].astype(np.float32)
    edges = np.concatenate([found, np.nextafter(found, np.float32(-np.inf)), np.nextafter(found, np.float32(np.inf))])
    rows = _rows().sample(len(edges), replace=True, random_state=0).assign(a=edges).reset_index(drop=True)

    expected = model.predict(rows)
    # Leaves are summed as float32: a value near 0 carries the rounding of the large ones that it is the sum of.
    np.testing.assert_allclose(
        compiled.predict_features(rows), expected, rtol=1e-5, atol=1e-6 * float(np.abs(expected).max())
    )


@settings(max_examples=30)
@given(text=st.text(max_size=3))
def test_a_category_of_any_text_is_looked_up_or_unknown(text: str) -> None:
    model, compiled = _law()
    rows = _rows().head(1).assign(c=text, d=text)

    np.testing.assert_allclose(compiled.predict_features(rows), model.predict_proba(rows), atol=1e-6)


_LAW: list[tuple[Any, OnnxModel]] = []


def _law() -> tuple[Any, OnnxModel]:
    if not _LAW:
        from sklearn.ensemble import HistGradientBoostingClassifier

        model = _fit(HistGradientBoostingClassifier(max_iter=5), "target", "binary")
        _LAW.append((model, _compiled(model, "binary")))
    return _LAW[0]


def test_a_text_that_no_category_is_stands_for_missing_ones() -> None:
    _, compiled = _law()

    assert compiled.notes[MISSING] == "<missing>"


def test_what_has_no_compiled_form_says_why() -> None:
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression, Ridge

    class Own(LogisticRegression):  # type: ignore[misc]
        """No converter knows it."""

    model = _fit(LogisticRegression(max_iter=500), "one-hot", "binary")
    with pytest.raises(NotCompiled, match="knows 2 of 3 classes"):
        compile_model(model, numeric=_NUMERIC, categorical=_CATEGORICAL, n_classes=3)
    with pytest.raises(NotCompiled, match="is a Ridge and no pipeline"):
        compile_model(Ridge(), numeric=(), categorical=(), n_classes=None)
    with pytest.raises(NotCompiled, match="skl2onnx cannot convert Own"):
        _compiled(_fit(Own(max_iter=500), "one-hot", "binary"), "binary")
    categorical = _fit(HistGradientBoostingClassifier(max_iter=3, categorical_features=[2]), "target", "binary")
    with pytest.raises(NotCompiled, match="split on sets of categories"):
        _compiled(categorical, "binary")
