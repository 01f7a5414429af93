"""Evaluate: challenger, champion and a trivial baseline on the same newest rows, seen by none of them."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.errors import EverfitError, RunFailed
from base.fingerprint import digest_document
from base.judged import Candidates, Evaluation, SliceMetrics
from base.metrics import measure, row_losses
from base.model_files import load_model
from base.pipeline import Pipeline, PipelineSpec
from base.references import Part, TrainingData, ValidatedData
from features.plan import frame_from_table
from monitoring.performance import encode_labels
from registry.manifest import ChampionReference, ModelManifest
from serving.scorer import load_scorer
from tasks.execution import RunReference, execute_step, open_context
from tasks.frames import store_frame
from tasks.joined_views import join_rows, read_joined, views_of_today
from tasks.prepared_rows import TARGET, load_part, load_prepared
from tasks.report import render_report
from tasks.training import check_answers, predict

_log = logging.getLogger(__name__)
_MOST_SLICES = 20
_FEWEST_SLICE_ROWS = 30

Answers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Champion:
    """The version that serves now."""

    number: int
    manifest: ModelManifest


def evaluate_model(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    champion: Champion | None,
    trusted: tuple[str, ...] = (),
) -> Evaluation:
    """Score the test rows with the challenger, the champion and the baseline, row by row.

    Rows that the champion learnt from are left out, as long as newer ones remain; else they are counted, and the
    gate cannot tell. The baseline is what one would say without a model: the classes' shares, or the median, of
    the rows that the challenger learnt from. A champion of another task or target answers another question, and is
    not compared.

    Raises
    ------
    RunFailed
        If challenger or champion cannot answer the rows.
    """
    spec = pipeline.spec
    n_classes = None if data.classes is None else len(data.classes)
    frame = load_prepared(data, artifacts)
    if champion is not None and not _answers_the_same_question(champion, pipeline):
        champion = None
    raw = load_part(data, validated.good, data.test, artifacts, columns=_raw_columns(spec, champion, data))
    rows, n_seen = _unseen(data.test, raw, spec.time, champion)
    test = frame.iloc[rows.start : rows.stop].reset_index(drop=True)
    target = test[TARGET].to_numpy()
    model = load_model(artifacts.read_bytes(candidates.model), trusted=trusted)
    answers = predict(model, test[list(data.features)], n_classes=n_classes)
    _check("the challenger", answers, n_rows=len(test), n_classes=n_classes)
    baseline = _baseline(frame[TARGET].to_numpy()[: data.validation.stop], len(test), n_classes)
    raw = raw.slice(rows.start - data.test.start)
    threshold = spec.serve.threshold
    losses = {"challenger": row_losses(spec.task, target, answers), "baseline": row_losses(spec.task, target, baseline)}
    champion_metrics = None
    if champion is not None:
        own_target, own_answers = _ask_champion(champion, raw, data, artifacts, trusted)
        losses["champion"] = row_losses(spec.task, own_target, own_answers)
        champion_metrics = measure(spec.task, own_target, own_answers, threshold=champion.manifest.threshold)
    slices = tuple(
        SliceMetrics(column=column, value=value, n_rows=int(rows.sum()), metrics=_slice_metrics(losses, rows))
        for column in spec.evaluate.slices
        for value, rows in _slices(column, raw, test).items()
    )
    moments = raw[spec.time].to_pandas() if spec.time else pd.Series(range(len(test)))
    evaluation = Evaluation(
        n_rows=len(test),
        metrics=measure(spec.task, target, answers, threshold=threshold),
        baseline=measure(spec.task, target, baseline, threshold=threshold),
        champion=champion_metrics,
        champion_version=None if champion is None else champion.number,
        n_seen_by_champion=n_seen,
        slices=slices,
        losses=store_frame(artifacts, pd.DataFrame(losses)),
        report=candidates.model,
    )
    page = render_report(pipeline, evaluation, data, moments, losses)
    return evaluation.model_copy(update={"report": artifacts.put_bytes(page.encode(), suffix=".html")})


def _raw_columns(spec: PipelineSpec, champion: Champion | None, data: TrainingData) -> set[str]:
    """List what the test rows are cut and asked by; columns that may be no feature are among the slices."""
    columns = {*spec.evaluate.slices, *([] if spec.time is None else [spec.time])}
    if champion is not None:
        views = (*champion.manifest.plan.views, *read_joined(data))
        columns |= {*champion.manifest.plan.inputs, champion.manifest.target}
        columns |= {key for view in views for key in view.keys.values()}
    return columns


def _unseen(test: Part, raw: pa.Table, time: str | None, champion: Champion | None) -> tuple[Part, int]:
    """Return the test rows that the champion did not learn from; where there is none, all of them and their number."""
    learnt_until = None if champion is None else champion.manifest.learnt_until
    if time is None or learnt_until is None:
        return test, 0
    moments = raw[time]
    n_seen = pc.sum(pc.less_equal(moments, pa.scalar(learnt_until, type=moments.type))).as_py() or 0
    if n_seen == test.n_rows:
        return test, n_seen
    return Part(start=test.start + n_seen, stop=test.stop), 0


def _answers_the_same_question(champion: Champion, pipeline: Pipeline) -> bool:
    spec, manifest = pipeline.spec, champion.manifest
    if (manifest.task, manifest.target) == (spec.task, spec.target_column):
        return True
    _log.warning(
        "the champion, version %s, answers another question (%s of %r); the challenger is judged as a first model",
        champion.number,
        manifest.task,
        manifest.target,
    )
    return False


def _ask_champion(
    champion: Champion, raw: pa.Table, data: TrainingData, artifacts: ArtifactStore, trusted: tuple[str, ...]
) -> tuple[npt.NDArray[Any], Answers]:
    """Return the target in the champion's own classes, and its answers: a class that only it knows counts for it."""
    manifest = champion.manifest
    try:
        scorer = load_scorer(artifacts, manifest, trusted=trusted)
        views = views_of_today(manifest.plan.views, read_joined(data))
        raw = join_rows(raw, views, manifest.time, artifacts)
        answers = scorer.predict_frame(frame_from_table(raw, manifest.plan.inputs))
        n_classes = None if manifest.classes is None else len(manifest.classes)
        _check("it", answers, n_rows=raw.num_rows, n_classes=n_classes)
    except EverfitError as error:
        raise RunFailed(
            f"the champion, {manifest.model}@{champion.number}, cannot answer these rows, so nothing can be compared "
            f"with it: {error}\n  Mend that, or roll back to a version that can "
            f"(everfit rollback {manifest.model} --to NUMBER), and run again"
        ) from error
    return encode_labels(raw[manifest.target].to_pandas(), manifest.classes), answers


def _check(who: str, answers: Answers, *, n_rows: int, n_classes: int | None) -> None:
    try:
        check_answers(answers, n_rows=n_rows, n_classes=n_classes)
    except RunFailed as error:
        raise RunFailed(f"{who} cannot be judged on the test rows: {error}") from error


def _baseline(learnt: npt.NDArray[Any], n_rows: int, n_classes: int | None) -> Answers:
    if n_classes is None:
        return np.full(n_rows, float(np.median(learnt)))
    counts = np.bincount(learnt[learnt >= 0].astype(np.intp), minlength=n_classes)
    shares = counts / counts.sum()
    return np.tile(shares, (n_rows, 1))


def _slices(column: str, raw: pa.Table, features: pd.DataFrame) -> dict[str, npt.NDArray[np.bool_]]:
    if column in raw.column_names:
        values = raw[column].to_pandas()
    elif column in features.columns:
        values = features[column]
    else:
        _log.warning("slice column %r is neither in the data nor a feature; it is left out", column)
        return {}
    counts = values.value_counts()
    frequent = counts[counts >= _FEWEST_SLICE_ROWS].index[:_MOST_SLICES]
    return {str(value): (values == value).to_numpy(dtype=bool) for value in frequent}


def _slice_metrics(losses: dict[str, Answers], rows: npt.NDArray[np.bool_]) -> dict[str, float]:
    return {f"{name}_loss": float(values[rows].mean()) for name, values in losses.items()}


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate_step(
    run: RunReference, validated: ValidatedData, data: TrainingData, candidates: Candidates, champion: ChampionReference
) -> Evaluation:
    """Score challenger and champion on the newest rows, or reuse the same comparison."""
    context = open_context(run)
    spec, manifest = context.pipeline.spec, champion.load()

    def work() -> Evaluation:
        serving = None if manifest is None or champion.number is None else Champion(champion.number, manifest)
        return evaluate_model(
            candidates,
            data,
            validated,
            context.pipeline,
            context.registry.artifacts,
            champion=serving,
            trusted=context.settings.trusted_types,
        )

    return execute_step(
        context,
        "evaluate",
        work,
        output=Evaluation,
        parameters={
            "evaluate": spec.evaluate.model_dump(mode="json"),
            "serve": spec.serve.model_dump(mode="json"),
            "task": spec.task,
            "time": spec.time,
            "description": spec.description,
        },
        inputs={
            "rows": validated.good.digest,
            "data": digest_document(data.model_dump(mode="json")),
            "model": candidates.model.digest,
            "champion": digest_document(champion.manifest),
        },
        log=get_run_logger(),
    )
