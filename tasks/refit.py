"""Refit: after a yes, fit the judged recipe on all rows, package what is to serve, and prove it in a clean process."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Literal

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.artifacts import ArtifactStore
from base.errors import EverfitError
from base.fingerprint import digest_document
from base.gate.verdicts import decide_verdict
from base.judged import Judged, Refit, Servability, Verdict
from base.pipeline import Pipeline, PipelineSpec
from base.references import Trigger
from base.rows.personal import has_personal, personal_key
from base.settings import Settings
from base.user_code import UserCode
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.loading.first_load import VersionNotProven
from serving.loading.proof import Proof
from serving.loading.servability import ensure_proven, start_first_load, take_first_load
from tasks.execution import RunReference, execute_step, open_context
from tasks.frames import load_frame
from tasks.full_model import FullModel, fit_on_all
from tasks.onnx_export import compile_deployed
from tasks.packaging import package_model

_MEGABYTE = 1 << 20
_INSTEAD = "the judged model serves, since the same recipe fitted on all rows may not"


@dataclass(frozen=True)
class Chosen:
    """What is to be deployed, and why; and the judged model, which takes its place if it does not serve."""

    manifest: ModelManifest
    sibling: ModelManifest
    deployed: Literal["full", "sibling"]
    reason: str
    churn: float | None


def refit_model(
    judged: Judged, pipeline: Pipeline, registry: Registry, *, code: UserCode, settings: Settings, trigger: Trigger
) -> Refit:
    """Fit the recipe on all rows where the gate said yes, package what is to serve, and let the gate speak last.

    The package is loaded in a clean process with limits, which answers the stored rows and measures how long one
    takes; the verdict is decided again with that. A full model that may not serve leaves its place to the judged
    one, and the reason is kept.

    Raises
    ------
    ModelDisagrees, ModelFileRefused
        If the judged model does not answer as it did when it was judged.
    """
    # Importing takes that process most of its time, and meanwhile there is enough to do here; a fit is done, since
    # two processes that hold all they need at once would take twice the memory.
    chosen = choose_deployed(judged, pipeline, registry, code=code, settings=settings, after_fit=start_first_load)
    manifest, deployed, reason = chosen.manifest, chosen.deployed, chosen.reason
    compiled = compile_deployed(manifest, judged.data, registry.artifacts, trusted=settings.trusted_types)
    proof = _prove(registry, compiled, settings)
    if deployed == "full" and not proof.agrees:
        reason = f"{_INSTEAD}: {proof.error}"
        manifest, deployed = chosen.sibling, "sibling"
        compiled = compile_deployed(manifest, judged.data, registry.artifacts, trusted=settings.trusted_types)
        proof = _prove(registry, compiled, settings)
    servability = describe_proof(proof, manifest)
    return Refit(
        manifest=registry.artifacts.put_bytes(compiled.model_dump_json().encode(), suffix=".json"),
        deployed=deployed,
        reason=reason,
        verdict=decide_last(judged, pipeline.spec, registry.artifacts, servability, trigger, deployed=deployed),
        churn=chosen.churn,
    )


def choose_deployed(
    judged: Judged,
    pipeline: Pipeline,
    registry: Registry,
    *,
    code: UserCode,
    settings: Settings,
    after_fit: Callable[[], None] = lambda: None,
    is_proven: bool = False,
) -> Chosen:
    """Fit the recipe on all rows where the gate said yes, and package what is to be deployed, or the judged model.

    Parameters
    ----------
    after_fit : callable
        Called when the fit is done, before anything is packaged.
    is_proven : bool, default=False
        As :func:`tasks.packaging.package_model` takes it.
    """
    full = _fit_full(judged, pipeline, registry, code, settings)
    after_fit()
    key = personal_key(settings) if has_personal(pipeline.contract) else None
    package = partial(
        package_model,
        pipeline=pipeline,
        registry=registry,
        code=code,
        trusted=settings.trusted_types,
        key=key,
        is_proven=is_proven,
    )
    sibling = package(judged)
    manifest, deployed, reason = _choose(judged, full, sibling, pipeline.spec, package)
    return Chosen(manifest, sibling, deployed, reason, None if full is None else full.churn)


def describe_proof(proof: Proof, manifest: ModelManifest) -> Servability:
    """Say what the first load found in the gate's words; size is that of all files that serving reads."""
    states = [] if manifest.plan.states is None else [manifest.plan.states]
    files = [manifest.model_file, *manifest.code.values(), *states]
    measured = {
        "p95_ms": proof.one_row_p95_ms,
        "memory_mb": None if proof.peak_memory_bytes is None else proof.peak_memory_bytes / _MEGABYTE,
        "load_seconds": proof.load_seconds,
    }
    return Servability(
        error=None if proof.agrees else proof.error or "it gave no reason",
        n_rows=proof.n_rows,
        n_timed_rows=proof.n_timed_rows,
        n_timed_passes=proof.n_timed_passes,
        size_mb=sum(file.size_bytes for file in files) / _MEGABYTE,
        **{name: value for name, value in measured.items() if value is not None},
    )


def decide_last(
    judged: Judged,
    spec: PipelineSpec,
    artifacts: ArtifactStore,
    servability: Servability | None,
    trigger: Trigger,
    *,
    deployed: Literal["full", "sibling"],
) -> Verdict:
    """Decide as before, now knowing what is deployed, and how its package serves.

    A trial speaks for a model that knows the newest rows; where the judged one is deployed, which does not, it says
    nothing.
    """
    return decide_verdict(
        judged.evaluation,
        load_frame(artifacts, judged.evaluation.losses),
        spec.validate_model,
        trigger=trigger,
        champion_revision=judged.verdict.champion_revision,
        declared_slices=spec.evaluate.slices,
        refits=judged.verdict.refits,
        servability=servability,
        trial=judged.verdict.trial if deployed == "full" else None,
    )


def _fit_full(
    judged: Judged, pipeline: Pipeline, registry: Registry, code: UserCode, settings: Settings
) -> FullModel | None:
    """Fit the recipe on all rows, where that is to serve."""
    if not judged.verdict.promote or pipeline.spec.validate_model.deploy == "sibling":
        return None
    return fit_on_all(judged, pipeline, registry.artifacts, code=code, settings=settings)


def _choose(
    judged: Judged,
    full: FullModel | None,
    sibling: ModelManifest,
    spec: PipelineSpec,
    package: Callable[..., ModelManifest],
) -> tuple[ModelManifest, Literal["full", "sibling"], str]:
    """Return what is to be deployed, and why."""
    if not judged.verdict.promote:
        return sibling, "sibling", "the judged model is packaged as it is, since it does not serve"
    if full is None:
        return sibling, "sibling", "validate_model.deploy asks for the judged model"
    problem = full.problem
    if full.model is not None and problem is None:
        window = judged.candidates.window if full.window is None else full.window
        candidates = judged.candidates.model_copy(update={"model": full.model, "window": window})
        whole = judged.model_copy(update={"data": full.data, "candidates": candidates})
        try:
            manifest = package(whole, sibling=sibling)
        except EverfitError as error:
            problem = str(error)
        else:
            reason = f"the same recipe fitted on all {full.data.test.stop:,} rows{_tell(full.churn, spec)}"
            return manifest, "full", reason if full.note is None else f"{reason}; {full.note}"
    return sibling, "sibling", f"{_INSTEAD}: {problem}"


def _prove(registry: Registry, manifest: ModelManifest, settings: Settings) -> Proof:
    try:
        return ensure_proven(registry, manifest, settings, process=take_first_load())
    except VersionNotProven as refused:
        return refused.proof


def _tell(churn: float | None, spec: PipelineSpec) -> str:
    if churn is None:
        return ""
    what = "its answers move by" if spec.task == "regression" else "share of answers that change:"
    return f"; beside the judged model's, on rows that both have learnt from, {what} {churn:.2%}"


@task(name="refit", cache_policy=NO_CACHE)
def refit_step(run: RunReference, judged: Judged, trigger: Trigger) -> Refit:
    """Fit on all rows what the gate has accepted, and prove the package; or reuse both."""
    context = open_context(run)
    settings = context.settings

    def work() -> Refit:
        return refit_model(
            judged, context.pipeline, context.registry, code=context.code, settings=settings, trigger=trigger
        )

    refit = execute_step(
        context,
        "refit",
        work,
        output=Refit,
        parameters={
            "definition": run.pipeline_version,
            "threads": settings.fit_threads,
            "trigger": trigger,
            "load": [settings.load_seconds, settings.load_memory_bytes, sorted(settings.trusted_types)],
        },
        inputs={
            "rows": judged.validated.good.digest,
            "data": digest_document(judged.data.model_dump(mode="json")),
            "model": digest_document(judged.candidates.model_dump(mode="json")),
            "evaluation": digest_document(judged.evaluation.model_dump(mode="json")),
            "verdict": digest_document(judged.verdict.model_dump(mode="json")),
        },
        log=get_run_logger(),
    )
    get_run_logger().info("refit: %s is packaged: %s", refit.deployed, refit.reason)
    return refit
