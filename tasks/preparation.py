"""Prepare: from good rows to features in three time-ordered parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import Artifact, ArtifactStore
from base.errors import DataRefused, Fault, nearest
from base.pipeline import Pipeline
from base.references import Rows, TrainingData, ValidatedData
from base.rows.reading import load_rows, read_schema
from base.rows.tables import table_types
from base.times import describe_duration
from base.user_code import UserCode
from features.columns import FeatureRefused, as_float32
from features.plan import frame_from_table, select_features
from features.views import JoinedView
from registry.feature_views import resolve_views
from registry.manifest import ModelManifest
from tasks.execution import RunReference, execute_step, open_context
from tasks.feature_choice import choose_inputs, choose_kinds, drop_unsendable, sensitive_columns
from tasks.feature_making import add_features, add_fitted
from tasks.frames import store_table
from tasks.joined_views import join_rows, materialize_new, sensitive_view_columns, view_inputs
from tasks.prepared_rows import TARGET, make_plan
from tasks.run_record import find_champion
from tasks.splits import Split, split_rows

_FEWEST_TRAINING_ROWS = 20
_FEWEST_CLASS_ROWS = 2
_RESERVED = (TARGET, "__prediction__")


def prepare_data(
    validated: ValidatedData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    code: UserCode,
    views: Sequence[JoinedView] = (),
    trusted: Sequence[str] = (),
    seen_until: datetime | None = None,
) -> TrainingData:
    """Split good rows by time, let the user's code add features, and store what the estimators will see.

    Feature functions are called a second time with a few rows, so that one which looks at other rows is refused
    here. Fitted features learn from the train part for the comparison of the estimators, and from all rows that
    the last fit learns from for the model.

    Parameters
    ----------
    trusted : sequence of str
        Types that a fitted feature may hold beside those on the allow-list of model files.
    seen_until : datetime, optional
        Up to when the champion has learnt; the test part begins after it, where that leaves enough to judge by.

    Raises
    ------
    UserCodeError
        If the user's code fails, returns rows of another shape, or cannot be stored.
    LooksAtOtherRows
        If a feature of one row depends on other rows.
    DataRefused
        If a declared column does not exist or holds no value, or a part is left without rows or classes.
    """
    spec = pipeline.spec
    _check_key(pipeline, read_schema(artifacts, validated.good).names)
    split = split_rows(artifacts, validated.good, spec, seen_until=seen_until)
    table = join_rows(load_columns(validated.good, pipeline, views, artifacts), views, spec.time, artifacts)
    watermark = None if spec.time is None or not table.num_rows else table[spec.time][-1].as_py()
    positions = None
    if split.positions is not None:
        table = table.take(pa.array(split.positions))
        positions = store_table(artifacts, pa.table({"position": pa.array(split.positions)}))
    answers = table[spec.target_column].to_pandas()
    target, classes = encode_target(answers, slice(0, split.validation.stop), spec.task)
    _check_parts(pipeline, split, target)
    moments = None if spec.time is None else table[spec.time].slice(0, split.validation.stop)
    inputs, unsendable = drop_unsendable(table, choose_inputs(table_types(table), pipeline))
    inputs = view_inputs(inputs, table, views)
    frame = add_features(frame_from_table(table, inputs), spec.prepare.features, code)
    del table
    frame, trial, states = add_fitted(frame, answers, split, spec.prepare.fitted, artifacts, code=code, trusted=trusted)
    _check_names(pipeline, frame)
    # An estimator that is tried is fitted on the train rows alone: a column must hold something there.
    learnt = (frame if trial is None else trial).iloc[: split.train.stop]
    numeric, categorical, left_out = choose_kinds(frame, learnt, spec.prepare, spec.time)
    left_out = unsendable | left_out | dict.fromkeys(sensitive_columns(pipeline), "is marked sensitive in the contract")
    hidden = sensitive_view_columns(views)
    left_out |= {name: f"is marked sensitive, as feature view {view!r} gives it" for name, view in hidden.items()}
    _check_declared(pipeline, frame, left_out, [*numeric, *categorical])
    data = TrainingData(
        artifact=validated.report,
        train=split.train,
        validation=split.validation,
        test=split.test,
        positions=positions,
        states=states,
        rows_left_out=split.left_out,
        inputs=inputs,
        numeric=numeric,
        categorical=categorical,
        ordinal={name: order for name, order in spec.prepare.ordinal.items() if name in numeric},
        one_hot=tuple(name for name in categorical if name in spec.prepare.one_hot),
        left_out=left_out,
        classes=classes,
        first=None if moments is None else pc.min(moments).as_py(),
        learnt_until=None if moments is None else pc.max(moments).as_py(),
        watermark=watermark,
        seen_until=seen_until,
        views=tuple(view.model_dump(mode="json") for view in views),
    )
    plan = make_plan(data, pipeline)
    stored = store_features(artifacts, select_features(frame, plan), target)
    tried = None if trial is None else store_features(artifacts, select_features(trial, plan), target)
    return data.model_copy(update={"artifact": stored, "trial": tried})


def find_seen_until(champion: ModelManifest | None, validated: ValidatedData) -> datetime | None:
    """Return up to when the champion has learnt, where it was fitted on all rows of its day and newer ones came."""
    if champion is None or champion.deployed != "full" or champion.learnt_until is None:
        return None
    newest = [segment.last for segment in validated.good.segments if segment.last is not None]
    return champion.learnt_until if newest and max(newest) > champion.learnt_until else None


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


def load_columns(good: Rows, pipeline: Pipeline, views: Sequence[JoinedView], artifacts: ArtifactStore) -> pa.Table:
    """Read the columns that features are made of, the target, the time and the views' keys; memory holds no others."""
    spec = pipeline.spec
    schema = read_schema(artifacts, good)
    needed = {*choose_inputs(table_types(schema.empty_table()), pipeline), spec.target_column}
    needed |= {key for view in views for key in view.keys.values()} | ({spec.time} if spec.time is not None else set())
    return load_rows(artifacts, good, columns=[name for name in schema.names if name in needed])


def store_features(artifacts: ArtifactStore, features: pd.DataFrame, target: npt.NDArray[Any]) -> Artifact:
    """Store rows as the estimators see them, with the target of as many."""
    columns = {name: _arrow(features[name]) for name in features.columns}
    return store_table(artifacts, pa.table({**columns, TARGET: pa.array(target[: len(features)])}))


def _arrow(column: pd.Series[Any]) -> pa.Array:
    return pa.array(column, type=pa.string() if column.dtype == object else pa.float32(), from_pandas=True)


def _check_names(pipeline: Pipeline, frame: pd.DataFrame) -> None:
    faults = [
        Fault(name, "a column of this name", "another one: Everfit stores its own under it")
        for name in _RESERVED
        if name in frame.columns
    ] + [
        Fault(name, "a column of this name before an estimator", "none: the contract marks it sensitive")
        for name in sensitive_columns(pipeline)
        if name in frame.columns
    ]
    if faults:
        way_out = "Rename it at the source, or in the feature function that makes it."
        raise DataRefused(f"the data of pipeline {pipeline.name!r}", faults, way_out)


def _check_key(pipeline: Pipeline, known: Sequence[str]) -> None:
    if faults := [
        Fault(name, f"no such column{nearest(name, known)}", "a column, since serve.key names it")
        for name in pipeline.spec.serve.key
        if name not in known
    ]:
        way_out = f"Correct 'serve' in {pipeline.file.name}."
        raise DataRefused(f"the data of pipeline {pipeline.name!r}", faults, way_out)


def _check_declared(pipeline: Pipeline, frame: pd.DataFrame, left_out: Mapping[str, str], used: list[str]) -> None:
    spec = pipeline.spec.prepare
    faults = []
    for name in (*spec.numeric, *spec.categorical, *spec.ordinal, *spec.one_hot):
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


def _check_parts(pipeline: Pipeline, split: Split, target: npt.NDArray[Any]) -> None:
    faults = []
    less = "".join(f"; {count:,} {why}" for why, count in split.left_out.items())
    for name, part, fewest in (
        ("train", split.train, _FEWEST_TRAINING_ROWS),
        ("validation", split.validation, 1),
        ("test", split.test, 1),
    ):
        if part.n_rows < fewest:
            faults.append(Fault(None, f"{part.n_rows} rows in the {name} part{less}", f"at least {fewest}"))
        elif name == "train" and _n_values(target[part.start : part.stop], pipeline.spec.task) < 2:
            what = "class of two rows or more" if pipeline.spec.task == "classification" else "value"
            faults.append(Fault(pipeline.spec.target_column, f"one {what} in the train part", "at least two"))
    if pipeline.spec.target_column in sensitive_columns(pipeline):
        faults.append(Fault(pipeline.spec.target_column, "a target that is marked sensitive", "one that is not"))
    if faults:
        raise DataRefused(
            f"the data of pipeline {pipeline.name!r}", faults, "Extract more rows, or change prepare.split."
        )


@task(name="prepare", cache_policy=NO_CACHE)
def prepare_step(run: RunReference, validated: ValidatedData) -> TrainingData:
    """Prepare validated rows, or reuse what the same rows and feature functions gave before."""
    context = open_context(run)
    spec, contract = context.pipeline.spec, context.pipeline.contract
    for new in materialize_new(context.registry, context.pipeline, context.settings):
        get_run_logger().info("prepare: materialised feature view %s: %s events", new.name, f"{new.n_rows:,}")
    views = resolve_views(context.registry, context.pipeline)
    champion = find_champion(context.registry, run, context.pipeline.name).load()
    seen_until = find_seen_until(champion, validated)
    data = execute_step(
        context,
        "prepare",
        lambda: prepare_data(
            validated,
            context.pipeline,
            context.registry.artifacts,
            code=context.code,
            views=views,
            trusted=context.settings.trusted_types,
            seen_until=seen_until,
        ),
        output=TrainingData,
        parameters={
            "prepare": spec.prepare.model_dump(mode="json"),
            "contract": None if contract is None else contract.model_dump(mode="json"),
            "task": spec.task,
            "target": spec.target_column,
            "time": spec.time,
            "label_delay": describe_duration(spec.extract.label_delay),
            "code": context.code.digest if spec.prepare.features or spec.prepare.fitted else None,
            **({} if seen_until is None else {"seen_until": seen_until.isoformat()}),
            **({"key": spec.serve.key} if spec.serve.key else {}),
        },
        inputs={"rows": validated.good.digest, **{f"view {one.view.name}": one.values_digest for one in views}},
        log=get_run_logger(),
    )
    for why, count in data.rows_left_out.items():
        get_run_logger().info("prepare: left out %s rows %s", f"{count:,}", why)
    return data
