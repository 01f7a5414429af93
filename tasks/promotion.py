"""Promote: package the judged model, prove that it can serve, register it, and move the alias or not."""

from __future__ import annotations

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlmodel import Session

from base.fingerprint import digest_document
from base.judged import Judged, Promotion, Refit
from base.pipeline import PipelineSpec
from base.references import Trigger
from base.signatures import SigningKeys, signing_keys
from base.times import utc_now
from registry.approvals import ask_approval, is_waiting
from registry.ledger import append_decision, list_decisions
from registry.manifest import ModelManifest
from registry.models import NewVersion, alias_history, find_alias, promote_version, register_version
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import PipelineVersion, Run
from tasks.execution import RunReference, execute_step, open_context
from tasks.gate_evidence import gate_inputs, gate_rule


def promote_model(
    manifest: ModelManifest,
    judged: Judged,
    registry: Registry,
    *,
    run_id: str,
    pipeline_version: str,
    actor: str,
    keys: SigningKeys | None = None,
) -> Promotion:
    """Register the model, write the gate's decision down and move the champion alias if it says so, all or nothing.

    A run decides once: the same run again, resumed after the decision, finds its version registered and
    changes nothing, even where another champion would let it decide differently by now.

    Parameters
    ----------
    keys : SigningKeys, optional
        By which the manifest is signed; without them it is not, and no service loads it that asks for a signature.

    Raises
    ------
    AliasMoved
        If the champion changed since the challenger was compared with it.
    """
    verdict = judged.verdict
    manifest = manifest.model_copy(update={"run": run_id})
    if keys is not None:
        manifest = sign_manifest(manifest, keys)
    stored = registry.artifacts.put_bytes(manifest.model_dump_json().encode(), suffix=".json")
    new = NewVersion(
        model=manifest.model,
        run_id=run_id,
        pipeline_version=pipeline_version,
        manifest=manifest.model_dump(mode="json"),
        metrics=judged.evaluation.metrics,
        verdict=verdict.model_dump(mode="json"),
    )
    with registry.database.read() as session:
        spec = PipelineSpec.model_validate(session.get_one(PipelineVersion, pipeline_version).package["spec"])
        trigger: Trigger = judged.trigger or session.get_one(Run, run_id).trigger  # type: ignore[assignment]
    # Before the transaction: a file takes longer to write than others should wait.
    inputs = gate_inputs(judged, spec, registry.artifacts, trigger)
    with registry.database.write() as session:
        is_decided = _is_decided(session, run_id)
        version = register_version(session, new)
        if not is_decided:
            append_decision(
                session,
                kind="gate",
                pipeline=manifest.model,
                run_id=run_id,
                outcome=verdict.outcome,
                reason=verdict.reason,
                actor=actor,
                evidence={"verdict": verdict.model_dump(mode="json"), "version": version.number},
                rule=gate_rule(spec),
                inputs=inputs | {"pipeline_version": pipeline_version, "environment": manifest.environment},
            )
        approval = spec.validate_model.approval
        if verdict.promote and not is_decided and approval is not None:
            ask_approval(
                session,
                approval,
                version,
                environment=registry.environment,
                revision=verdict.champion_revision,
                requester=actor,
                reason=verdict.reason,
                now=utc_now(),
            )
        elif verdict.promote and not is_decided:
            promote_version(
                session,
                registry.environment,
                version,
                expected_revision=verdict.champion_revision,
                actor=actor,
                reason=verdict.reason,
                run_id=run_id,
            )
        alias = find_alias(session, registry.environment, manifest.model)
        moves = alias_history(session, registry.environment, manifest.model)
        promoted = any(move.run_id == run_id for move in moves)
        waiting = is_waiting(session, run_id)
    return Promotion(
        model=manifest.model,
        version=version.number,
        promoted=promoted,
        environment=registry.environment,
        revision=0 if alias is None else alias.revision,
        manifest=stored,
        waiting=waiting,
    )


def _is_decided(session: Session, run_id: str) -> bool:
    return any(decision.kind == "gate" for decision in list_decisions(session, run_id=run_id))


@task(name="promote", cache_policy=NO_CACHE)
def promote_step(run: RunReference, judged: Judged, refit: Refit, actor: str) -> Promotion:
    """Register what was packaged and move the alias or not; the same run again changes nothing."""
    context = open_context(run)

    def work() -> Promotion:
        return promote_model(
            ModelManifest.model_validate_json(context.registry.artifacts.read_bytes(refit.manifest)),
            judged,
            context.registry,
            run_id=run.id,
            pipeline_version=run.pipeline_version,
            actor=actor,
            keys=signing_keys(context.settings),
        )

    return execute_step(
        context,
        "promote",
        work,
        output=Promotion,
        parameters={"environment": context.registry.environment},
        # Each run registers a version of its own: another run's promotion is never this one's.
        inputs={
            "run": run.id,
            "verdict": digest_document(judged.verdict.model_dump(mode="json")),
            "manifest": refit.manifest.digest,
        },
        log=get_run_logger(),
    )
