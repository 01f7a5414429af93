"""Continuous training: the eight steps from a source to a served model, in their order."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from prefect import flow

from base.judged import Judged
from base.pipeline import Pipeline
from base.references import Trigger
from base.settings import Settings
from base.times import as_utc, utc_now
from registry.launches import LaunchClosed
from registry.pipelines import find_pipeline
from registry.runs import RunUnderWay
from registry.store import Registry, open_registry
from tasks.admission import Asked, admit, leave, not_admitted, rule_on_waiting, this_flow_run
from tasks.approval import wait_for_approval
from tasks.data_validation import validate_data_step
from tasks.evaluation import evaluate_step
from tasks.execution import RunReference
from tasks.extraction import extract_step
from tasks.model_validation import validate_model_step
from tasks.preparation import prepare_step
from tasks.promotion import promote_step
from tasks.publication import publish_run
from tasks.refit import refit_step
from tasks.run_record import close_run, find_champion, keep_run, name_actor
from tasks.training import train_step
from tasks.unchanged_data import close_unchanged, describe_extraction, find_equal_run

if TYPE_CHECKING:
    from prefect import State


@flow(name="continuous-training", flow_run_name="train {pipeline}", validate_parameters=True)
def continuous_training(
    pipeline: str,
    as_of: datetime | None = None,
    trigger: Trigger = "person",
    reason: str = "",
    snapshot: str | None = None,
    launch: str | None = None,
) -> dict[str, Any] | State[dict[str, Any]]:
    """Train a challenger, judge it against the champion, and promote it if the evidence says so.

    Whoever asks is heard by the arbiter first: a run that another one makes needless ends as merged or suppressed.

    Args:
        pipeline: The name of a registered pipeline, or the path of its definition.
        as_of: Look at the data as it was known at this moment; empty: all there is.
        trigger: What asks for this training.
        reason: Why it is asked for, in words; the record of the run keeps it.
        snapshot: Digest of an earlier snapshot to train on again, instead of extracting; empty: extract.
        launch: The granted launch that this run carries; empty: it files a trigger of its own.
    """
    settings = Settings()
    registry = open_registry(settings)
    definition = find_pipeline(registry, pipeline)
    flow_run = this_flow_run()
    wanted = Asked(trigger, reason, None if as_of is None else as_utc(as_of), snapshot, launch)
    admission = admit(registry, definition, wanted, flow_run, home=settings.home, now=utc_now())
    if not admission.is_granted:
        return not_admitted(definition.name, admission)
    asked = admission.asked
    try:
        with keep_run(
            definition,
            settings,
            as_of=asked.as_of,
            trigger=asked.trigger,
            reason=asked.reason,
            prefect_run=flow_run.id,
            snapshot=asked.snapshot,
            launch=asked.launch,
            is_deployed=flow_run.is_deployed,
        ) as run:
            result = _train(run, definition, registry, asked)
    except (RunUnderWay, LaunchClosed) as met:
        return not_admitted(definition.name, leave(registry, admission, flow_run, met))
    finally:
        rule_on_waiting(registry, definition.name)
    return result | {"approval": wait_for_approval(registry, run.id)}


def _train(
    run: RunReference,
    definition: Pipeline,
    registry: Registry,
    asked: Asked,
) -> dict[str, Any]:
    trigger, chosen = asked.trigger, asked.snapshot
    snapshot = extract_step(run, asked.as_of, chosen)
    if chosen is None and (trained := find_equal_run(registry, run, definition, snapshot)):
        return close_unchanged(registry, run, snapshot, trained, name_actor(trigger))
    validated = validate_data_step(run, snapshot)
    data = prepare_step(run, validated)
    candidates = train_step(run, data, validated)
    champion = find_champion(registry, run, definition.name)
    evaluation = evaluate_step(run, validated, data, candidates, champion)
    verdict = validate_model_step(run, validated, data, candidates, evaluation, champion, trigger)
    judged = Judged(
        snapshot=snapshot,
        validated=validated,
        data=data,
        candidates=candidates,
        evaluation=evaluation,
        verdict=verdict,
        trigger=trigger,
    )
    refit = refit_step(run, judged, trigger)
    judged = judged.model_copy(update={"verdict": refit.verdict})
    promotion = promote_step(run, judged, refit, name_actor(trigger))
    close_run(registry, run, promotion, judged.verdict.reason)
    return publish_run(run, judged, promotion) | describe_extraction(registry, run)
