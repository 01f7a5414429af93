"""What the ledger is told of a run that begins, and of one whose data were refused."""

from __future__ import annotations

from typing import Any

from sqlmodel import Session

from base.fingerprint import digest_document, digest_environment
from base.settings import Settings
from registry.ledger import Rule, append_decision
from registry.runs import list_steps
from registry.tables import PipelineVersion, Run
from tasks.execution import digest_own_code

ONE_RUN = Rule("one run at a time")
"""A pipeline is trained by one process at a time; whatever asks meanwhile is written down and told so."""


def grant_training(session: Session, run: Run, settings: Settings, actor: str) -> None:
    """Write down that a training was asked for and begins, with all that decides what it will give."""
    append_decision(
        session,
        kind="training",
        pipeline=run.pipeline,
        run_id=run.id,
        outcome="granted",
        reason=str(run.parameters.get("reason") or f"asked for by {run.trigger}"),
        actor=actor,
        rule=ONE_RUN,
        inputs={
            "trigger": run.trigger,
            **run.parameters,
            "pipeline_version": run.pipeline_version,
            "environment": digest_environment(),
            "code": digest_own_code(),
            "fit_threads": settings.fit_threads,
            "under_way": None,
        },
    )


def refusal_rule(session: Session, run: Run) -> Rule:
    """Name the rule that refused a run's data: its contract and limits as they were, under the pipeline's version."""
    version = session.get_one(PipelineVersion, run.pipeline_version)
    limits = {name: version.package["spec"].get(name) for name in ("validate_data", "prepare")}
    parameters = {**limits, "contract": digest_document(version.package.get("contract"))}
    return Rule(f"data at step {run.step or 'extract'}", 1, parameters)


def refusal_inputs(session: Session, run: Run) -> dict[str, Any]:
    """Name what a run had made of the refused data, by digest."""
    steps = {step.step: step.output_digest for step in list_steps(session, run.id)}
    return {"pipeline_version": run.pipeline_version, "steps": steps}
