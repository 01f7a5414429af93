"""The full model: the judged recipe fitted on all rows, and whether it may serve in the judged model's place."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from base.artifacts import Artifact, ArtifactStore
from base.candidates import WindowChoice
from base.errors import DefinitionError
from base.gate.checks import measure_churn
from base.gate.paired_comparison import compare_pairs
from base.judged import Judged, Trial
from base.metrics import LOSS_NAMES, point_answers, row_losses
from base.model_files.stored import read_model, store_model
from base.pipeline import Pipeline, PipelineSpec
from base.references import Part, TrainingData, ValidatedData
from base.settings import Settings
from base.user_code import UserCode
from features.plan import frame_from_table, select_features
from tasks.feature_making import add_features, add_fitted
from tasks.fits import check_answers, describe_failure, fit_recipe, predict
from tasks.frames import load_frame, load_table
from tasks.joined_views import join_rows, read_joined
from tasks.newest_rows import NewestRows
from tasks.preparation import encode_target, load_columns, store_features
from tasks.prepared_rows import TARGET, load_moments, load_part, load_prepared, make_plan
from tasks.splits import Split
from tasks.windows import describe_window

# Rows that both models have learnt from, on which their answers are compared.
_ROWS_COMPARED = 5_000
# Of the target's standard deviation: how far the answers may move from the judged model's, as earth mover's distance,
# without further evidence.
_LARGEST_SHIFT = 0.25

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class FullModel:
    """The recipe fitted on all rows, or why it may not serve; ``window`` is another than the judged model's."""

    data: TrainingData
    model: Artifact | None
    churn: float | None = None
    problem: str | None = None
    note: str | None = None
    window: WindowChoice | None = None


def prepare_all(
    data: TrainingData,
    validated: ValidatedData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    code: UserCode,
    trusted: Sequence[str] = (),
) -> TrainingData:
    """Prepare the same rows for a model that learns from all of them: fitted features and classes included.

    The parts keep their places, so that a row has the same position as before; where neither fitted features nor
    classes depend on which rows are learnt from, the prepared rows are the same file.
    """
    spec = pipeline.spec
    everything = Part(start=0, stop=data.test.stop)
    wanted = {spec.target_column} | ({spec.time} if spec.time is not None else set())
    known = load_part(data, validated.good, everything, artifacts, columns=wanted)
    answers = known[spec.target_column].to_pandas()
    target, classes = encode_target(answers, slice(0, everything.stop), spec.task)
    update = {"classes": classes} | _span(known, spec.time)
    if not spec.prepare.fitted and classes == data.classes:
        return data.model_copy(update=update)
    views = read_joined(data)
    table = join_rows(load_columns(validated.good, pipeline, views, artifacts), views, spec.time, artifacts)
    if data.positions is not None:
        table = table.take(load_table(artifacts, data.positions)["position"].combine_chunks())
    frame = add_features(frame_from_table(table, data.inputs), spec.prepare.features, code)
    nothing = Part(start=everything.stop, stop=everything.stop)
    split = Split(everything, nothing, nothing)
    frame, _, states = add_fitted(frame, answers, split, spec.prepare.fitted, artifacts, code=code, trusted=trusted)
    again = data.model_copy(update=update | {"states": states, "trial": None})
    stored = store_features(artifacts, select_features(frame, make_plan(again, pipeline)), target)
    return again.model_copy(update={"artifact": stored})


def fit_on_all(
    judged: Judged, pipeline: Pipeline, artifacts: ArtifactStore, *, code: UserCode, settings: Settings
) -> FullModel:
    """Fit the recipe on all rows, and compare the model with the judged one.

    It may serve where its answers are numbers, lie where the judged model's do on rows that both have learnt from,
    and lose no more on the newest rows, which it has learnt from, than the judged model, which has not.

    Where the newest rows say that the world has changed, the race of training windows is run again with them, and
    answers may lie elsewhere: the recipe is fitted once more, with the older half of the newest rows, and has to lose
    less than the judged model on the newer half, which neither knows. Where the gate has made that trial, it counts.
    """
    spec, data = pipeline.spec, judged.data
    recipe, window, note = judged.candidates.recipe, None, None
    full = data
    try:
        full = prepare_all(data, judged.validated, pipeline, artifacts, code=code, trusted=settings.trusted_types)
        everything = Part(start=0, stop=full.test.stop)
        good = judged.validated.good
        moments = None if spec.time is None else load_moments(full, good, everything, artifacts, time=spec.time)
        frame = load_prepared(full, artifacts, everything)
        # Both models answer what they are compared by: rows that both have learnt from, and the newest.
        start = min(max(0, data.validation.stop - _ROWS_COMPARED), data.test.stop - judged.evaluation.n_rows)
        before = _ask_judged(judged, full, frame, artifacts, start, trusted=settings.trusted_types)
        target = frame[TARGET].to_numpy()[start:]
        losses = load_frame(artifacts, judged.evaluation.losses)["challenger"].to_numpy()
        newest = NewestRows(
            candidates=judged.candidates,
            baseline=judged.evaluation.baseline[LOSS_NAMES[spec.task]],
            spec=spec,
            data=full,
            frame=frame,
            moments=moments,
            own=losses,
            rival=losses,
            threads=settings.fit_threads,
            same_classes=full.classes == data.classes,
        )
        tried = judged.verdict.trial
        trial = tried if tried is not None and tried.occasion == "a changed world" else None
        if trial is None and spec.train.window is None and newest.can_be_tried and newest.has_changed():
            trial = _choose_again(newest)
        if trial is not None and trial.is_better:
            window, note = trial.window, _explain_window(trial)
            recipe = recipe.model_copy(update={"window": window.window})
        model = fit_recipe(recipe, full, frame, moments=moments, threads=settings.fit_threads)
        answers = predict(
            model,
            frame.iloc[start:][list(full.features)],
            n_classes=None if full.classes is None else len(full.classes),
        )
        check_answers(answers, n_rows=len(target), n_classes=None if full.classes is None else len(full.classes))
        churn, shift = measure_moves(judged, full, spec, answers, before, target, start)
        problem = None if shift is None else _find_loss(judged, spec, answers, before, target, start)
        if shift is not None and shift > _LARGEST_SHIFT and window is None and problem is None:
            note, problem = _explain_shift(shift, newest)
    except DefinitionError:
        raise
    except Exception as failure:
        return FullModel(full, None, problem=describe_failure(failure))
    return FullModel(full, store_model(model, artifacts), churn, problem, note, window)


def _ask_judged(
    judged: Judged,
    full: TrainingData,
    frame: pd.DataFrame,
    artifacts: ArtifactStore,
    start: int,
    *,
    trusted: Sequence[str],
) -> Floats:
    """Ask the judged model for answers to the rows from *start* on, prepared as it learnt them."""
    data = judged.data
    model = read_model(judged.candidates.model, artifacts, trusted=trusted)
    rows = frame.iloc[start:]
    if full.artifact != data.artifact:
        rows = load_prepared(data, artifacts, Part(start=start, stop=data.test.stop))
    return predict(model, rows[list(data.features)], n_classes=None if data.classes is None else len(data.classes))


def _choose_again(newest: NewestRows) -> Trial | None:
    """Try another window than the judged model's, where the newest rows prefer one."""
    choice = newest.choose_window()
    return None if choice.window == newest.candidates.recipe.window else newest.try_window(choice)


def _explain_window(trial: Trial) -> str:
    return (
        "the newest rows say that the world has changed, so it learns from "
        f"{describe_window(trial.window.window)}: {trial}"
    )


def _explain_shift(shift: float, newest: NewestRows) -> tuple[str | None, str | None]:
    """Say why answers that lie elsewhere may serve, or why they may not."""
    told = (
        f"its answers moved by {shift:.2f} standard deviations of the target from the judged model's, on rows that "
        f"both have learnt from (at most {_LARGEST_SHIFT} goes without further evidence)"
    )
    kept = WindowChoice(window=newest.candidates.recipe.window, reason="the judged model's")
    trial = newest.try_window(kept) if newest.can_be_tried else None
    if trial is None:
        return None, f"{told}, and no part of the newest rows can be tried apart"
    return (
        (f"{told}; {trial}, so it is the world that has moved", None) if trial.is_better else (None, f"{told}; {trial}")
    )


def measure_moves(
    judged: Judged,
    full: TrainingData,
    spec: PipelineSpec,
    answers: Floats,
    before: Floats,
    target: npt.NDArray[np.generic],
    start: int = 0,
) -> tuple[float, float | None]:
    """Return the churn between the two models on rows that both learnt from, and how far their answers lie apart there.

    The latter is the earth mover's distance in standard deviations of the target; None where classes differ, or the
    target is the same in all of these rows.

    Parameters
    ----------
    answers, before : array of shape (n_rows,) or (n_rows, n_classes)
        What the full and the judged model answer to the prepared rows from position *start* on.
    target : array of shape (n_rows,)
    """
    from scipy.stats import wasserstein_distance

    data = judged.data
    learnt = data.validation.stop - start
    compared = slice(max(0, learnt - _ROWS_COMPARED), learnt)
    is_regression = full.classes is None
    points = point_answers(spec.task, answers[compared], threshold=spec.serve.threshold)
    others = point_answers(spec.task, before[compared], threshold=spec.serve.threshold)
    if full.classes is not None and data.classes is not None and full.classes != data.classes:
        # The judged model's answers in the full model's codes.
        others = np.array([full.classes.index(data.classes[int(code)]) for code in others], dtype=np.float64)
    churn = measure_churn(points, others, is_regression=is_regression)
    known = target[compared]
    spread = float(np.std(known.astype(np.float64) if is_regression else known == known.max()))
    if full.classes != data.classes or spread <= 0:
        return churn, None
    new, old = (each[compared] if is_regression else each[compared][:, -1] for each in (answers, before))
    return churn, float(wasserstein_distance(new, old)) / spread


def _find_loss(
    judged: Judged,
    spec: PipelineSpec,
    answers: Floats,
    before: Floats,
    target: npt.NDArray[np.generic],
    start: int,
) -> str | None:
    """Say what the full model loses more on the newest rows than the judged one; None where that may be luck."""
    stop = judged.data.test.stop - start
    newest = slice(stop - judged.evaluation.n_rows, stop)
    gap = row_losses(spec.task, target[newest], answers[newest]) - row_losses(spec.task, target[newest], before[newest])
    found = compare_pairs(gap, confidence=spec.validate_model.confidence)
    if not (math.isfinite(found.low) and found.low > 0):
        return None
    return (
        f"it loses more on the newest {len(gap):,} rows, which it has learnt from, than the judged one, which "
        f"has not (difference {found.difference:+.4g}, interval {found.low:+.4g} to {found.high:+.4g})"
    )


def _span(table: pa.Table, time: str | None) -> dict[str, datetime | None]:
    if time is None:
        return {"first": None, "learnt_until": None}
    return {"first": pc.min(table[time]).as_py(), "learnt_until": pc.max(table[time]).as_py()}
