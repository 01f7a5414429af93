"""The retraining policy on live traffic: a matured window becomes a batch, and the batch a decision."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from pydantic import BaseModel, ConfigDict
from sqlmodel import Session, col, select

from base.artifacts import ArtifactMissing
from base.class_codes import encode_labels
from base.errors import ArgumentError
from base.references import TrainingData
from base.triggers_spec import TriggersSpec
from features.plan import restore_missing
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import is_comparable, read_answers
from monitoring.policies.cost_aware import LabelledBatch, Method, PolicyDecision, PolicyState, step
from monitoring.policies.loss_units import full_loss, unit_losses
from monitoring.policies.prices import estimate_price
from monitoring.policies.probe import compare_probes, fit_probe
from monitoring.windows import MeasuredWindow
from registry.launches import find_open
from registry.manifest import ModelManifest
from registry.store import Registry
from registry.tables import Run, StepExecution, WindowRow
from serving.labels.matured import matured_rows
from serving.labels.reading import read_label_versions
from serving.log.traffic import read_traffic

Floats = npt.NDArray[np.float64]

TARGET = "__target__"
# A probe learns from a fifth of its rows; more than these change its answers little and its time much.
_MOST_ROWS = 60_000
_MOST_WINDOWS_BACK = 26
_N_TRAININGS = 5
# After so many windows without labels, what was added up before says nothing of today.
_MOST_WINDOWS_WITHOUT = 200


class PolicyOutcome(BaseModel):
    """What the policy said of a window, and what it remembers; kept with the window."""

    model_config = ConfigDict(frozen=True)

    method: Method
    state: PolicyState
    decision: PolicyDecision
    batch: LabelledBatch

    def put_off(self) -> PolicyOutcome:
        """The same where no training came of it: what has added up stays, and is asked for again."""
        state = self.state.model_copy(update={"waits": None, "excess": self.decision.excess})
        return self.model_copy(update={"state": state})


@dataclass(frozen=True)
class LabelledRows:
    """Rows as the estimator sees them, with class codes or values, in the order of time."""

    features: pd.DataFrame
    target: npt.NDArray[Any]

    def followed_by(self, later: LabelledRows) -> LabelledRows:
        """These rows, and later ones."""
        if later.features.empty:
            return self
        features = pd.concat([self.features, later.features], ignore_index=True)
        return LabelledRows(features, np.concatenate([self.target, later.target]))

    def newest(self, n_rows: int) -> LabelledRows:
        """The last rows."""
        return LabelledRows(self.features.tail(n_rows), self.target[-n_rows:])


def ask_policy(
    measured: MeasuredWindow,
    version: MonitoredVersion,
    registry: Registry,
    home: Path,
    *,
    spec: TriggersSpec,
    state: PolicyState,
    window: timedelta,
    min_rows: int,
    label_delay: timedelta,
) -> PolicyOutcome | None:
    """Let the cost-aware policy take in a matured window; None where too few of its rows have a label.

    Without the rows that the champion was trained on (retention may have removed them), its loss is held against what
    it was right after its promotion.
    """
    if spec.policy == "level" or measured.performance.n_labelled < min_rows:
        return None
    training = read_training_rows(registry, version) if spec.policy == "cost-aware" else None
    batch = make_batch(measured, version, registry, home, training=training, window=window, label_delay=label_delay)
    method: Method = "static" if batch.probe_loss is None or batch.twin_loss is None else "paired"
    state, decision = step(state, batch, price=find_price(registry, version.manifest, spec, window), method=method)
    return PolicyOutcome(method=method, state=state, decision=decision, batch=batch)


def find_policy(session: Session, model: str) -> tuple[WindowRow, dict[str, Any]] | None:
    """Find the newest window that the policy was asked about, and what it said; windows without labels it was not."""
    newest = select(WindowRow).where(WindowRow.model == model).order_by(col(WindowRow.start).desc())
    for row in session.exec(newest.limit(_MOST_WINDOWS_WITHOUT)):
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


def make_batch(
    measured: MeasuredWindow,
    version: MonitoredVersion,
    registry: Registry,
    home: Path,
    *,
    training: LabelledRows | None,
    window: timedelta,
    label_delay: timedelta,
) -> LabelledBatch:
    """Say what a window lost, and what a cheap model would have lost that is fresh, or as old as the champion."""
    manifest = version.manifest
    labelled = measured.labelled
    target = encode_labels(labelled["value"], manifest.classes)
    known = training.target if training is not None else None
    full = full_loss(manifest.task, target if known is None else known)
    threshold = manifest.threshold

    def lose(answers: Floats) -> Floats:
        return unit_losses(manifest.task, target, answers, full=full, threshold=threshold)

    batch = LabelledBatch(
        number=int(measured.stop.timestamp()),
        champion=str(version.number),
        loss=float(lose(read_answers(labelled, manifest.classes)).mean()),
    )
    if training is None:
        return batch
    since = _since(measured.start, version.manifest, window)
    served = read_served_rows(version, registry, home, start=since, stop=measured.start, label_delay=label_delay)
    fresh = training.followed_by(served)
    try:
        twin = _answer_by_probe(training, measured.features, manifest)
        probe = _answer_by_probe(fresh.newest(_MOST_ROWS), measured.features, manifest)
    except ArgumentError:
        return batch
    twin_loss, probe_loss, noise = compare_probes(lose(twin), lose(probe))
    return batch.model_copy(update={"twin_loss": twin_loss, "probe_loss": probe_loss, "noise": noise})


def read_training_rows(registry: Registry, version: MonitoredVersion) -> LabelledRows | None:
    """Read what a version has learnt from, as its run prepared it; None where that is not kept any more."""
    import pyarrow.parquet as pq

    manifest = version.manifest
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
    return LabelledRows(features, stored[TARGET].to_numpy()).newest(_MOST_ROWS)


def read_served_rows(
    version: MonitoredVersion,
    registry: Registry,
    home: Path,
    *,
    start: datetime,
    stop: datetime,
    label_delay: timedelta,
) -> LabelledRows:
    """Read served rows of [start, stop) that have matured and got their label, as the estimator saw them."""
    manifest = version.manifest
    traffic = read_traffic(home, manifest.model, start=start, stop=stop, registry=registry)
    labels = read_label_versions(home, manifest.model, registry=registry)
    judged = matured_rows(traffic, labels, label_delay=label_delay, until=stop + label_delay)
    labelled = judged[judged["is_labelled"]]
    labelled = labelled[is_comparable(labelled, manifest.classes)]
    return LabelledRows(version.build_features(labelled), encode_labels(labelled["value"], manifest.classes))


def find_price(registry: Registry, manifest: ModelManifest, spec: TriggersSpec, window: timedelta) -> float:
    """Say what a training costs, in windows of full loss: as declared, or from what the last ones took to compute."""
    if spec.price != "auto":
        return float(spec.price)
    with registry.database.read() as session:
        runs = session.exec(
            select(Run.id)
            .where(Run.pipeline == manifest.model)
            .order_by(col(Run.started_at).desc())
            .limit(_N_TRAININGS)
        ).all()
        seconds = [
            sum(session.exec(select(StepExecution.seconds).where(StepExecution.run_id == run)).all()) for run in runs
        ]
    return estimate_price([each for each in seconds if each > 0], seconds_of_batch=window.total_seconds())


def _since(start: datetime, manifest: ModelManifest, window: timedelta) -> datetime:
    earliest = start - _MOST_WINDOWS_BACK * window
    learnt = manifest.learnt_until or manifest.watermark
    return earliest if learnt is None else max(earliest, learnt)


def _answer_by_probe(rows: LabelledRows, asked: pd.DataFrame, manifest: ModelManifest) -> Floats:
    plan = manifest.plan
    probe = fit_probe(
        rows.features,
        rows.target,
        n_classes=None if manifest.classes is None else len(manifest.classes),
        numeric=plan.numeric,
        categorical=plan.categorical,
        seed=manifest.seed,
    )
    return probe.predict(asked)
