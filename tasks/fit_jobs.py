"""One fit as a document, so that any process can do it: what is fitted, on which fold, and what came of it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import Field

from base.artifacts import Artifact, ArtifactStore
from base.candidates import Curve
from base.errors import DefinitionError
from base.metrics import Task, measure, row_losses
from base.model_files.stored import store_model
from base.references import Metric, Reference, TrainingData
from base.train_spec import EstimatorSpec
from tasks.estimators import import_estimator
from tasks.fits import check_answers, describe_failure, fit_rows, in_all_classes, predict
from tasks.folds import Fold, load_folds
from tasks.prepared_rows import TARGET, load_prepared, load_trial

# A curve is there to be looked at: a few thousand rows tell its shape.
_CURVE_ROWS = 2_000
_CURVE_POINTS = 50
# What estimators call their number of iterations, for a fit with fewer of them.
_ITERATIONS = ("max_iter", "n_estimators")
_CACHED = 4
_cache: dict[tuple[object, ...], Any] = {}


OUT_OF_BUDGET = "the budget was spent before it was fitted"


class Ground(Reference):
    """What all fits of one comparison share; ``folds`` is as :func:`tasks.folds.store_folds` wrote it."""

    data: TrainingData
    task: Task
    seed: int
    threads: int = 1
    folds: Artifact


class FitJob(Reference):
    """One fit on one fold.

    ``share`` keeps the newest part of the rows to learn from, ``iterations`` limits the estimator's own, ``until``
    is the moment (seconds since 1970) at which it is ended, ``seconds`` how long it may take. A last fit is on the
    features that the model will be served with, and its model is kept.
    """

    estimator: str
    parameters: dict[str, Any]
    fold: int
    share: float = 1.0
    iterations: int | None = None
    until: float | None = None
    seconds: float | None = None
    with_curve: bool = False
    is_last: bool = False


class FitResult(Reference):
    """What came of a fit. A definition that is wrong is told apart from a fit that failed or ran out of time."""

    loss: float | None = None
    metrics: dict[str, Metric] = Field({})
    curve: Curve | None = None
    seconds: float = 0.0
    n_rows: int = 0
    error: str | None = None
    wrong_definition: bool = False
    ran_out: bool = False
    model: Artifact | None = None


def run_job(job: FitJob, ground: Ground, frame: pd.DataFrame, fold: Fold) -> tuple[FitResult, Any]:
    """Fit one candidate on one fold and judge it there; whatever goes wrong is part of the result.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_features + 1)
        Prepared rows; the fold says which of them are learnt from and judged.

    Returns
    -------
    FitResult, and the fitted model or None
    """
    learnt = fold.learnt[len(fold.learnt) - max(1, round(len(fold.learnt) * job.share)) :]
    started = time.perf_counter()
    result: dict[str, Any] = {"n_rows": len(learnt)}
    model = None
    try:
        spec = limit_iterations(EstimatorSpec(estimator=job.estimator, parameters=job.parameters), job.iterations)
        model = fit_rows(spec, ground.data, frame.iloc[learnt], seed=ground.seed)
        target, answers = judge_rows(model, ground.data, frame.iloc[fold.judged])
        result["loss"] = float(row_losses(ground.task, target, answers).mean())
        if job.is_last:
            return FitResult(seconds=time.perf_counter() - started, **result), model
        result["metrics"] = measure(ground.task, target, answers)
        if job.with_curve:
            result["curve"] = iteration_curve(model, ground, frame.iloc[fold.judged[-_CURVE_ROWS:]])
    except DefinitionError as error:
        result |= {"error": str(error), "wrong_definition": True}
    except Exception as failure:
        result |= {"error": describe_failure(failure)}
    return FitResult(seconds=time.perf_counter() - started, **result), model if "error" not in result else None


def run_stored_job(job: FitJob, ground: Ground, artifacts: ArtifactStore) -> FitResult:
    """Do :func:`run_job` on stored rows; a last fit's model is stored. A process reads the same rows once."""
    if job.until is not None and time.time() >= job.until:
        return FitResult(error=OUT_OF_BUDGET, ran_out=True)
    frame = _cached(("frame", job.is_last, ground.data.artifact.digest), lambda: _load(job, ground, artifacts))
    folds = _cached(("folds", ground.folds.digest), lambda: load_folds(ground.folds, artifacts))
    result, model = run_job(job, ground, frame, folds[job.fold])
    if not job.is_last or model is None:
        return result
    return result.model_copy(update={"model": store_model(model, artifacts)})


def judge_rows(model: Any, data: TrainingData, rows: pd.DataFrame) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    """Return the rows' target and a model's answers, if they can be judged.

    Raises
    ------
    RunFailed
        If they cannot.
    """
    n_classes = None if data.classes is None else len(data.classes)
    answers = predict(model, rows[list(data.features)], n_classes=n_classes)
    check_answers(answers, n_rows=len(rows), n_classes=n_classes)
    return rows[TARGET].to_numpy(), answers


def limit_iterations(spec: EstimatorSpec, most: int | None) -> EstimatorSpec:
    """Let an estimator that counts its iterations do no more than *most*; any other is left as it is.

    Examples
    --------
    >>> spec = EstimatorSpec(estimator="sklearn.ensemble.HistGradientBoostingRegressor", parameters={"max_iter": 200})
    >>> limit_iterations(spec, 30).parameters
    {'max_iter': 30}
    """
    name = None if most is None else iterations_parameter(spec)
    if name is None or most is None:
        return spec
    limited = min(most, full_iterations(spec))
    return spec.model_copy(update={"parameters": spec.parameters | {name: limited}})


def iterations_parameter(spec: EstimatorSpec) -> str | None:
    """Name the parameter that counts an estimator's trees; other iterations (of a solver) are to converge."""
    estimator = import_estimator(spec)
    defaults = estimator().get_params() if not spec.parameters else estimator(**spec.parameters).get_params()
    if "n_estimators" in defaults:
        return "n_estimators"
    return "max_iter" if "max_leaf_nodes" in defaults and "max_iter" in defaults else None


def full_iterations(spec: EstimatorSpec) -> int:
    """Tell how many iterations an estimator does when nobody limits them."""
    values = import_estimator(spec)(**spec.parameters).get_params()
    return int(next(values[name] for name in _ITERATIONS if values.get(name) is not None))


def iteration_curve(model: Any, ground: Ground, rows: pd.DataFrame) -> Curve | None:
    """Follow the loss over the iterations of a fitted model, where it can tell them apart."""
    estimator = model.named_steps["estimate"]
    staged = "staged_predict_proba" if ground.data.classes is not None else "staged_predict"
    if not hasattr(estimator, staged):
        return None
    target = rows[TARGET].to_numpy()
    encoded = model.named_steps["encode"].transform(rows[list(ground.data.features)])
    losses = [
        float(row_losses(ground.task, target, answers).mean())
        for answers in _stages(getattr(estimator, staged)(encoded), estimator, ground.data)
    ]
    shown = np.unique(np.linspace(0, len(losses) - 1, min(_CURVE_POINTS, len(losses))).astype(int))
    return Curve(
        over="iterations", steps=tuple(float(each + 1) for each in shown), losses=tuple(losses[each] for each in shown)
    )


def _stages(stages: Iterator[Any], estimator: Any, data: TrainingData) -> Iterator[npt.NDArray[np.float64]]:
    for answers in stages:
        known = np.asarray(answers, dtype=np.float64)
        yield known if data.classes is None else in_all_classes(known, estimator, len(data.classes))


def _load(job: FitJob, ground: Ground, artifacts: ArtifactStore) -> pd.DataFrame:
    return load_prepared(ground.data, artifacts) if job.is_last else load_trial(ground.data, artifacts)


def _cached(key: tuple[object, ...], load: Callable[[], Any]) -> Any:
    # A process does the fits of one training after the other; the rows of the one before would only fill memory.
    if key not in _cache:
        while len(_cache) >= _CACHED:
            _cache.pop(next(iter(_cache)))
        _cache[key] = load()
    return _cache[key]
