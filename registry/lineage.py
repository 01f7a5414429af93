"""Lineage: which definition, code, data and steps a model version came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlmodel import Session, select

from base.errors import EverfitError
from registry.runs import list_steps
from registry.tables import ModelVersion, PipelineVersion, Run, SnapshotRow


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
    snapshots: tuple[SnapshotRow, ...] = ()
    views: tuple[dict[str, Any], ...] = ()

    @property
    def source(self) -> str:
        """Where the rows came from, as the definition of that day says."""
        extract = self.package["spec"]["extract"]
        found = extract.get("source") or extract.get("table") or extract.get("query") or "unknown"
        connection = extract.get("connection")
        return f"{found} of {connection}" if connection else str(found)


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
        snapshots=tuple(_follow_snapshots(session, version)),
        views=tuple(
            {
                "name": view["view"]["name"],
                "digest": view["digest"],
                "rows": sum(each["n_stored"] - each.get("n_dropped", 0) for each in view["rows"]["segments"]),
                "columns": list(view["columns"].values()),
            }
            for view in version.manifest.get("plan", {}).get("views", [])
        ),
    )


def describe_lineage(lineage: Lineage, version: ModelVersion) -> dict[str, Any]:
    """Write a lineage down as a JSON document; everything is named by its whole digest."""
    manifest = version.manifest
    return {
        "model": lineage.model,
        "version": lineage.number,
        "model_file": manifest["model_file"]["digest"],
        "judged_model_file": (manifest.get("sibling") or manifest)["model_file"]["digest"],
        "run": {
            "id": lineage.run_id,
            "trigger": lineage.trigger,
            "parameters": lineage.parameters,
            "started_at": lineage.started_at.isoformat(),
        },
        "steps": [
            {
                "step": step.step,
                "inputs": step.inputs,
                "code": step.code,
                "environment": step.environment,
                "output": step.output_digest,
                "reused": step.reused,
                "seconds": step.seconds,
            }
            for step in lineage.steps
        ],
        "snapshots": [
            {
                "digest": row.digest,
                "parent": row.parent,
                "rows": row.n_rows,
                "new_rows": row.n_new,
                "made_at": row.created_at.isoformat(),
                "deleted_at": None if row.deleted_at is None else row.deleted_at.isoformat(),
            }
            for row in lineage.snapshots
        ],
        "source": lineage.source,
        "views": list(lineage.views),
        "features": [*manifest["plan"]["numeric"], *manifest["plan"]["categorical"]],
        "pipeline_version": lineage.pipeline_version,
        "code": {name: artifact["digest"] for name, artifact in manifest["code"].items()},
        "environment": manifest["environment"],
        "libraries": manifest["libraries"],
    }


def _follow_snapshots(session: Session, version: ModelVersion) -> Iterator[SnapshotRow]:
    """Follow a version's snapshot to its parents, the oldest last."""
    digest, seen = version.manifest.get("snapshot"), set[str]()
    while digest is not None and digest not in seen:
        seen.add(digest)
        query = select(SnapshotRow).where(SnapshotRow.pipeline == version.model, SnapshotRow.digest == digest)
        row = session.exec(query).first()
        if row is None:
            return
        yield row
        digest = row.parent
