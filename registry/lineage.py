"""Lineage: which definition, code, data and steps a model version came from."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session

from base.errors import EverfitError
from registry.runs import list_steps
from registry.tables import ModelVersion, PipelineVersion, Run


@dataclass(frozen=True)
class LineageStep:
    """One step behind a version: what it depended on and what it gave."""

    step: str
    inputs: dict[str, str]
    code: str
    environment: str
    output_digest: str
    output: dict[str, Any]
    reused: bool
    seconds: float


@dataclass(frozen=True)
class Lineage:
    """Everything that a model version came from."""

    model: str
    number: int
    run_id: str
    trigger: str
    parameters: dict[str, Any]
    started_at: datetime
    pipeline_version: str
    package: dict[str, Any]
    steps: tuple[LineageStep, ...]


def trace_lineage(session: Session, version: ModelVersion) -> Lineage:
    """Follow a version back through its run to the definition, the code and the data's digests."""
    run = session.get(Run, version.run_id)
    package = session.get(PipelineVersion, version.pipeline_version)
    if run is None or package is None:
        raise EverfitError(f"the run or the definition behind {version.model}@{version.number} is not in the registry")
    steps = tuple(
        LineageStep(
            step=step.step,
            inputs=step.components["inputs"],
            code=step.components["code"],
            environment=step.components["environment"],
            output_digest=step.output_digest,
            output=step.output,
            reused=step.reused_from is not None,
            seconds=step.seconds,
        )
        for step in list_steps(session, run.id)
    )
    return Lineage(
        model=version.model,
        number=version.number,
        run_id=run.id,
        trigger=run.trigger,
        parameters=run.parameters,
        started_at=run.started_at,
        pipeline_version=package.digest,
        package=package.package,
        steps=steps,
    )
