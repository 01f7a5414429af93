"""Estimators by import path, each behind the encoding of columns that suits it."""

from __future__ import annotations

import inspect
import sys
from importlib import import_module
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import DefinitionError, nearest
from base.metrics import Task
from base.references import TrainingData
from base.train_spec import EstimatorSpec

DEFAULT_ESTIMATORS: dict[Task, EstimatorSpec] = {
    "classification": EstimatorSpec(estimator="sklearn.ensemble.HistGradientBoostingClassifier"),
    "regression": EstimatorSpec(estimator="sklearn.ensemble.HistGradientBoostingRegressor"),
}
_MOST_ONE_HOT_CATEGORIES = 50
_ENCODING_FOLDS = 5
_TREES = ("RandomForest", "ExtraTree", "DecisionTree", "GradientBoosting")


def build_estimator(spec: EstimatorSpec, data: TrainingData, target: npt.NDArray[Any], *, seed: int) -> Any:
    """Build an unfitted scikit-learn pipeline: encoding of the columns, then the estimator.

    Gradient boosting on histograms gets each category as the mean of its target, fitted crosswise
    (Micci-Barreca 2001), or one column for each frequent value where prepare.one_hot says so, and gaps as they are;
    anything else gets medians for gaps, unit variance (but for trees), and one column for each frequent category.

    Parameters
    ----------
    target : array of shape (n_rows,)
        Of the rows that it will be fitted on: class codes, or values.

    Raises
    ------
    DefinitionError
        If there is no such estimator, it does not take one of the parameters, or it is none for this task.
    """
    from sklearn.pipeline import Pipeline

    estimator = import_estimator(spec)
    parameters = dict(spec.parameters)
    accepted = inspect.signature(estimator).parameters
    if "random_state" in accepted:
        parameters.setdefault("random_state", seed)
    if takes_gaps(spec):
        encoding = _target_encoding(data, target, seed)
    else:
        encoding = _one_hot_encoding(data, is_scaled=not splits_at_thresholds(spec))
    try:
        model = estimator(**parameters)
    except Exception as error:
        known = ", ".join(accepted)
        raise DefinitionError(
            f"estimator {spec.estimator!r} cannot be made with {spec.parameters}: {error}; its parameters are {known}",
            key="train.estimators",
        ) from error
    _check_task(spec, model, is_classification=data.classes is not None)
    return Pipeline([("encode", encoding), ("estimate", model)])


def import_estimator(spec: EstimatorSpec) -> Any:
    """Import the class that an estimator's path names.

    Raises
    ------
    DefinitionError
        If there is none, or it is no estimator.
    """
    module, _, name = spec.estimator.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except Exception as error:
        raise DefinitionError(
            f"key 'estimator' is {spec.estimator!r}, which cannot be imported ({error}){_nearest_class(module, name)}; "
            "expected an import path such as 'sklearn.ensemble.HistGradientBoostingClassifier'",
            key="train.estimators",
        ) from error
    if not (inspect.isclass(found) and hasattr(found, "fit") and hasattr(found, "get_params")):
        raise DefinitionError(
            f"key 'estimator' is {spec.estimator!r}, which is no estimator; expected a class with fit and predict",
            key="train.estimators",
        )
    return found


def takes_gaps(spec: EstimatorSpec) -> bool:
    """Tell whether an estimator takes missing values as they are, and needs no scaling."""
    return spec.estimator.rpartition(".")[2].startswith("HistGradientBoosting")


def splits_at_thresholds(spec: EstimatorSpec) -> bool:
    """Tell whether an estimator is made of trees, which need no scaling.

    A scaler rounds each value, and another release of scikit-learn rounds otherwise: of 2,607 rows of bike_sharing, 21
    fell on the other side of a random forest's threshold.

    Examples
    --------
    >>> splits_at_thresholds(EstimatorSpec(estimator="sklearn.ensemble.RandomForestRegressor"))
    True
    >>> splits_at_thresholds(EstimatorSpec(estimator="sklearn.linear_model.Ridge"))
    False
    """
    return spec.estimator.startswith("sklearn.") and spec.estimator.rpartition(".")[2].startswith(_TREES)


def _nearest_class(module: str, name: str) -> str:
    found = sys.modules.get(module)
    return "" if found is None else nearest(name, [known for known in dir(found) if not known.startswith("_")])


def _check_task(spec: EstimatorSpec, model: Any, *, is_classification: bool) -> None:
    from sklearn.base import is_classifier

    if is_classification and not hasattr(model, "predict_proba"):
        problem = "gives no probabilities of classes (predict_proba), and the task is classification"
        way_out = "take a classifier that does, or a parameter that lets it"
    elif not is_classification and is_classifier(model):
        problem, way_out = "is a classifier, and the task is regression", "take a regressor"
    else:
        return
    raise DefinitionError(f"estimator {spec.estimator!r} {problem}; {way_out}", key="train.estimators")


def _target_encoding(data: TrainingData, target: npt.NDArray[Any], seed: int) -> Any:
    # Gradient boosting can take category codes itself, but scikit-learn then keeps a functools.partial in the
    # fitted model, and a model file that may hold one could call any function.
    from sklearn.compose import ColumnTransformer
    from sklearn.model_selection import KFold, StratifiedKFold
    from sklearn.preprocessing import TargetEncoder

    is_spread = data.classes is not None and np.unique(target, return_counts=True)[1].max() >= _ENCODING_FOLDS
    folds = (StratifiedKFold if is_spread else KFold)(_ENCODING_FOLDS, shuffle=True, random_state=seed)
    # Left to guess, the encoder takes whole numbers for classes, and makes a column for each of them.
    encoder = TargetEncoder(target_type="continuous" if data.classes is None else "auto", cv=folds)
    encoded = [name for name in data.categorical if name not in data.one_hot]
    return ColumnTransformer(
        [
            ("numeric", "passthrough", list(data.numeric)),
            ("categorical", encoder, encoded),
            ("one_hot", _one_hot_encoder(), list(data.one_hot)),
        ],
        verbose_feature_names_out=False,
    )


def _one_hot_encoding(data: TrainingData, *, is_scaled: bool) -> Any:
    from sklearn.compose import ColumnTransformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import StandardScaler

    fill, scale = ("fill", SimpleImputer(strategy="median")), ("scale", StandardScaler())
    numeric = Pipeline([fill, scale] if is_scaled else [fill])
    return ColumnTransformer(
        [("numeric", numeric, list(data.numeric)), ("categorical", _one_hot_encoder(), list(data.categorical))],
        verbose_feature_names_out=False,
    )


def _one_hot_encoder() -> Any:
    from sklearn.preprocessing import OneHotEncoder

    return OneHotEncoder(
        handle_unknown="infrequent_if_exist", max_categories=_MOST_ONE_HOT_CATEGORIES, sparse_output=False
    )
