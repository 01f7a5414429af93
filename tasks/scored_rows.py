"""The judged rows with every model's answers: the newest, unseen by challenger and champion, in time order."""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import ArtifactStore
from base.candidates import Candidates
from base.errors import EverfitError, RunFailed
from base.metrics import point_answers, row_losses
from base.model_files.stored import read_model
from base.pipeline import Pipeline, PipelineSpec
from base.references import Part, TrainingData, ValidatedData
from features.plan import frame_from_table
from monitoring.performance import encode_labels
from registry.manifest import ModelManifest
from serving.scoring.loaded import load_scorer, load_unproven
from tasks.baselines import measure_baselines
from tasks.feature_choice import sensitive_columns
from tasks.fits import check_answers, predict
from tasks.joined_views import (
    join_named,
    join_rows,
    keys_behind,
    personal_columns,
    read_joined,
    sensitive_view_columns,
    views_of_today,
)
from tasks.prepared_rows import TARGET, load_part, load_prepared
from tasks.splits import FEWEST_UNSEEN

_log = logging.getLogger(__name__)

_MICROSECOND = timedelta(microseconds=1)

Answers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Champion:
    """The version that serves now."""

    number: int
    manifest: ModelManifest


@dataclass(frozen=True)
class ScoredBy:
    """What one model answered.

    ``target`` holds the codes of its own classes, by which ``answers`` (probabilities or values) are judged;
    ``points`` are its answers in the challenger's codes, by which two models are compared.
    """

    target: npt.NDArray[Any]
    answers: Answers
    losses: Answers
    points: Answers
    threshold: float


@dataclass(frozen=True)
class ScoredRows:
    """The judged rows: as the estimator sees them, as they were extracted, and as each model answered them.

    ``raw`` holds those columns of the good rows, and of feature views, by which rows are cut, grouped and named;
    ``model`` is the fitted challenger; ``personal`` are the columns whose values, though hashed, appear nowhere.
    """

    features: pd.DataFrame
    raw: pa.Table
    model: Any
    challenger: ScoredBy
    baseline: ScoredBy
    champion: ScoredBy | None
    champion_version: int | None
    n_seen_by_champion: int
    champion_stand_in: bool = False
    baselines: dict[str, dict[str, float]] = field(default_factory=dict)
    personal: frozenset[str] = frozenset()

    @property
    def n_rows(self) -> int:
        """How many rows are judged."""
        return len(self.features)

    @property
    def models(self) -> dict[str, ScoredBy]:
        """By name, who was judged."""
        others = {} if self.champion is None else {"champion": self.champion}
        return {"challenger": self.challenger, "baseline": self.baseline} | others

    @property
    def losses(self) -> dict[str, Answers]:
        """By model, the loss of each row."""
        return {name: scored.losses for name, scored in self.models.items()}


def score_rows(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    champion: Champion | None,
    trusted: tuple[str, ...] = (),
) -> ScoredRows:
    """Let challenger, champion and baseline answer the test rows.

    Rows that the champion learnt from are left out, as long as newer ones remain. Where too few do, the champion's own
    sibling, which was trained without the newest rows of its day, answers in its place; rows that this one has learnt
    from too are counted. The baseline is what one would say without a model: the classes' shares, or the median, of
    the rows that the challenger learnt from. A champion of another task or target answers another question, and is
    not asked.

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
    raw = load_part(data, validated.good, data.test, artifacts, columns=_raw_columns(pipeline, champion, data))
    rows, n_seen = _unseen(data.test, raw, spec.time, champion)
    is_stand_in = False
    is_little = n_seen > 0 or rows.n_rows < min(FEWEST_UNSEEN, data.test.n_rows)
    if is_little and champion is not None and (sibling := champion.manifest.as_sibling()) is not None:
        champion, is_stand_in = Champion(champion.number, sibling), True
        rows, n_seen = _unseen(data.test, raw, spec.time, champion)
    test = frame.iloc[rows.start : rows.stop].reset_index(drop=True)
    target = test[TARGET].to_numpy()
    model = read_model(candidates.model, artifacts, trusted=trusted)
    features = test[list(data.features)]
    answers = predict(model, features, n_classes=n_classes)
    _check("the challenger", answers, n_rows=len(test), n_classes=n_classes)
    baseline = _baseline(frame[TARGET].to_numpy()[: data.validation.stop], len(test), n_classes)
    raw = raw.slice(rows.start - data.test.start)
    asked = None
    if champion is not None:
        own_target, own_answers = _ask_champion(champion, raw, data, artifacts, trusted)
        asked = ScoredBy(
            target=own_target,
            answers=own_answers,
            losses=row_losses(spec.task, own_target, own_answers),
            points=_champion_points(champion.manifest, own_answers, data.classes),
            threshold=champion.manifest.threshold,
        )
    return ScoredRows(
        features=features,
        raw=join_named(raw, data, _named_columns(pipeline, data), spec.time, artifacts),
        model=model,
        challenger=_score(spec, target, answers),
        baseline=_score(spec, target, baseline),
        champion=asked,
        champion_version=None if champion is None else champion.number,
        n_seen_by_champion=n_seen,
        champion_stand_in=is_stand_in,
        baselines=measure_baselines(
            spec.task,
            frame[TARGET].to_numpy()[: data.validation.stop],
            target,
            moments=None if spec.time is None else raw[spec.time].cast("int64").to_numpy(),
            delay=spec.extract.label_delay // _MICROSECOND,
        ),
        personal=personal_columns(pipeline, data),
    )


def _score(spec: PipelineSpec, target: npt.NDArray[Any], answers: Answers) -> ScoredBy:
    threshold = spec.serve.threshold
    points = point_answers(spec.task, answers, threshold=threshold)
    return ScoredBy(target, answers, row_losses(spec.task, target, answers), points, threshold)


def _raw_columns(pipeline: Pipeline, champion: Champion | None, data: TrainingData) -> set[str]:
    """List what the test rows are cut and asked by; columns that may be no feature are among the slices."""
    spec = pipeline.spec
    columns = {*_named_columns(pipeline, data), *sensitive_columns(pipeline)}
    columns |= keys_behind(data, columns)
    columns |= {spec.time} if spec.time is not None else set()
    if spec.evaluate.metrics:
        columns.add(spec.target_column)
    if champion is not None:
        views = (*champion.manifest.plan.views, *read_joined(data))
        columns |= {*champion.manifest.plan.inputs, champion.manifest.target}
        columns |= {key for view in views for key in view.keys.values()}
    return columns


def _named_columns(pipeline: Pipeline, data: TrainingData) -> set[str]:
    evaluate = pipeline.spec.evaluate
    return {*evaluate.slices, *evaluate.fairness, *sensitive_view_columns(read_joined(data))}


def _unseen(test: Part, raw: pa.Table, time: str | None, champion: Champion | None) -> tuple[Part, int]:
    """Return the test rows that the champion did not learn from; where there is none, all of them and their number."""
    learnt_until = None if champion is None else champion.manifest.learnt_until
    if champion is not None and learnt_until is None and champion.manifest.deployed == "full":
        return test, test.n_rows
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
        load = load_scorer if manifest.has_examples else load_unproven
        scorer = load(artifacts, manifest, trusted=trusted)
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


def _champion_points(manifest: ModelManifest, answers: Answers, classes: tuple[Any, ...] | None) -> Answers:
    """Return the champion's answers in the challenger's class codes; -1 for a class that only the champion knows."""
    points = point_answers(manifest.task, answers, threshold=manifest.threshold)
    if manifest.classes is None:
        return points
    codes = encode_labels(pd.Series(list(manifest.classes), dtype=object), classes)
    return codes[points.astype(np.intp)].astype(np.float64)


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
