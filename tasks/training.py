"""Train: fit the declared estimators, choose by newer rows that none of them saw, fit the choice on its window."""

from __future__ import annotations

import logging

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlmodel import Session

from base.artifacts import ArtifactStore
from base.candidates import Candidates, PastRace, Recipe
from base.fingerprint import digest_document
from base.metrics import Task
from base.pipeline import PipelineSpec
from base.references import TrainingData, ValidatedData
from base.train_spec import TrainSpec
from registry.experiments import FailedFits, record_experiments
from registry.manifest import ModelManifest
from tasks.candidate_choice import Comparison, NothingFitted, Workshop
from tasks.execution import RunContext, RunReference, execute_step, open_context
from tasks.fit_jobs import FitJob, FitResult, Ground
from tasks.folds import Timeline, load_timeline
from tasks.parallel_fits import fit_stored, parallel_fits
from tasks.run_record import find_champion
from tasks.windows import EXPANDING

_log = logging.getLogger(__name__)


def train_candidates(
    data: TrainingData,
    spec: TrainSpec,
    artifacts: ArtifactStore,
    *,
    task: Task,
    threads: int,
    timeline: Timeline | None = None,
    champion: Recipe | None = None,
    past: PastRace | None = None,
    workshop: Workshop | None = None,
) -> Candidates:
    """Compare the candidates, choose a training window, and fit the best candidate on it.

    Without a search, each estimator is fitted on the train part and judged on the validation part; one alone has
    nothing to be chosen from, and is fitted once. With a search, candidates are drawn and compared over folds.
    One that raises, does not converge, predicts what is no number or takes too long is recorded with its error, and
    the others go on. The last fit is on the window's rows before ``validation.stop``.

    Parameters
    ----------
    threads : int
        OpenMP threads of one fit.
    timeline : Timeline, optional
        When the rows happened; without it there is no race of windows, and folds are by the rows' order.
    champion : Recipe, optional
        What the champion was made by: a candidate of each search, and its window one of each race.
    past : PastRace, optional
        What chose the champion's window; it holds while few rows are newer (:func:`tasks.windows.hold_race`).
    workshop : Workshop, optional
        Default: every fit is done here, one after the other, and none can be ended.

    Raises
    ------
    DefinitionError
        If an estimator cannot be imported, does not take its parameters, or is none for the task.
    RunFailed
        If every estimator failed.
    """
    from threadpoolctl import threadpool_limits

    training = Comparison(data, spec, artifacts, task, threads, timeline or Timeline(), champion, workshop, past)
    with threadpool_limits(threads):
        return training.run()


def champion_recipe(spec: PipelineSpec, champion: ModelManifest | None) -> Recipe | None:
    """Say what the champion was made by, where that changes what a training does."""
    if not spec.train.is_search and spec.train.window is not None:
        return None
    if champion is None or champion.task != spec.task:
        return None
    if not spec.train.is_search and champion.window in (None, EXPANDING):
        return None  # all history is raced anyway
    return Recipe(
        estimator=champion.estimator,
        parameters=champion.parameters,
        window=champion.window or EXPANDING,
        seed=champion.seed,
    )


def champion_race(spec: PipelineSpec, champion: ModelManifest | None) -> PastRace | None:
    """Say what chose the champion's window, where a window is to be chosen."""
    if spec.train.window is not None or champion is None or champion.task != spec.task or champion.race is None:
        return None
    recipe = Recipe(
        estimator=champion.estimator,
        parameters=champion.parameters,
        window=champion.race.window,
        seed=champion.seed,
    )
    return PastRace(recipe=recipe, choice=champion.race, features=champion.plan.features)


@task(name="train", cache_policy=NO_CACHE)
def train_step(run: RunReference, data: TrainingData, validated: ValidatedData) -> Candidates:
    """Compare and fit the declared estimators, or reuse the fits of the same rows, parameters and seed."""
    context = open_context(run)
    spec = context.pipeline.spec
    manifest = find_champion(context.registry, context.run, context.pipeline.name).load()
    champion, past = champion_recipe(spec, manifest), champion_race(spec, manifest)
    fitted: list[Candidates] = []

    def work() -> Candidates:
        artifacts = context.registry.artifacts
        fitted.append(
            train_candidates(
                data,
                spec.train,
                artifacts,
                task=spec.task,
                threads=context.settings.fit_threads,
                timeline=load_timeline(data, validated.good, spec, artifacts),
                champion=champion,
                past=past,
                workshop=make_workshop(context),
            )
        )
        return fitted[0]

    def record(session: Session) -> None:
        record_experiments(session, run_id=run.id, pipeline=spec.name, fitted=fitted[0])

    try:
        candidates = execute_step(
            context,
            "train",
            work,
            output=Candidates,
            parameters={
                "train": spec.train.model_dump(mode="json"),
                "task": spec.task,
                "time": spec.time,
                "split": spec.prepare.split.model_dump(mode="json"),
                "threads": context.settings.fit_threads,
            },
            inputs={
                "data": digest_document(data.model_dump(mode="json")),
                **({} if champion is None else {"champion": digest_document(champion.model_dump(mode="json"))}),
                **({} if past is None else {"race": digest_document(past.model_dump(mode="json"))}),
            },
            log=get_run_logger(),
            also=record,
        )
    except NothingFitted as failure:
        with context.registry.database.write() as session:
            failed = FailedFits(failure.candidates, spec.train.seed)
            record_experiments(session, run_id=run.id, pipeline=spec.name, fitted=failed)
        raise
    _tell(candidates)
    return candidates


def make_workshop(context: RunContext) -> Workshop:
    """Let the fits of a run be done by Prefect's task runner, and one that may be ended in a process of its own."""
    settings = context.settings

    def alone(job: FitJob, ground: Ground) -> FitResult:
        return fit_stored(job, ground, settings.home.absolute(), apart=True)

    return Workshop(parallel=lambda ground: parallel_fits(settings, ground), alone=alone)


def _tell(candidates: Candidates) -> None:
    log = get_run_logger()
    if candidates.folds:
        log.info("train: %s", candidates.folds)
    for candidate in candidates.candidates:
        if candidate.error is not None:
            log.warning("train: %s %s failed: %s", candidate.estimator, candidate.parameters, candidate.error)
    if candidates.window is not None:
        log.info("train: window: %s", candidates.window.reason)
