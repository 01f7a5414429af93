"""Promote: package the judged model, prove that it can serve, register it, and move the alias or not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE
from sqlmodel import Session

from base.artifacts import Artifact
from base.contract import ColumnRule
from base.fingerprint import digest_document, digest_environment, installed_libraries
from base.judged import Candidates, Evaluation, Promotion, Refit, Verdict
from base.model_files import load_model
from base.pipeline import Pipeline, PipelineSpec
from base.references import Reference, Snapshot, TrainingData, Trigger, ValidatedData
from base.request_contract import RequestContract, restrict_to_inputs
from base.rows.personal import name_key
from base.signatures import SigningKeys, signing_keys
from base.times import utc_now
from base.user_code import UserCode
from features.fitted import load_states
from features.plan import frame_from_table, rows_from_frame
from features.views import joined_types
from registry.approvals import ask_approval, is_waiting
from registry.ledger import append_decision, list_decisions
from registry.manifest import ModelManifest, SiblingModel
from registry.models import NewVersion, alias_history, find_alias, promote_version, register_version
from registry.signed_versions import sign_manifest
from registry.store import Registry
from registry.tables import PipelineVersion, Run
from serving.scorer import Examples, ModelDisagrees, Scorer, load_scorer, write_examples
from serving.stored_rows import ANSWER, PREDICTION
from tasks.execution import RunReference, execute_step, open_context
from tasks.frames import load_frame, store_frame
from tasks.gate_evidence import gate_inputs, gate_rule
from tasks.joined_views import join_rows, read_joined
from tasks.onnx_export import add_onnx
from tasks.prepared_rows import TARGET, load_part, load_prepared, make_plan

_N_EXAMPLES = 32
_MOST_REFERENCE_ROWS = 5_000
_LIBRARIES = ("scikit-learn", "skops", "numpy", "pandas")


class Judged(Reference):
    """All that the steps before have found out about one model."""

    snapshot: Snapshot
    validated: ValidatedData
    data: TrainingData
    candidates: Candidates
    evaluation: Evaluation
    verdict: Verdict
    trigger: Trigger | None = None


def package_model(
    judged: Judged,
    pipeline: Pipeline,
    registry: Registry,
    *,
    code: UserCode,
    trusted: tuple[str, ...],
    key: bytes | None = None,
    sibling: ModelManifest | None = None,
) -> ModelManifest:
    """Put together what serving and monitoring need, and prove it by answering real rows as a client sends them.

    Parameters
    ----------
    key : bytes, optional
        Under which the rows' personal values were hashed, where the contract has any.
    sibling : ModelManifest, optional
        The judged model's, where *judged* holds another one, fitted on all rows: metrics and the reference's
        predictions stay those of the judged model.

    Raises
    ------
    ModelDisagrees, ModelFileRefused
        If the packaged model does not answer as the trained one did.
    """
    artifacts, spec, data = registry.artifacts, pipeline.spec, judged.data
    raw = load_part(data, judged.validated.good, data.test, artifacts, columns=_raw_columns(data, spec.time))
    plan = make_plan(data, pipeline)
    candidate = judged.candidates.candidates[judged.candidates.chosen]
    manifest = ModelManifest(
        model=pipeline.name,
        task=spec.task,
        target=spec.target_column,
        time=spec.time,
        classes=data.classes,
        estimator=candidate.estimator,
        parameters=candidate.parameters,
        seed=judged.candidates.seed,
        window=judged.candidates.recipe.window,
        model_file=judged.candidates.model,
        plan=plan,
        contract=serving_contract(pipeline, data),
        code={name: artifacts.put_bytes(content, suffix=".py") for name, content in pipeline.code.items()},
        threshold=spec.serve.threshold,
        examples=judged.candidates.model,
        reference=judged.candidates.model,
        report=judged.evaluation.report,
        metrics=judged.evaluation.metrics,
        snapshot=judged.snapshot.digest,
        first=data.first,
        learnt_until=data.learnt_until,
        watermark=data.watermark,
        libraries=_libraries(),
        environment=digest_environment(),
        personal_key=None if key is None else name_key(key),
    )
    model = load_model(artifacts.read_bytes(manifest.model_file), trusted=trusted)
    scorer = Scorer(manifest, model, code, fitted=load_states(artifacts, plan.states, code, trusted=trusted))
    manifest = manifest.model_copy(
        update={
            "examples": _store_examples(registry, scorer, raw, data),
            "reference": _store_reference(registry, scorer, raw, judged, sibling),
        }
        | ({} if sibling is None else {"deployed": "full", "sibling": _describe_sibling(sibling)})
    )
    judged_rows = load_prepared(data, artifacts).iloc[data.test.start : data.test.stop]
    manifest = add_onnx(manifest, model, judged_rows, artifacts)
    try:
        load_scorer(artifacts, manifest, trusted=trusted)
    except ModelDisagrees as error:
        if not plan.functions:
            raise
        raise ModelDisagrees(
            f"{error}\n  Or a feature function looks at other rows than its own (a mean, a rank, the row before): "
            "a request has other neighbours than the training data; let each row stand for itself"
        ) from error
    return manifest


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


def serving_contract(pipeline: Pipeline, data: TrainingData) -> RequestContract:
    """Make the signature of requests: the inputs' rules; the time may come along, so that windows know it."""
    contract, spec = pipeline.contract, pipeline.spec
    joined = joined_types(read_joined(data))
    columns = {
        name: contract.columns[name] if contract and name in contract.columns else ColumnRule(type=kind)
        for name, kind in data.inputs.items()
        if name not in joined
    }
    if spec.time is not None:
        columns.setdefault(spec.time, ColumnRule(type="time", nullable=True))
    not_inputs = {name: f"it {reason}" for name, reason in data.left_out.items()}
    for name, rule in contract.columns.items() if contract else ():
        if rule.sensitive:
            not_inputs[name] = "the contract marks it sensitive"
        elif rule.personal == "drop":
            not_inputs[name] = "the contract drops it as personal"
    not_inputs |= dict.fromkeys(spec.prepare.exclude, "the definition excludes it")
    not_inputs |= dict.fromkeys(joined, "a feature view gives it")
    return restrict_to_inputs(contract, columns, not_inputs | {spec.target_column: "it is what is predicted"})


def _raw_columns(data: TrainingData, time: str | None) -> set[str]:
    keys = {key for view in read_joined(data) for key in view.keys.values()}
    return {*data.inputs, *keys} | ({time} if time is not None else set())


def _is_decided(session: Session, run_id: str) -> bool:
    return any(decision.kind == "gate" for decision in list_decisions(session, run_id=run_id))


def _store_examples(registry: Registry, scorer: Scorer, raw: Any, data: TrainingData) -> Artifact:
    """Keep real rows as a client sends them, with the answers of the features as they were trained on."""
    chosen = np.linspace(0, raw.num_rows - 1, min(_N_EXAMPLES, raw.num_rows)).astype(int)
    sample = join_rows(raw.take(chosen), read_joined(data), scorer.manifest.time, registry.artifacts)
    rows = rows_from_frame(frame_from_table(sample, data.inputs), data.inputs)
    prepared = load_prepared(data, registry.artifacts).iloc[data.test.start + chosen]
    answers = scorer.predict_features(prepared[list(data.features)])
    return write_examples(registry.artifacts, Examples(rows=rows, answers=answers.tolist()))


def _describe_sibling(sibling: ModelManifest) -> SiblingModel:
    return SiblingModel(**{name: getattr(sibling, name) for name in SiblingModel.model_fields})


def _store_reference(
    registry: Registry, scorer: Scorer, raw: Any, judged: Judged, sibling: ModelManifest | None
) -> Artifact:
    """Keep a sample of the judged rows with features, target and prediction, to measure drift against.

    A model is surer of rows that it has learnt from: their predictions are the judged model's, its own stand beside.
    """
    data = judged.data
    chosen = np.linspace(0, raw.num_rows - 1, min(_MOST_REFERENCE_ROWS, raw.num_rows)).astype(int)
    prepared = load_prepared(data, registry.artifacts).iloc[data.test.start + np.unique(chosen)]
    answers = scorer.predict_features(prepared[list(data.features)])
    frame = prepared.drop(columns=TARGET).reset_index(drop=True)
    frame["__target__"] = prepared[TARGET].to_numpy()
    own = answers if answers.ndim == 1 else answers[:, -1]
    if sibling is None:
        frame[PREDICTION] = own
    else:
        frame[PREDICTION] = load_frame(registry.artifacts, sibling.reference)[PREDICTION].to_numpy()
        frame[ANSWER] = own
    return store_frame(registry.artifacts, pd.DataFrame(frame))


def _libraries() -> dict[str, str]:
    versions = dict(name.rpartition("-")[::2] for name in installed_libraries())
    return {name: versions.get(name.replace("-", "_"), versions.get(name, "unknown")) for name in _LIBRARIES}


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
