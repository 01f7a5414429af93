"""What the registry holds for the retraining policy: what it said, what a champion learnt from, what trainings took."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pandas as pd
from sqlmodel import Session, col, select

from base.artifacts import ArtifactMissing
from base.references import TrainingData
from base.triggers_spec import TriggersSpec
from features.plan import restore_missing
from monitoring.policies.cost_aware import PolicyState
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.prices import estimate_price
from registry.launches import find_open
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import Run, StepExecution, WindowRow

TARGET = "__target__"
# A probe learns from a fifth of its rows; more than these change its answers little and its time much.
MOST_ROWS = 60_000
_N_TRAININGS = 5
# After so many windows without labels, what was added up before says nothing of today.
_MOST_WINDOWS_WITHOUT = 200


def find_policy(session: Session, model: str) -> tuple[WindowRow, dict[str, Any]] | None:
    """Find the newest window that the policy was asked about, and what it said; windows without labels it was not."""
    # While labels are waited for nobody was asked, however many windows that are.
    asked = select(WindowRow).where(WindowRow.model == model, col(WindowRow.labels_checked_at).is_not(None))
    for row in session.exec(asked.order_by(col(WindowRow.start).desc()).limit(_MOST_WINDOWS_WITHOUT)):
        said = row.findings.get("policy")
        if said:
            return row, said
    return None


def read_policy_state(session: Session, model: str) -> PolicyState:
    """Read what the policy remembers; a training that came to nothing is waited for no more."""
    found = find_policy(session, model)
    state = PolicyState() if found is None else PolicyState.model_validate(found[1]["state"])
    if state.waits is not None and find_open(session, model) is None:
        state = state.model_copy(update={"waits": None})
    return state


def read_training_rows(registry: Registry, manifest: ModelManifest) -> LabelledRows | None:
    """Read what a version has learnt from, as its run prepared it; None where that is not kept any more."""
    import pyarrow.parquet as pq

    with registry.database.read() as session:
        execution = session.exec(
            select(StepExecution)
            .where(StepExecution.run_id == manifest.run, StepExecution.step == "prepare")
            .order_by(col(StepExecution.id).desc())
        ).first()
    if execution is None:
        return None
    data = TrainingData.model_validate(execution.output)
    try:
        stored: pd.DataFrame = pq.read_table(registry.artifacts.local_path(data.artifact)).to_pandas()
    except ArtifactMissing:
        return None
    plan = manifest.plan
    if not {TARGET, *plan.features} <= set(stored.columns):
        return None
    if manifest.deployed == "sibling":
        stored = stored.iloc[: data.validation.stop]
    features = restore_missing(stored[list(plan.features)], plan.categorical)
    return LabelledRows(features, stored[TARGET].to_numpy()).newest(MOST_ROWS)


def find_price(registry: Registry, model: str, spec: TriggersSpec, window: timedelta) -> float:
    """Say what a training costs, in windows of full loss: as declared, or from what the last ones took to compute."""
    if spec.price != "auto":
        return float(spec.price)
    with registry.database.read() as session:
        runs = session.exec(
            select(Run.id).where(Run.pipeline == model).order_by(col(Run.started_at).desc()).limit(_N_TRAININGS)
        ).all()
        seconds = [
            sum(session.exec(select(StepExecution.seconds).where(StepExecution.run_id == run)).all()) for run in runs
        ]
    return estimate_price([each for each in seconds if each > 0], seconds_of_batch=window.total_seconds())
