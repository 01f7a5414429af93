"""Validate the model: may the challenger serve, given what it and the champion did on the same rows?"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator

import numpy as np
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.fingerprint import digest_document
from base.gate.verdicts import decide_verdict
from base.judged import Candidates, Evaluation, Recipe, Verdict
from base.metrics import Task, row_losses
from base.pipeline import PipelineSpec
from base.references import Part, TrainingData, Trigger, ValidatedData
from registry.manifest import ChampionReference
from tasks.execution import RunReference, execute_step, open_context
from tasks.fits import check_answers, fit_recipe, predict
from tasks.frames import load_frame
from tasks.prepared_rows import TARGET, load_moments, load_prepared

_log = logging.getLogger(__name__)
_LARGEST_SEED = 2**32

Refits = Callable[[int], Iterator[float]]
"""Yields the mean losses of so many fits of the challenger's recipe, each with another seed."""


def validate_model(
    evaluation: Evaluation,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    *,
    trigger: Trigger,
    champion_revision: int,
    refits: Refits | None = None,
) -> Verdict:
    """Decide, as :func:`base.gate.verdicts.decide_verdict` does, on the rows that the evaluation stored.

    Where the rows alone say *better* or *worse*, the challenger's recipe is fitted again with other seeds, so that
    a lucky draw is not taken for merit; a recipe that gives the same model again has no luck, and one fit tells.

    Parameters
    ----------
    refits : callable, optional
        Without it, the two models are compared as they are.
    """
    losses = load_frame(artifacts, evaluation.losses)

    def decide(found: tuple[float, ...] = ()) -> Verdict:
        return decide_verdict(
            evaluation,
            losses,
            spec.validate_model,
            trigger=trigger,
            champion_revision=champion_revision,
            declared_slices=spec.evaluate.slices,
            refits=found,
        )

    verdict = decide()
    if refits is None or not spec.validate_model.refits or verdict.outcome not in ("better", "worse"):
        return verdict
    own = float(losses["challenger"].mean())
    found = [own]
    for loss in refits(spec.validate_model.refits):
        if loss == own:
            return verdict
        found.append(loss)
    return decide(tuple(found))


def refit_with_other_seeds(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    evaluation: Evaluation,
    artifacts: ArtifactStore,
    *,
    task: Task,
    time: str | None,
    threads: int = 1,
) -> Refits:
    """Make what fits the challenger's recipe with other seeds, on the rows that it learnt from.

    Each fit is scored on the judged rows, the newest ``evaluation.n_rows``. One that fails is left out: the
    challenger itself has not.
    """
    n_classes = None if data.classes is None else len(data.classes)

    def refit(n_fits: int) -> Iterator[float]:
        frame = load_prepared(data, artifacts)
        learnt = Part(start=0, stop=data.validation.stop)
        moments = None if time is None else load_moments(data, validated.good, learnt, artifacts, time=time)
        judged = frame.iloc[data.test.stop - evaluation.n_rows : data.test.stop]
        for seed in other_seeds(candidates.recipe, n_fits):
            recipe = candidates.recipe.model_copy(update={"seed": seed})
            try:
                model = fit_recipe(recipe, data, frame.iloc[: learnt.stop], moments=moments, threads=threads)
                answers = predict(model, judged[list(data.features)], n_classes=n_classes)
                check_answers(answers, n_rows=len(judged), n_classes=n_classes)
            except Exception:
                _log.warning(
                    "the recipe could not be fitted with seed %s, by which its luck is told", seed, exc_info=True
                )
                continue
            yield float(row_losses(task, judged[TARGET].to_numpy(), answers).mean())

    return refit


def other_seeds(recipe: Recipe, n_seeds: int) -> list[int]:
    """Draw seeds beside a recipe's own; the same ones each time.

    Examples
    --------
    >>> seeds = other_seeds(Recipe(estimator="x.Y", parameters={}, seed=7), 3)
    >>> len({7, *seeds})
    4
    """
    draw = np.random.default_rng(recipe.seed)
    found: list[int] = []
    while len(found) < n_seeds:
        seed = int(draw.integers(_LARGEST_SEED))
        if seed not in (recipe.seed, *found):
            found.append(seed)
    return found


@task(name="validate model", cache_policy=NO_CACHE)
def validate_model_step(
    run: RunReference,
    validated: ValidatedData,
    data: TrainingData,
    candidates: Candidates,
    evaluation: Evaluation,
    champion: ChampionReference,
    trigger: Trigger,
) -> Verdict:
    """Let the gate decide, or reuse its verdict on the same evaluation."""
    context = open_context(run)
    spec, artifacts, threads = context.pipeline.spec, context.registry.artifacts, context.settings.fit_threads

    def work() -> Verdict:
        refits = refit_with_other_seeds(
            candidates, data, validated, evaluation, artifacts, task=spec.task, time=spec.time, threads=threads
        )
        return validate_model(
            evaluation, spec, artifacts, trigger=trigger, champion_revision=champion.revision, refits=refits
        )

    return execute_step(
        context,
        "validate_model",
        work,
        output=Verdict,
        parameters={
            "validate_model": spec.validate_model.model_dump(mode="json"),
            "task": spec.task,
            "trigger": trigger,
            "revision": champion.revision,
        },
        inputs={"evaluation": digest_document(evaluation.model_dump(mode="json"))},
        log=get_run_logger(),
    )
