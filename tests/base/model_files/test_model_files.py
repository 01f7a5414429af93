"""Claims about model files: what scikit-learn fits survives, what could run code does not get in."""

from __future__ import annotations

import functools
import io
import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from base.model_files import TRUSTED_TYPES, ModelFileRefused, dump_model, load_model

_N = 120


def _frame() -> pd.DataFrame:
    chance = np.random.default_rng(0)
    cities = np.array(["Bern", "Zürich", None, np.nan, ""], dtype=object)
    return pd.DataFrame(
        {
            "age": np.where(chance.random(_N) < 0.1, np.nan, chance.normal(40, 9, _N)).astype(np.float32),
            "fare": chance.exponential(20, _N).astype(np.float32),
            "city": pd.Series(cities[chance.integers(0, len(cities), _N)], dtype=object),
            "code": pd.Series(chance.integers(0, 4, _N)).astype(str).astype(object),
        }
    )


def _targets() -> dict[str, Any]:
    chance = np.random.default_rng(1)
    return {
        "binary": chance.integers(0, 2, _N),
        "words": np.array(["stays", "leaves", "returns"], dtype=object)[chance.integers(0, 3, _N)],
        "flags": chance.random(_N) < 0.5,
        "regression": chance.normal(size=_N),
    }


def _pipeline(estimator: Any, encoder: str) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

    encoders = {
        "ordinal": OrdinalEncoder(
            handle_unknown="use_encoded_value", unknown_value=np.nan, encoded_missing_value=np.nan, max_categories=20
        ),
        "one-hot": OneHotEncoder(handle_unknown="infrequent_if_exist", min_frequency=2, sparse_output=False),
        "codes": OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1, encoded_missing_value=-2),
    }
    numbers = (
        "passthrough"
        if encoder == "ordinal"
        else make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    )
    columns = ColumnTransformer(
        [("numbers", numbers, ["age", "fare"]), ("texts", encoders[encoder], ["city", "code"])],
        remainder="drop",
        verbose_feature_names_out=False,
    )
    return make_pipeline(columns, estimator)


def _estimators() -> dict[str, tuple[Any, str, list[str]]]:
    from sklearn import calibration, dummy, ensemble, linear_model, neighbors, neural_network, svm, tree

    classes, numbers, both = ["binary", "words", "flags"], ["regression"], ["binary", "words", "regression"]
    hist: dict[str, Any] = {"max_iter": 4, "categorical_features": [2, 3]}
    return {
        "HistGradientBoostingClassifier": (ensemble.HistGradientBoostingClassifier(**hist), "ordinal", classes),
        "HistGradientBoostingRegressor": (ensemble.HistGradientBoostingRegressor(**hist), "ordinal", numbers),
        "HistGradientBoostingRegressor poisson": (
            ensemble.HistGradientBoostingRegressor(loss="quantile", quantile=0.5, max_iter=5),
            "ordinal",
            numbers,
        ),
        "HistGradientBoostingRegressor absolute": (
            ensemble.HistGradientBoostingRegressor(loss="absolute_error", max_iter=5),
            "ordinal",
            numbers,
        ),
        "RandomForestClassifier": (ensemble.RandomForestClassifier(5), "codes", classes),
        "RandomForestRegressor": (ensemble.RandomForestRegressor(5), "one-hot", numbers),
        "ExtraTreesClassifier": (ensemble.ExtraTreesClassifier(5), "codes", classes),
        "ExtraTreesRegressor": (ensemble.ExtraTreesRegressor(5), "codes", numbers),
        "GradientBoostingClassifier": (ensemble.GradientBoostingClassifier(n_estimators=5), "codes", classes),
        "GradientBoostingRegressor": (ensemble.GradientBoostingRegressor(n_estimators=5), "codes", numbers),
        "AdaBoostClassifier": (ensemble.AdaBoostClassifier(n_estimators=3), "codes", classes),
        "BaggingRegressor": (ensemble.BaggingRegressor(n_estimators=3), "codes", numbers),
        "LogisticRegression": (linear_model.LogisticRegression(max_iter=50), "one-hot", classes),
        "Ridge": (linear_model.Ridge(), "one-hot", numbers),
        "Lasso": (linear_model.Lasso(0.01), "one-hot", numbers),
        "SGDClassifier": (linear_model.SGDClassifier(loss="log_loss"), "one-hot", classes),
        "PoissonRegressor": (linear_model.TweedieRegressor(power=0), "one-hot", numbers),
        "DecisionTreeClassifier": (tree.DecisionTreeClassifier(max_depth=4), "codes", classes),
        "DecisionTreeRegressor": (tree.DecisionTreeRegressor(max_depth=4), "codes", numbers),
        "KNeighborsClassifier": (neighbors.KNeighborsClassifier(3), "one-hot", classes),
        "KNeighborsRegressor": (neighbors.KNeighborsRegressor(3, algorithm="kd_tree"), "one-hot", numbers),
        "KNeighborsRegressor ball": (neighbors.KNeighborsRegressor(3, algorithm="ball_tree"), "one-hot", numbers),
        "MLPClassifier": (neural_network.MLPClassifier(hidden_layer_sizes=(4,), max_iter=3), "one-hot", classes),
        "MLPRegressor": (
            neural_network.MLPRegressor(hidden_layer_sizes=(4,), max_iter=3, solver="lbfgs"),
            "one-hot",
            numbers,
        ),
        "SVC": (svm.SVC(), "one-hot", classes),
        "SVR": (svm.SVR(), "one-hot", numbers),
        "CalibratedClassifierCV": (
            calibration.CalibratedClassifierCV(ensemble.HistGradientBoostingClassifier(max_iter=4), cv=2),
            "ordinal",
            classes,
        ),
        "CalibratedClassifierCV isotonic": (
            calibration.CalibratedClassifierCV(linear_model.LogisticRegression(), cv=2, method="isotonic"),
            "one-hot",
            classes,
        ),
        "DummyClassifier": (dummy.DummyClassifier(), "codes", classes),
        "VotingClassifier": (
            ensemble.VotingClassifier(
                [("a", tree.DecisionTreeClassifier()), ("b", linear_model.LogisticRegression())], voting="soft"
            ),
            "one-hot",
            classes,
        ),
        "StackingRegressor": (
            ensemble.StackingRegressor([("a", tree.DecisionTreeRegressor()), ("b", linear_model.Ridge())], cv=2),
            "codes",
            numbers,
        ),
        "DecisionTree both": (tree.DecisionTreeRegressor(), "codes", [name for name in both if name != "words"]),
    }


_NAMES = """
HistGradientBoostingClassifier, HistGradientBoostingRegressor, HistGradientBoostingRegressor poisson,
HistGradientBoostingRegressor absolute, RandomForestClassifier, RandomForestRegressor, ExtraTreesClassifier,
ExtraTreesRegressor, GradientBoostingClassifier, GradientBoostingRegressor, AdaBoostClassifier, BaggingRegressor,
LogisticRegression, Ridge, Lasso, SGDClassifier, PoissonRegressor, DecisionTreeClassifier, DecisionTreeRegressor,
KNeighborsClassifier, KNeighborsRegressor, KNeighborsRegressor ball, MLPClassifier, MLPRegressor, SVC, SVR,
CalibratedClassifierCV, CalibratedClassifierCV isotonic, DummyClassifier, VotingClassifier, StackingRegressor
"""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", [" ".join(name.split()) for name in _NAMES.split(",")])
def test_a_fitted_model_survives_bit_by_bit(name: str) -> None:
    estimator, encoder, targets = _estimators()[name]
    frame = _frame()
    unseen = frame.assign(city=frame["city"].where(frame.index % 3 > 0, "Genf"))

    for target in targets:
        model = _pipeline(estimator, encoder).fit(frame, _targets()[target])
        loaded = load_model(dump_model(model))
        for method in ("predict", "predict_proba", "decision_function"):
            if hasattr(model, method):
                for rows in (frame, unseen):
                    np.testing.assert_array_equal(getattr(loaded, method)(rows), getattr(model, method)(rows))
        if hasattr(model, "classes_"):
            assert [type(each) for each in loaded.classes_] == [type(each) for each in model.classes_]


def test_writing_a_model_leaves_it_as_it_was() -> None:
    from sklearn.ensemble import HistGradientBoostingRegressor

    model = HistGradientBoostingRegressor(max_iter=2, categorical_features=[0]).fit(
        np.array([[0, 1.5], [1, 2.5]] * 30), [0, 1] * 30
    )
    dumped = dump_model(model)

    for each in (model, load_model(dumped)):
        check = each._preprocessor.named_transformers_["numerical"].func
        assert repr(check) == repr(functools.partial(check.func, dtype=[np.float64], ensure_all_finite=False))


def test_categories_with_gaps_survive() -> None:
    from sklearn.preprocessing import OrdinalEncoder

    frame = pd.DataFrame({"city": pd.Series(["a", np.nan, "b", "ß\0😀", ""], dtype=object)})
    encoder = OrdinalEncoder().fit(frame)

    loaded = load_model(dump_model(encoder))
    np.testing.assert_array_equal(loaded.transform(frame), encoder.transform(frame))
    assert loaded.categories_[0].dtype == object
    assert list(map(repr, loaded.categories_[0])) == list(map(repr, encoder.categories_[0]))


def _fitted() -> Any:
    from sklearn.linear_model import Ridge

    return Ridge().fit([[0.0], [1.0]], [0.0, 1.0])


class _Shouts:
    """A pickle of it writes a file when it is read."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def _shout(values: Any) -> Any:
    return values


def _with_function(function: Any) -> bytes:
    from sklearn.preprocessing import FunctionTransformer

    return dump_model(FunctionTransformer(function))


@pytest.mark.parametrize(
    ("function", "named"),
    [
        (_shout, "_shout"),
        (functools.partial(print, "hello"), "functools.partial"),
        (eval, "eval"),
        (os.system, "system"),
        (np.load, "numpy.load"),
        (json.loads, "json"),
    ],
)
def test_a_model_that_holds_a_function_is_refused_by_its_name(function: Any, named: str) -> None:
    with pytest.raises(ModelFileRefused, match=rf"it holds .*{named}.*, which may not be loaded") as refused:
        load_model(_with_function(function))
    assert any(named in each for each in refused.value.types)


def test_a_type_of_the_users_own_is_refused_until_the_settings_trust_it() -> None:
    data = _with_function(_shout)
    with pytest.raises(ModelFileRefused) as refused:
        load_model(data)

    assert load_model(data, trusted=refused.value.types).func is _shout


@pytest.mark.parametrize("dangerous", ["functools.partial", "builtins.eval", "posix.system", "operator.methodcaller"])
def test_what_can_call_any_function_is_not_trusted_even_if_the_settings_say_so(dangerous: str) -> None:
    with pytest.raises(ModelFileRefused, match=f"{dangerous} can run any code"):
        load_model(dump_model(_fitted()), trusted=[dangerous])


def test_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    with pytest.raises(ModelFileRefused, match="it is no skops file"):
        load_model(pickle.dumps(_Shouts(tmp_path / "shouted")))
    assert not (tmp_path / "shouted").exists()


def _rewritten(data: bytes, change: Any) -> bytes:
    source, result = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    with zipfile.ZipFile(result, "w") as target:
        for name in source.namelist():
            content = source.read(name)
            if name == "schema.json":
                document = json.loads(content)
                change(document)
                content = json.dumps(document).encode()
            target.writestr(name, content)
    return result.getvalue()


@pytest.mark.parametrize(
    ("module", "name", "loader"),
    [
        ("shouting_module", "Model", "ObjectNode"),
        ("shouting_module", "Model", "TypeNode"),
        ("shouting_module", "model", "FunctionNode"),
        ("builtins", "eval", "FunctionNode"),
        ("os", "system", "FunctionNode"),
        ("subprocess", "Popen", "ObjectNode"),
        ("sklearn.linear_model._ridge", "Ridge.__init__.__globals__", "ObjectNode"),
        ("sklearn.utils._joblib", "joblib.load", "FunctionNode"),
    ],
)
def test_a_file_that_names_a_foreign_type_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str, name: str, loader: str
) -> None:
    (tmp_path / "shouting_module.py").write_text(
        f"import os\nos.mkdir({str(tmp_path / 'shouted')!r})\nclass Model: ...\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))

    def change(document: dict[str, Any]) -> None:
        document.update(__module__=module, __class__=name, __loader__=loader)

    with pytest.raises(ModelFileRefused):
        load_model(_rewritten(dump_model(_fitted()), change))
    assert not (tmp_path / "shouted").exists()


def test_an_array_that_is_a_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    data = dump_model(_fitted())
    source, result = zipfile.ZipFile(io.BytesIO(data)), io.BytesIO()
    array = io.BytesIO()
    np.save(array, np.array([_Shouts(tmp_path / "shouted")], dtype=object), allow_pickle=True)
    with zipfile.ZipFile(result, "w") as target:
        for name in source.namelist():
            target.writestr(name, array.getvalue() if name.endswith(".npy") else source.read(name))

    with pytest.raises(ModelFileRefused, match="which only a pickle can"):
        load_model(result.getvalue())
    assert not (tmp_path / "shouted").exists()


@pytest.mark.parametrize("length", [0, 1, 100, -100, -1])
def test_a_truncated_file_is_refused(length: int) -> None:
    with pytest.raises(ModelFileRefused):
        load_model(dump_model(_fitted())[:length])


def test_a_zip_without_a_model_is_refused() -> None:
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w") as target:
        target.writestr("letter.txt", "dear aunt")

    with pytest.raises(ModelFileRefused, match="it is no skops file"):
        load_model(result.getvalue())


def test_a_small_file_that_unpacks_to_a_huge_one_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("base.model_files.archive._LARGEST_UNPACKED_BYTES", 1000)

    with pytest.raises(ModelFileRefused, match=r"it unpacks to [\d,]+ bytes, expected at most 1,000"):
        load_model(dump_model(_fitted()))


def test_the_allow_list_holds_no_way_to_call_a_function() -> None:
    for word in (
        "functools",
        "partial",
        "FunctionTransformer",
        "builtins",
        "operator",
        "subprocess",
        "joblib",
        "pickle",
    ):
        assert not [name for name in TRUSTED_TYPES if word in name]
