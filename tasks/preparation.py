"""Prepare: from good rows to features in three time-ordered parts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.errors import DataRefused, Fault, nearest
from base.pipeline import Pipeline
from base.references import Part, TrainingData, ValidatedData
from base.rows import load_rows
from base.sources import table_types
from base.user_code import UserCode
from features.columns import FeatureRefused, as_float32
from features.plan import FeaturePlan, apply_functions, frame_from_table, select_features
from tasks.execution import RunReference, execute_step, open_context
from tasks.feature_choice import choose_inputs, choose_kinds, drop_unsendable
from tasks.frames import load_frame, store_table

TARGET = "__target__"
_FEWEST_TRAINING_ROWS = 20
_FEWEST_CLASS_ROWS = 2
_RESERVED = (TARGET, "__prediction__")


def prepare_data(
    validated: ValidatedData, pipeline: Pipeline, artifacts: ArtifactStore, *, code: UserCode
) -> TrainingData:
    """Split good rows by time, let the user's functions add features, and store what the estimators will see.

    The rows keep their order, so row *i* of the result is row *i* of the good rows. Equal times stay on one
    side of a cut: a model is never tested on the moment it was trained on.

    Raises
    ------
    UserCodeError
        If a feature function fails or returns rows of another shape.
    DataRefused
        If a declared column does not exist or holds no value, or a part is left without rows or classes.
    """
    spec = pipeline.spec
    table = load_rows(artifacts, validated.good)
    train, validation, test = split_by_time(
        _moments(table, spec.time), spec.prepare.split.validation, spec.prepare.split.test
    )
    target, classes = encode_target(
        table[spec.target_column].to_pandas(), slice(train.start, validation.stop), spec.task
    )
    _check_parts(pipeline, train, validation, test, target)
    inputs, unsendable = drop_unsendable(table, choose_inputs(table_types(table), pipeline))
    frame = apply_functions(frame_from_table(table, inputs), spec.prepare.features, code)
    _check_names(pipeline, frame)
    # An estimator that is tried is fitted on the train rows alone: a column must hold something there.
    learnt = frame.iloc[train.start : train.stop]
    numeric, categorical, left_out = choose_kinds(frame, learnt, spec.prepare, spec.time)
    left_out = unsendable | left_out
    _check_declared(pipeline, frame, left_out, [*numeric, *categorical])
    plan = FeaturePlan(inputs=inputs, functions=spec.prepare.features, numeric=numeric, categorical=categorical)
    features = select_features(frame, plan)
    columns = {name: _arrow(features[name]) for name in features.columns}
    moments = None if spec.time is None else table[spec.time]
    return TrainingData(
        artifact=store_table(artifacts, pa.table({**columns, TARGET: pa.array(target)})),
        train=train,
        validation=validation,
        test=test,
        inputs=inputs,
        numeric=numeric,
        categorical=categorical,
        left_out=left_out,
        classes=classes,
        first=None if moments is None else moments[0].as_py(),
        learnt_until=None if moments is None else moments[validation.stop - 1].as_py(),
        watermark=None if moments is None else moments[-1].as_py(),
    )


def load_prepared(data: TrainingData, artifacts: ArtifactStore) -> pd.DataFrame:
    """Read prepared rows as the estimators see them: the features, and the target as :data:`TARGET`.

    A missing category is NaN, as :func:`features.plan.select_features` writes it; Parquet would hand back
    None, which encoders take for another category than NaN.
    """
    frame = load_frame(artifacts, data.artifact)
    return frame.assign(**{name: frame[name].where(frame[name].notna(), np.nan) for name in data.categorical})


def split_by_time(moments: npt.NDArray[np.int64], validation: float, test: float) -> tuple[Part, Part, Part]:
    """Cut ordered rows into train, validation and test, never through equal moments where that can be.

    Each cut goes to the change of moment that is nearest to where the shares would have it. Where there are
    fewer than three moments, the rows' order decides. From three rows on, no part is empty.

    Examples
    --------
    >>> parts = split_by_time(np.array([1, 1, 1, 1, 1, 1, 2, 2, 3, 3]), 0.2, 0.2)
    >>> [(part.start, part.stop) for part in parts]
    [(0, 6), (6, 8), (8, 10)]
    """
    n_rows = len(moments)
    wanted = [round(n_rows * (1 - validation - test)), round(n_rows * (1 - test))]
    changes = np.flatnonzero(np.diff(moments)) + 1
    if len(changes) >= 2:
        last = int(np.argmin(np.abs(changes - wanted[1])))
        last = max(last, 1)
        first = int(np.argmin(np.abs(changes[:last] - wanted[0])))
        wanted = [int(changes[first]), int(changes[last])]
    elif n_rows >= 3:
        last = min(max(wanted[1], 2), n_rows - 1)
        wanted = [min(max(wanted[0], 1), last - 1), last]
    return Part(start=0, stop=wanted[0]), Part(start=wanted[0], stop=wanted[1]), Part(start=wanted[1], stop=n_rows)


def encode_target(
    target: pd.Series[Any], learnt: slice, task: str
) -> tuple[npt.NDArray[Any], tuple[str | int | float | bool, ...] | None]:
    """Write classes as codes 0 … n - 1; one that occurs less than twice in the rows to learn from gets -1.

    From a single row nothing can be learnt and told from chance, and scikit-learn's splits refuse it.
    """
    if task == "regression":
        return target.to_numpy(dtype=np.float64), None
    counts = target.iloc[learnt].value_counts()
    known = counts.index[counts >= _FEWEST_CLASS_ROWS].tolist()
    classes = sorted(known, key=lambda value: (str(type(value)), value))
    codes = pd.Categorical(target, categories=classes).codes
    return codes.astype(np.int64), tuple(classes)


def _no_quantity(column: pd.Series[Any]) -> str | None:
    try:
        as_float32(column)
    except FeatureRefused:
        wrong = column[pd.to_numeric(column, errors="coerce").isna() & column.notna()]
        return f"values that are no numbers{'' if wrong.empty else f', such as {str(wrong.iloc[0])[:40]!r}'}"
    return None


def _n_values(target: npt.NDArray[Any], task: str) -> int:
    return len(np.unique(target if task == "regression" else target[target >= 0]))


def _moments(table: pa.Table, time: str | None) -> npt.NDArray[np.int64]:
    if time is None:
        return np.arange(table.num_rows)
    moments: npt.NDArray[np.int64] = table[time].cast("int64").to_numpy()
    return moments


def _arrow(column: pd.Series[Any]) -> pa.Array:
    return pa.array(column, type=pa.string() if column.dtype == object else pa.float32(), from_pandas=True)


def _check_names(pipeline: Pipeline, frame: pd.DataFrame) -> None:
    if taken := [name for name in _RESERVED if name in frame.columns]:
        raise DataRefused(
            f"the data of pipeline {pipeline.name!r}",
            [Fault(name, "a column of this name", "another one: Everfit stores its own under it") for name in taken],
            "Rename it at the source, or in the feature function that makes it.",
        )


def _check_declared(pipeline: Pipeline, frame: pd.DataFrame, left_out: Mapping[str, str], used: list[str]) -> None:
    spec = pipeline.spec.prepare
    faults = []
    for name in (*spec.numeric, *spec.categorical):
        if name not in frame.columns and name not in left_out:
            faults.append(
                Fault(name, f"no such column{nearest(name, frame.columns)}", "a column, since prepare names it")
            )
        elif name in left_out:
            faults.append(Fault(name, f"a column that {left_out[name]}", "a feature, since prepare names it"))
        elif name in spec.numeric and (problem := _no_quantity(frame[name])):
            faults.append(Fault(name, problem, "numbers, since prepare.numeric names it"))
    if not faults and not used:
        faults.append(Fault(None, "no column that can be a feature", "at least one"))
    if faults:
        raise DataRefused(
            f"the data of pipeline {pipeline.name!r}", faults, f"Correct 'prepare' in {pipeline.file.name}."
        )


def _check_parts(pipeline: Pipeline, train: Part, validation: Part, test: Part, target: npt.NDArray[Any]) -> None:
    faults = []
    for name, part, fewest in (
        ("train", train, _FEWEST_TRAINING_ROWS),
        ("validation", validation, 1),
        ("test", test, 1),
    ):
        if part.n_rows < fewest:
            faults.append(Fault(None, f"{part.n_rows} rows in the {name} part", f"at least {fewest}"))
        elif name == "train" and _n_values(target[part.start : part.stop], pipeline.spec.task) < 2:
            what = "class of two rows or more" if pipeline.spec.task == "classification" else "value"
            faults.append(Fault(pipeline.spec.target_column, f"one {what} in the train part", "at least two"))
    if faults:
        raise DataRefused(
            f"the data of pipeline {pipeline.name!r}", faults, "Extract more rows, or change prepare.split."
        )


@task(name="prepare", cache_policy=NO_CACHE)
def prepare_step(run: RunReference, validated: ValidatedData) -> TrainingData:
    """Prepare validated rows, or reuse what the same rows and feature functions gave before."""
    context = open_context(run)
    spec, contract = context.pipeline.spec, context.pipeline.contract
    return execute_step(
        context,
        "prepare",
        lambda: prepare_data(validated, context.pipeline, context.registry.artifacts, code=context.code),
        output=TrainingData,
        parameters={
            "prepare": spec.prepare.model_dump(mode="json"),
            "contract": None if contract is None else contract.model_dump(mode="json"),
            "task": spec.task,
            "target": spec.target_column,
            "time": spec.time,
            "code": context.code.digest if spec.prepare.features else None,
        },
        inputs={"rows": validated.good.digest},
        log=get_run_logger(),
    )
