"""The retraining policy on served traffic: a matured window becomes a batch, and the batch a decision."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from base.class_codes import encode_labels
from base.errors import ArgumentError
from base.train_spec import TrainingWindow
from base.triggers_spec import TriggersSpec
from monitoring.performance import is_comparable, read_answers
from monitoring.policies.cost_aware import LabelledBatch, Method, PolicyDecision, PolicyState, step
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.loss_units import full_loss, unit_losses
from monitoring.policies.probe import Probe, compare_probes, fit_probe, probe_key
from monitoring.policies.probe_race import race_probes, window_rows
from monitoring.policies.records import MOST_ROWS
from registry.manifest import ModelManifest
from serving.labels.matured import matured_rows

if TYPE_CHECKING:
    from monitoring.monitored_version import MonitoredVersion
    from monitoring.store import MonitorStore
    from monitoring.windows import MeasuredWindow

Floats = npt.NDArray[np.float64]

_MOST_WINDOWS_BACK = 26


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


def ask_policy(
    measured: MeasuredWindow,
    version: MonitoredVersion,
    store: MonitorStore,
    *,
    spec: TriggersSpec,
    window: timedelta,
    min_rows: int,
    label_delay: timedelta,
    answered_by: int | None,
    declared: TrainingWindow | None = None,
) -> PolicyOutcome | None:
    """Let the cost-aware policy take in a matured window; None where too few of its rows have a label.

    Without the rows that the champion was trained on (retention may have removed them), its loss is held against what
    it was right after its promotion.

    Parameters
    ----------
    version : MonitoredVersion
        The champion of today.
    answered_by : int, optional
        The version that answered the window. Where that is another one, its loss says nothing of the champion; the age
        of what the champion has learnt is measured on any rows.
    declared : TrainingWindow, optional
        The key ``train.window``; None: auto, by which trainings race windows, and the probe does as well.
    """
    if not spec.policy.startswith("cost-aware") or measured.performance.n_labelled < min_rows:
        return None
    training = store.training_rows(version) if spec.policy == "cost-aware" else None
    if answered_by != version.number:
        if training is None:
            return None
        # The other version may have known other classes, or other features.
        labelled = measured.labelled[is_comparable(measured.labelled, version.manifest.classes)]
        if len(labelled) < min_rows:
            return None
        measured = replace(measured, labelled=labelled, features=version.build_features(labelled))
    batch = make_batch(
        measured, version, store, training=training, window=window, label_delay=label_delay, declared=declared
    )
    method: Method = "static" if batch.probe_loss is None or batch.twin_loss is None else "paired"
    if method == "static" and answered_by != version.number:
        return None
    price = store.price(version, spec, window)
    state, decision = step(store.policy_state(), batch, price=price, method=method)
    return PolicyOutcome(method=method, state=state, decision=decision, batch=batch)


def make_batch(
    measured: MeasuredWindow,
    version: MonitoredVersion,
    store: MonitorStore,
    *,
    training: LabelledRows | None,
    window: timedelta,
    label_delay: timedelta,
    declared: TrainingWindow | None = None,
) -> LabelledBatch:
    """Say what a window lost, and what a cheap model would have lost that is fresh, or as old as the champion.

    Both learn from as much of the past as the models do that they stand for: the twin from the champion's window, the
    fresh one from the window that a training would choose (:func:`monitoring.policies.probe_race.race_probes`).
    """
    manifest = version.manifest
    labelled = measured.labelled
    target = encode_labels(labelled["value"], manifest.classes)
    known = training.target if training is not None else None
    full = full_loss(manifest.task, target if known is None else known)
    threshold = manifest.threshold

    def lose(truth: npt.NDArray[Any], answers: Floats) -> Floats:
        return unit_losses(manifest.task, truth, answers, full=full, threshold=threshold)

    batch = LabelledBatch(
        number=int(measured.stop.timestamp()),
        champion=str(version.number),
        loss=float(lose(target, read_answers(labelled, manifest.classes)).mean()),
    )
    if training is None:
        return batch
    since = _since(measured.start, manifest, window)
    last = max(since, measured.start - window)
    older, newest = (
        read_served_rows(version, store, start=start, stop=stop, label_delay=label_delay)
        for start, stop in ((since, last), (last, measured.start))
    )
    past = training.followed_by(older).followed_by(newest).newest(MOST_ROWS)
    learnt = window_rows(manifest.window, len(training.target), _length(manifest, manifest.learnt_until))
    find = partial(find_probe, manifest=manifest, store=store)
    try:
        twin = find(training.newest(learnt))
        if declared is None:
            champion = None if manifest.window is None else manifest.window.rows
            probe = race_probes(past, find, lose, n_judged=len(newest.target) or len(target), champion=champion)
        else:
            probe = find(past.newest(window_rows(declared, len(past.target), _length(manifest, measured.start))))
    except ArgumentError:
        return batch
    answers = (each.predict(measured.features) for each in (twin, probe))
    twin_loss, probe_loss, noise = compare_probes(*(lose(target, each) for each in answers))
    return batch.model_copy(update={"twin_loss": twin_loss, "probe_loss": probe_loss, "noise": noise})


def find_probe(rows: LabelledRows, manifest: ModelManifest, store: MonitorStore) -> Probe:
    """Take the probe of some rows out of the store, which fits it where it has none of them.

    Raises
    ------
    ArgumentError
        If there are too few rows to fit one.
    """
    plan = manifest.plan

    def fit() -> Probe:
        return fit_probe(
            rows.features,
            rows.target,
            n_classes=None if manifest.classes is None else len(manifest.classes),
            numeric=plan.numeric,
            categorical=plan.categorical,
            seed=manifest.seed,
        )

    return store.probe(probe_key(rows.digest(), task=manifest.task, seed=manifest.seed), fit)


def read_served_rows(
    version: MonitoredVersion, store: MonitorStore, *, start: datetime, stop: datetime, label_delay: timedelta
) -> LabelledRows:
    """Read served rows of [start, stop) that have matured and got their label, as the estimator saw them."""
    manifest = version.manifest
    judged = matured_rows(store.traffic(start, stop), store.labels(), label_delay=label_delay, until=stop + label_delay)
    labelled = judged[judged["is_labelled"]]
    labelled = labelled[is_comparable(labelled, manifest.classes)]
    return LabelledRows(version.build_features(labelled), encode_labels(labelled["value"], manifest.classes))


def _length(manifest: ModelManifest, stop: datetime | None) -> timedelta | None:
    return None if manifest.first is None or stop is None else stop - manifest.first


def _since(start: datetime, manifest: ModelManifest, window: timedelta) -> datetime:
    earliest = start - _MOST_WINDOWS_BACK * window
    learnt = manifest.learnt_until or manifest.watermark
    return earliest if learnt is None else max(earliest, learnt)
