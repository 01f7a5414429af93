"""Validate the model: may the challenger serve, given what it and the champion did on the same rows?"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.candidates import Candidates, WindowChoice
from base.fingerprint import digest_document
from base.gate.verdicts import decide_verdict
from base.judged import Evaluation, Trial, Verdict
from base.metrics import LOSS_NAMES
from base.pipeline import PipelineSpec
from base.references import Part, TrainingData, Trigger, ValidatedData
from registry.manifest import ChampionReference
from tasks.execution import RunReference, execute_step, open_context
from tasks.fits import Moments
from tasks.frames import load_frame
from tasks.luck import refit_with_other_seeds, tell_luck
from tasks.newest_rows import NewestRows
from tasks.prepared_rows import load_moments, load_prepared

Refits = Callable[[int], Iterator[float]]
"""Yields the mean losses of so many fits of the challenger's recipe, each with another seed."""

MakeTrial = Callable[[pd.DataFrame], Trial | None]
"""Takes the judged rows' losses; None where there is no occasion, or nothing can be tried."""


def validate_model(
    evaluation: Evaluation,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    *,
    trigger: Trigger,
    champion_revision: int,
    refits: Refits | None = None,
    trial: MakeTrial | None = None,
) -> Verdict:
    """Decide, as :func:`base.gate.verdicts.decide_verdict` does, on the rows that the evaluation stored.

    Where the rows alone say *better* or *worse*, the challenger's recipe is fitted again with other seeds, so that
    a lucky draw is not taken for merit; a recipe that gives the same model again has no luck, and one fit tells.

    Where the rows do not speak for the challenger, since the world has changed or since it is the champion over again,
    the recipe is tried with some of the newest rows.

    Parameters
    ----------
    refits : callable, optional
        Without it, the two models are compared as they are.
    trial : callable, optional
        Without it, nothing is tried.
    """
    losses = load_frame(artifacts, evaluation.losses)

    def decide(found: tuple[float, ...] = (), tried: Trial | None = None) -> Verdict:
        return decide_verdict(
            evaluation,
            losses,
            spec.validate_model,
            trigger=trigger,
            champion_revision=champion_revision,
            declared_slices=spec.evaluate.slices,
            refits=found,
            trial=tried,
        )

    verdict = decide()
    if refits is not None and spec.validate_model.refits and verdict.outcome in ("better", "worse"):
        own = float(losses["challenger"].mean())
        if found := tell_luck(own, refits(spec.validate_model.refits)):
            verdict = decide(found)
    if trial is None or verdict.promote or verdict.outcome not in ("worse", "cannot tell"):
        return verdict
    # Beside a champion that has seen the rows, or its stand-in, nothing would be said of who serves.
    if evaluation.n_seen_by_champion or evaluation.champion_stand_in:
        return verdict
    tried = trial(losses)
    return verdict if tried is None else decide(verdict.refits, tried)


def make_refits(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    evaluation: Evaluation,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    *,
    threads: int = 1,
) -> Refits:
    """Make what fits the challenger's recipe with other seeds on the rows that it learnt from, and judges as it was."""

    def refit(n_fits: int) -> Iterator[float]:
        frame, moments = _load_judged(data, validated, spec, artifacts)
        learnt = data.validation.stop
        yield from refit_with_other_seeds(
            candidates.recipe,
            data,
            frame.iloc[:learnt],
            frame.iloc[data.test.stop - evaluation.n_rows : data.test.stop],
            n_fits=n_fits,
            task=spec.task,
            moments=None if moments is None else moments[:learnt],
            threads=threads,
        )

    return refit


def make_trial(
    candidates: Candidates,
    data: TrainingData,
    validated: ValidatedData,
    evaluation: Evaluation,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    *,
    threads: int = 1,
) -> MakeTrial:
    """Make what tries the recipe with the older half of the newest rows.

    It is tried where these rows say that the world has changed, and where the challenger is the champion over again, so
    that only newer rows can tell whether to learn from newer rows is worth anything.
    """

    def tries(losses: pd.DataFrame) -> Trial | None:
        if spec.validate_model.deploy == "sibling":
            return None  # what would serve has learnt from none of these rows
        frame, moments = _load_judged(data, validated, spec, artifacts)
        newest = NewestRows(
            candidates=candidates,
            baseline=evaluation.baseline[LOSS_NAMES[spec.task]],
            spec=spec,
            data=data,
            frame=frame,
            moments=moments,
            own=losses["challenger"].to_numpy(),
            rival=losses["champion"].to_numpy(),
            threads=threads,
        )
        if not newest.can_be_tried:
            return None
        if newest.has_changed():
            return newest.try_window(newest.choose_window())
        if not newest.is_same_model():
            return None
        kept = WindowChoice(window=candidates.recipe.window, reason="the champion's")
        trial = newest.try_window(kept)
        return None if trial is None else trial.model_copy(update={"occasion": "one model"})

    return tries


def _load_judged(
    data: TrainingData, validated: ValidatedData, spec: PipelineSpec, artifacts: ArtifactStore
) -> tuple[pd.DataFrame, Moments | None]:
    """Load all prepared rows up to the last that is judged, and when they happened."""
    everything = Part(start=0, stop=data.test.stop)
    moments = None if spec.time is None else load_moments(data, validated.good, everything, artifacts, time=spec.time)
    return load_prepared(data, artifacts, everything), moments


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
        known = candidates, data, validated, evaluation, spec, artifacts
        return validate_model(
            evaluation,
            spec,
            artifacts,
            trigger=trigger,
            champion_revision=champion.revision,
            refits=make_refits(*known, threads=threads),
            trial=make_trial(*known, threads=threads),
        )

    return execute_step(
        context,
        "validate_model",
        work,
        output=Verdict,
        parameters={
            "validate_model": spec.validate_model.model_dump(mode="json"),
            "task": spec.task,
            "window": None if spec.train.window is None else str(spec.train.window),
            "split": spec.prepare.split.model_dump(mode="json"),
            "trigger": trigger,
            "revision": champion.revision,
        },
        inputs={
            "evaluation": digest_document(evaluation.model_dump(mode="json")),
            "data": digest_document(data.model_dump(mode="json")),
            "model": digest_document(candidates.model_dump(mode="json")),
        },
        log=get_run_logger(),
    )
