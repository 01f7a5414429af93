"""Nothing new at the source: a run that finds what was trained on already ends there, as a result."""

from __future__ import annotations

from typing import Any

from sqlmodel import col, select

from base.documents import as_document
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.references import Snapshot
from registry.approvals import WAITING
from registry.ledger import Rule, append_decision
from registry.runs import LeaseLost, finish_run
from registry.store import Registry
from registry.tables import Run, SnapshotRow, StepExecution
from tasks.execution import RunReference

UNCHANGED = "unchanged"
"""The status of a run that found nothing new."""

# A run records at most two snapshots, and no other run of its pipeline goes on beside it.
_NEWEST = 5
_SHOWN = 12


def find_equal_run(registry: Registry, run: RunReference, pipeline: Pipeline, snapshot: Snapshot) -> Run | None:
    """Find a finished run of the same definition on the same rows, where the definition asks for increments.

    Without ``extract.incremental`` a training is wanted whenever it is asked for.
    """
    if pipeline.spec.extract.incremental is None:
        return None
    with registry.database.read() as session:
        this = session.get_one(Run, run.id)
        query = (
            select(Run)
            .join(StepExecution, col(StepExecution.run_id) == col(Run.id))
            .where(
                Run.pipeline_version == run.pipeline_version,
                col(Run.status).in_(["promoted", "kept", WAITING]),
                StepExecution.step == "extract",
                StepExecution.output_digest == digest_document(as_document(snapshot.model_dump(mode="json"))),
            )
            .order_by(col(Run.started_at).desc())
        )
        found = next((other for other in session.exec(query) if _asked_alike(other, this)), None)
        if found is not None:
            session.expunge(found)
        return found


def close_unchanged(
    registry: Registry, run: RunReference, snapshot: Snapshot, trained: Run, actor: str
) -> dict[str, Any]:
    """Close a run that found nothing new, write it into the ledger, and sum it up."""
    since = "" if snapshot.watermark is None else f" since {snapshot.watermark:%Y-%m-%d %H:%M} UTC"
    reason = f"nothing new{since}: run {trained.id} has trained on these {snapshot.n_rows:,} rows already"
    with registry.database.write() as session:
        row = session.get_one(Run, run.id)
        if row.owner != run.owner:
            raise LeaseLost(run.id)
        finish_run(session, row, status=UNCHANGED, reason=reason)
        append_decision(
            session,
            kind="data",
            pipeline=row.pipeline,
            run_id=run.id,
            outcome="nothing new",
            reason=reason,
            actor=actor,
            evidence={"snapshot": snapshot.digest, "trained_by": trained.id},
            rule=Rule("nothing new"),
            inputs={"snapshot": snapshot.digest, "pipeline_version": run.pipeline_version, "trained_by": trained.id},
        )
        model = row.pipeline
    extracted = describe_extraction(registry, run)
    return {"run": run.id, "model": model, "outcome": "nothing new", "reason": reason, **extracted}


def describe_extraction(registry: Registry, run: RunReference) -> dict[str, Any]:
    """Say how many rows this run read at its source and what they were, or why it needed to read none.

    Returns
    -------
    dict
        ``extracted``, a count for each kind of row that was read, or ``extraction_reused``, the reason as text.
    """
    with registry.database.read() as session:
        this = session.get_one(Run, run.id)
        query = select(SnapshotRow).where(SnapshotRow.pipeline == this.pipeline).order_by(col(SnapshotRow.id).desc())
        newest = session.exec(query.limit(_NEWEST)).all()
        row = next((row for row in newest if row.state.get("run") == run.id), None)
        if row is not None:
            counts = row.state["counts"]
            used = f"the {row.n_rows:,} rows of snapshot {row.digest[:_SHOWN]} are used again"
            return {"extracted": counts} if counts["read"] else {"extraction_reused": f"nothing new; {used}"}
        taken = this.parameters.get("snapshot")
        if taken is not None:
            return {"extraction_reused": f"not read, since snapshot {str(taken)[:_SHOWN]} was asked for"}
        step = select(StepExecution).where(StepExecution.run_id == run.id, StepExecution.step == "extract")
        done = session.exec(step.order_by(col(StepExecution.id).desc())).first()
        if done is None or done.reused_from is None:
            return {}
        by = session.get_one(StepExecution, done.reused_from).run_id
        return {"extraction_reused": f"as run {by} found it; what that has extracted is used again"}


def _asked_alike(one: Run, other: Run) -> bool:
    return all(one.parameters.get(name) == other.parameters.get(name) for name in ("as_of", "snapshot"))
