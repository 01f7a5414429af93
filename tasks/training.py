"""Train: fit the declared estimators, choose by the newest rows that none of them saw."""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.errors import DefinitionError, RunFailed
from base.fingerprint import digest_document
from base.judged import Candidate, Candidates
from base.metrics import Task, row_losses
from base.model_files import dump_model
from base.references import Part, TrainingData
from base.train_spec import EstimatorSpec, TrainSpec
from tasks.estimators import DEFAULT_ESTIMATORS, build_estimator
from tasks.execution import RunReference, execute_step, open_context
from tasks.prepared_rows import TARGET, load_prepared, load_trial

_log = logging.getLogger(__name__)
# Rows by which a fit is known to answer with numbers at all.
_ROWS_LOOKED_AT = 1_000


def train_candidates(
    data: TrainingData, spec: TrainSpec, artifacts: ArtifactStore, *, task: Task, threads: int
) -> Candidates:
    """Fit each estimator on the train part, choose by loss on the validation part, fit the choice on both.

    One estimator alone has nothing to be chosen from, and is fitted once. An estimator that raises, or
    predicts what is no number, is recorded with its error and the others go on.

    Parameters
    ----------
    threads : int
        OpenMP threads of one fit.

    Raises
    ------
    DefinitionError
        If an estimator cannot be imported, does not take its parameters, or is none for the task.
    RunFailed
        If every estimator failed.
    """
    from threadpoolctl import threadpool_limits

    specs = spec.estimators or (DEFAULT_ESTIMATORS[task],)
    frame = load_prepared(data, artifacts)
    # What is compared on the validation part may have learnt nothing from it, its features neither.
    trial = load_trial(data, artifacts) if data.trial is not None and len(specs) > 1 else frame
    candidates: list[Candidate] = []
    with threadpool_limits(threads):
        for estimator in specs:
            # A wrong name or parameter is told before anything is fitted, not after an hour.
            build_estimator(estimator, data, frame[TARGET].to_numpy()[: data.train.stop], seed=spec.seed)
        for estimator in specs:
            tried = _try_estimator(estimator, data, trial, seed=spec.seed, task=task) if len(specs) > 1 else None
            candidates.append(tried or Candidate(estimator=estimator.estimator, parameters=estimator.parameters))
        model = None
        while model is None:
            chosen = _best(candidates)
            started = time.perf_counter()
            model, error = _fit_chosen(specs[chosen], data, frame, seed=spec.seed)
            seconds = candidates[chosen].fit_seconds + time.perf_counter() - started
            update = {"error": error, "fit_seconds": seconds}
            candidates[chosen] = candidates[chosen].model_copy(update=update)
    return Candidates(
        candidates=tuple(candidates),
        chosen=chosen,
        model=artifacts.put_bytes(dump_model(model), suffix=".skops"),
        seed=spec.seed,
    )


def fit(spec: EstimatorSpec, data: TrainingData, frame: pd.DataFrame, part: Part, *, seed: int) -> Any:
    """Fit an estimator on one part of the prepared rows; those of a class too rare to learn are left out.

    Raises
    ------
    DefinitionError
        If the estimator refuses one of its parameters.
    """
    rows = frame.iloc[part.start : part.stop]
    if data.classes is not None:
        rows = rows[rows[TARGET] >= 0]
    target = rows[TARGET].to_numpy()
    model = build_estimator(spec, data, target, seed=seed)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            model.fit(rows[list(data.features)], target)
        except ValueError as error:
            if type(error).__name__ != "InvalidParameterError":  # scikit-learn's, which it does not export
                raise
            raise DefinitionError(f"estimator {spec.estimator!r}: {error}", key="train.estimators") from error
    for message in sorted({str(warning.message).splitlines()[0] for warning in caught if str(warning.message)}):
        _log.warning("%s: %s", spec.estimator, message)
    return model


def predict(model: Any, features: pd.DataFrame, *, n_classes: int | None) -> npt.NDArray[np.float64]:
    """Predict features; classes that the model was not shown get probability 0.

    Returns
    -------
    array of shape (n_rows, n_classes) or (n_rows,)
    """
    if n_classes is None:
        return np.asarray(model.predict(features), dtype=np.float64)
    known = np.asarray(model.predict_proba(features), dtype=np.float64)
    if known.ndim != 2 or known.shape[1] >= n_classes:
        return known
    full = np.zeros((len(known), n_classes))
    full[:, np.asarray(model.classes_, dtype=np.intp)] = known
    return full


def _try_estimator(spec: EstimatorSpec, data: TrainingData, frame: pd.DataFrame, *, seed: int, task: Task) -> Candidate:
    started = time.perf_counter()
    loss, error = None, None
    try:
        model = fit(spec, data, frame, data.train, seed=seed)
        target, answers = _predict_validation(model, data, frame)
        loss = float(row_losses(task, target, answers).mean())
    except DefinitionError:
        raise
    except Exception as failure:
        error = _describe(failure)
    return Candidate(
        estimator=spec.estimator,
        parameters=spec.parameters,
        validation_loss=loss,
        fit_seconds=time.perf_counter() - started,
        error=error,
    )


def _fit_chosen(
    spec: EstimatorSpec, data: TrainingData, frame: pd.DataFrame, *, seed: int
) -> tuple[Any | None, str | None]:
    try:
        model = fit(spec, data, frame, Part(start=data.train.start, stop=data.validation.stop), seed=seed)
        _predict_validation(model, data, frame, most=_ROWS_LOOKED_AT)
    except DefinitionError:
        raise
    except Exception as failure:
        return None, _describe(failure)
    return model, None


def _predict_validation(
    model: Any, data: TrainingData, frame: pd.DataFrame, *, most: int | None = None
) -> tuple[npt.NDArray[Any], npt.NDArray[np.float64]]:
    rows = frame.iloc[data.validation.start : data.validation.stop].iloc[:most]
    n_classes = None if data.classes is None else len(data.classes)
    answers = predict(model, rows[list(data.features)], n_classes=n_classes)
    check_answers(answers, n_rows=len(rows), n_classes=n_classes)
    return rows[TARGET].to_numpy(), answers


def check_answers(answers: npt.NDArray[np.float64], *, n_rows: int, n_classes: int | None) -> None:
    """Refuse answers that cannot be judged.

    Raises
    ------
    RunFailed
        If one is no number, or their shape is not one answer for each row.
    """
    expected = (n_rows,) if n_classes is None else (n_rows, n_classes)
    if answers.shape != expected:
        raise RunFailed(f"it predicts an array of shape {answers.shape}, expected {expected}")
    wrong = int((~np.isfinite(answers)).reshape(n_rows, -1).any(axis=1).sum())
    if wrong:
        raise RunFailed(f"it predicts what is no number for {wrong:,} of {n_rows:,} rows")


def _describe(failure: Exception) -> str:
    if isinstance(failure, RunFailed):
        return str(failure)
    return f"{type(failure).__name__}: {failure}".strip().splitlines()[0].rstrip(": ")


def _best(candidates: Sequence[Candidate]) -> int:
    alive = [index for index, candidate in enumerate(candidates) if candidate.error is None]
    if not alive:
        reasons = "; ".join(f"{candidate.estimator}: {candidate.error}" for candidate in candidates)
        raise RunFailed(
            f"no estimator could be fitted ({reasons}); the champion stays, mend what is said or take another estimator"
        )
    losses = [candidates[index].validation_loss for index in alive]
    return alive[int(np.argmin([np.inf if loss is None else loss for loss in losses]))]


@task(name="train", cache_policy=NO_CACHE)
def train_step(run: RunReference, data: TrainingData) -> Candidates:
    """Fit the declared estimators, or reuse the fits of the same rows, parameters and seed."""
    context = open_context(run)
    spec, threads = context.pipeline.spec, context.settings.fit_threads
    return execute_step(
        context,
        "train",
        lambda: train_candidates(data, spec.train, context.registry.artifacts, task=spec.task, threads=threads),
        output=Candidates,
        parameters={"train": spec.train.model_dump(mode="json"), "task": spec.task, "threads": threads},
        inputs={"data": digest_document(data.model_dump(mode="json"))},
        log=get_run_logger(),
    )
