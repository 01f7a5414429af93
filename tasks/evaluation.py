"""Evaluate: challenger, champion and a trivial baseline on the same newest rows, seen by none of them."""

from __future__ import annotations

import json

import numpy as np
import numpy.typing as npt
import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.candidates import Candidates
from base.documents import as_document
from base.fingerprint import digest_document
from base.judged import Evaluation
from base.pipeline import Pipeline
from base.references import TrainingData, ValidatedData
from base.user_code import UserCode
from registry.manifest import ChampionReference
from tasks.curves import draw_curves
from tasks.execution import RunReference, execute_step, open_context
from tasks.explanations import explain_model
from tasks.fairness import measure_fairness
from tasks.frames import store_frame
from tasks.measured_metrics import measure_models, uses_code
from tasks.report import render_report
from tasks.scored_rows import Champion, ScoredRows, score_rows
from tasks.slices import MeasuredSlice, cut_slices

__all__ = ["Champion", "evaluate_model", "evaluate_step"]


def evaluate_model(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    *,
    champion: Champion | None,
    trusted: tuple[str, ...] = (),
    is_told: bool = True,
) -> Evaluation:
    """Score the test rows with the challenger, the champion and the baseline, and measure all that is declared.

    Which rows are judged and who answers them: :func:`tasks.scored_rows.score_rows`.

    Parameters
    ----------
    is_told : bool, default=True
        Whether people will read it: without importances, curves and the page, and without intervals and found slices
        that the gate does not ask for, it decides the same, in less time.

    Raises
    ------
    RunFailed
        If challenger or champion cannot answer the rows.
    """
    pipeline = pipeline if is_told else _without_asides(pipeline)
    spec = pipeline.spec
    rows = score_rows(candidates, data, validated, pipeline, artifacts, champion=champion, trusted=trusted)
    measured = measure_models(rows, spec, data.classes, UserCode(pipeline.code))
    missing = measured.missing
    slices = cut_slices(rows, pipeline, missing)
    fairness = measure_fairness(rows, pipeline, missing)
    evaluation = Evaluation(
        n_rows=rows.n_rows,
        metrics=measured.metrics,
        baseline=measured.baseline,
        champion=measured.champion,
        champion_version=rows.champion_version,
        n_seen_by_champion=rows.n_seen_by_champion,
        champion_stand_in=rows.champion_stand_in,
        baselines=rows.baselines,
        slices=tuple(part.figures for part in slices),
        losses=store_frame(artifacts, _judged_rows(rows, slices)),
        report=candidates.model,
        intervals=measured.intervals,
        differences=measured.differences,
        fairness=fairness,
        missing=missing,
        lower_is_better=measured.lower_is_better,
        confidence=spec.evaluate.confidence,
        n_blocks=measured.n_blocks,
    )
    return _tell(evaluation, rows, data, pipeline, artifacts, missing) if is_told else evaluation


def _without_asides(pipeline: Pipeline) -> Pipeline:
    """Leave out of what is measured the intervals and the found slices by which the gate decides nothing."""
    spec = pipeline.spec
    gate, evaluate = spec.validate_model, spec.evaluate
    needed = {"draws": evaluate.draws if gate.changes else 0, "find_slices": evaluate.find_slices and gate.found_slices}
    evaluate = evaluate.model_copy(update=needed)
    return pipeline.model_copy(update={"spec": spec.model_copy(update={"evaluate": evaluate})})


def _tell(
    evaluation: Evaluation,
    rows: ScoredRows,
    data: TrainingData,
    pipeline: Pipeline,
    artifacts: ArtifactStore,
    missing: dict[str, str],
) -> Evaluation:
    """Add what people want to see: what the answers rest on, curves, and the page."""
    spec = pipeline.spec
    explained = explain_model(rows, spec.task, spec.evaluate, data.classes, missing, personal=rows.personal)
    moments = rows.raw[spec.time].to_pandas() if spec.time else pd.Series(range(rows.n_rows))
    curves = draw_curves(rows, spec.task, moments) | {"partial_dependence": explained.curves}
    evaluation = evaluation.model_copy(
        update={
            "importance": explained.importance,
            "curves": artifacts.put_bytes(json.dumps(as_document(curves), allow_nan=False).encode(), suffix=".json"),
            "missing": missing,
        }
    )
    page = render_report(pipeline, evaluation, data, moments, rows.losses, curves)
    return evaluation.model_copy(update={"report": artifacts.put_bytes(page.encode(), suffix=".html")})


def _judged_rows(rows: ScoredRows, slices: list[MeasuredSlice]) -> pd.DataFrame:
    """Put together what :class:`base.judged.Evaluation` says of its ``losses``."""
    columns: dict[str, npt.NDArray[np.generic]] = dict(rows.losses)
    columns |= {"target": rows.challenger.target, "challenger_answer": rows.challenger.points}
    if rows.champion is not None:
        columns["champion_answer"] = rows.champion.points
    if rows.challenger.answers.ndim == 2 and rows.challenger.answers.shape[1] == 2:
        columns["challenger_score"] = rows.challenger.answers[:, 1]
    return pd.DataFrame(columns | {f"slice_{index}": part.rows for index, part in enumerate(slices)})


def _personal_columns(pipeline: Pipeline) -> frozenset[str]:
    rules = {} if pipeline.contract is None else pipeline.contract.columns
    return frozenset(name for name, rule in rules.items() if rule.personal is not None)


@task(name="evaluate", cache_policy=NO_CACHE)
def evaluate_step(
    run: RunReference, validated: ValidatedData, data: TrainingData, candidates: Candidates, champion: ChampionReference
) -> Evaluation:
    """Score challenger and champion on the newest rows, or reuse the same comparison."""
    context = open_context(run)
    pipeline, manifest = context.pipeline, champion.load()
    spec = pipeline.spec

    def work() -> Evaluation:
        serving = None if manifest is None or champion.number is None else Champion(champion.number, manifest)
        return evaluate_model(
            candidates,
            data,
            validated,
            pipeline,
            context.registry.artifacts,
            champion=serving,
            trusted=context.settings.trusted_types,
        )

    rules = {} if pipeline.contract is None else pipeline.contract.columns
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
            # By these columns rows are grouped, and of those nothing is told.
            "sensitive": [name for name, rule in rules.items() if rule.sensitive],
            "personal": sorted(_personal_columns(pipeline)),
            "code": context.code.digest if uses_code(spec.evaluate.metrics) else None,
        },
        inputs={
            "rows": validated.good.digest,
            "data": digest_document(data.model_dump(mode="json")),
            "model": candidates.model.digest,
            "champion": digest_document(champion.manifest),
        },
        log=get_run_logger(),
    )
