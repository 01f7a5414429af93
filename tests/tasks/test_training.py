"""Fits: repeatable, chosen by loss, and honest about what failed."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from base.candidates import Candidates
from base.errors import DefinitionError, RunFailed
from base.expectations.asking import ExpectationsProcess
from base.model_files import load_model
from base.pipeline import Pipeline
from base.references import TrainingData
from base.train_spec import EstimatorSpec, TrainSpec
from base.user_code import UserCode
from registry.store import Registry
from tasks.data_validation import validate_data
from tasks.estimators import build_estimator
from tasks.extraction import extract_data
from tasks.fits import predict
from tasks.preparation import prepare_data
from tasks.prepared_rows import TARGET, load_prepared
from tasks.training import train_candidates
from tests.pipelines import TREE, define, make_pipeline, make_trips

_BOOSTING = "sklearn.ensemble.HistGradientBoostingClassifier"
_FOREST = "sklearn.ensemble.RandomForestClassifier"
_LINEAR = "sklearn.linear_model.LogisticRegression"


class RaisingTree(DecisionTreeClassifier):  # type: ignore[misc]
    """An estimator that raises when it is fitted."""

    def fit(self, *arguments: Any, **options: Any) -> Any:
        raise ArithmeticError("no luck today\nand more")


class SilentTree(DecisionTreeClassifier):  # type: ignore[misc]
    """An estimator that predicts what is no number."""

    def predict_proba(self, rows: Any, *arguments: Any) -> Any:
        return super().predict_proba(rows, *arguments) * np.nan


class SilentRegressor(DecisionTreeRegressor):  # type: ignore[misc]
    """A regressor that predicts infinity."""

    def predict(self, rows: Any, *arguments: Any) -> Any:
        return super().predict(rows, *arguments) + np.inf


class NarrowTree(DecisionTreeClassifier):  # type: ignore[misc]
    """An estimator that gives the probability of one class alone."""

    def predict_proba(self, rows: Any, *arguments: Any) -> Any:
        return super().predict_proba(rows, *arguments)[:, 1]


class LateRaisingTree(DecisionTreeClassifier):  # type: ignore[misc]
    """An estimator that takes the train rows, and raises on the more that come with the validation rows."""

    def fit(self, rows: Any, target: Any, *arguments: Any, **options: Any) -> Any:
        if len(rows) > 300:
            raise MemoryError("too many rows")
        return super().fit(rows, target, *arguments, **options)


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a definition name the estimators above."""
    module = ModuleType("own_estimators")
    vars(module).update(globals())
    monkeypatch.setitem(sys.modules, "own_estimators", module)


@pytest.mark.parametrize("estimator", [_BOOSTING, _FOREST, _LINEAR])
def test_the_same_rows_and_seed_give_the_same_predictions(estimator: str, registry: Registry, tmp_path: Path) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)
    frame = load_prepared(data, registry.artifacts)[list(data.features)]

    first, second = (
        predict(_load(_train(data, registry, {"estimator": estimator}), registry), frame, n_classes=2) for _ in range(2)
    )

    assert np.array_equal(first, second)


def test_another_seed_gives_another_forest(registry: Registry, tmp_path: Path) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)
    frame = load_prepared(data, registry.artifacts)[list(data.features)]
    spec = {"estimator": _FOREST, "parameters": {"n_estimators": 5}}

    one, other = (
        predict(_load(_train(data, registry, spec, seed=seed), registry), frame, n_classes=2) for seed in (0, 1)
    )

    assert not np.array_equal(one, other)


def test_the_estimator_with_the_least_loss_on_newer_rows_is_chosen(registry: Registry, tmp_path: Path) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)
    guess = {"estimator": "sklearn.dummy.DummyClassifier"}
    tree = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 2}}

    candidates = _train(data, registry, guess, tree, guess)

    assert candidates.chosen == 1
    losses = [candidate.validation_loss or np.inf for candidate in candidates.candidates]
    assert losses[1] == min(losses)
    assert losses[0] == losses[2]


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("estimator", "problem"),
    [
        ("RaisingTree", "ArithmeticError: no luck today"),
        ("SilentTree", "it predicts what is no number for 60 of 60 rows"),
        ("NarrowTree", "it predicts an array of shape (60,), expected (60, 2)"),
        ("LateRaisingTree", "MemoryError: too many rows"),
    ],
)
def test_an_estimator_that_fails_is_passed_over_or_ends_the_run_alone(
    estimator: str, problem: str, registry: Registry, tmp_path: Path
) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)
    failing = {"estimator": f"own_estimators.{estimator}", "parameters": {"max_depth": 2, "min_samples_leaf": 20}}
    tree = {"estimator": "sklearn.dummy.DummyClassifier"}

    candidates = _train(data, registry, failing, tree)

    assert candidates.chosen == 1
    assert candidates.candidates[0].error == problem
    with pytest.raises(RunFailed, match="the champion stays") as alone:
        _train(data, registry, failing)
    assert problem in str(alone.value)


@pytest.mark.usefixtures("own")
def test_a_regressor_that_predicts_infinity_ends_the_run(registry: Registry, tmp_path: Path) -> None:
    sections = define(task="regression", target="distance")
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips(), sections), registry)

    with pytest.raises(RunFailed, match="what is no number for 60 of 60 rows"):
        _train(data, registry, {"estimator": "own_estimators.SilentRegressor"}, task="regression")


@pytest.mark.parametrize("position", [0, 1])
def test_a_wrong_estimator_is_told_before_any_is_fitted(position: int, registry: Registry, tmp_path: Path) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)
    specs = [{"estimator": _FOREST}]
    specs.insert(position, {"estimator": "sklearn.ensemble.RandomForest"})

    with pytest.raises(DefinitionError, match="did you mean 'RandomForest"):
        _train(data, registry, *specs)


@pytest.mark.parametrize("path", ["json.dumps", "sklearn.base.BaseEstimator", "nowhere.Tree", "sklearn.tree.nothing"])
def test_what_is_no_estimator_is_refused(path: str, registry: Registry, tmp_path: Path) -> None:
    data = _prepare(make_pipeline(tmp_path / "trips", make_trips()), registry)

    with pytest.raises(DefinitionError, match=path):
        _train(data, registry, {"estimator": path})


def test_whole_numbers_are_a_quantity_to_the_encoding_of_categories(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips().assign(count=lambda rows: rows["distance"].round().astype(int))
    sections = define(task="regression", target="count")
    data = _prepare(make_pipeline(tmp_path / "trips", trips, sections, contract=None), registry)
    frame = load_prepared(data, registry.artifacts)
    spec = EstimatorSpec(estimator="sklearn.ensemble.HistGradientBoostingRegressor")

    model = build_estimator(spec, data, frame[TARGET].to_numpy(), seed=0)
    encoded = model.named_steps["encode"].fit_transform(frame[list(data.features)], frame[TARGET])

    assert encoded.shape[1] == len(data.features)


@pytest.mark.parametrize("estimator", [_BOOSTING, _LINEAR])
def test_a_class_of_a_single_row_is_left_out_of_the_fit(estimator: str, registry: Registry, tmp_path: Path) -> None:
    kinds = np.where(np.arange(400) % 3 == 0, "near", "far").astype(object)
    kinds[[5, 390]] = "rare"
    trips = make_trips().assign(late=kinds)
    data = _prepare(make_pipeline(tmp_path / "trips", trips, contract=None), registry)

    candidates = _train(data, registry, {"estimator": estimator})

    assert data.classes == ("far", "near")
    model = _load(candidates, registry)
    assert list(model.classes_) == [0, 1]


def test_many_small_classes_are_encoded_all_the_same(registry: Registry, tmp_path: Path) -> None:
    trips = make_trips(40).assign(late=[f"class {number % 12}" for number in range(40)])
    sections = define(validate_data={"min_rows": 10})
    data = _prepare(make_pipeline(tmp_path / "trips", trips, sections, contract={"columns": _ANY}), registry)

    assert _train(data, registry, {"estimator": _BOOSTING}).chosen == 0


def test_a_class_that_only_newer_rows_show_gets_no_probability_from_who_never_saw_it() -> None:
    tree = DecisionTreeClassifier().fit(pd.DataFrame({"x": [0.0, 1.0, 2.0]}), [0, 2, 2])

    answers = predict(tree, pd.DataFrame({"x": [0.0, 2.0]}), n_classes=4)

    assert answers.tolist() == [[1, 0, 0, 0], [0, 0, 1, 0]]


_ANY = {
    "at": {"type": "time"},
    "distance": {"type": "number"},
    "company": {"type": "text"},
    "late": {"type": "text"},
}


_MEMORY = """
class Remembered:
    def fit(self, frame, target):
        self.answers = dict(zip(frame["distance"].tolist(), target.astype(float).tolist()))

    def transform(self, frame):
        return frame.assign(remembered=frame["distance"].map(self.answers).fillna(0.5).astype("float64"))
"""


def test_estimators_are_compared_on_features_that_have_not_seen_the_validation_part(
    registry: Registry, tmp_path: Path
) -> None:
    sections = define(prepare={"fitted": ["features:Remembered"]})
    pipeline = make_pipeline(tmp_path / "trips", make_trips(noise=0.5), sections, features=_MEMORY)

    candidates = _train(_prepare(pipeline, registry), registry, TREE, TREE)
    losses = [candidate.validation_loss for candidate in candidates.candidates]
    assert all(loss is not None and loss > 0.6 for loss in losses)


def _prepare(pipeline: Pipeline, registry: Registry) -> TrainingData:
    artifacts, code = registry.artifacts, UserCode(pipeline.code)
    snapshot = extract_data(pipeline, artifacts, code=code, as_of=None)
    validated = validate_data(snapshot, pipeline, artifacts, ExpectationsProcess())
    return prepare_data(validated, pipeline, artifacts, code=code)


def _train(
    data: TrainingData, registry: Registry, *specs: dict[str, Any], seed: int = 0, task: Any = "classification"
) -> Candidates:
    spec = TrainSpec.model_validate({"estimators": list(specs), "seed": seed})
    return train_candidates(data, spec, registry.artifacts, task=task, threads=1)


def _load(candidates: Candidates, registry: Registry) -> Any:
    return load_model(registry.artifacts.read_bytes(candidates.model))
