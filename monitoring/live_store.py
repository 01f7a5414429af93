"""What a check reads, as it is now: from the prediction log, the labels and the registry."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta

import pandas as pd
from sqlmodel import Session, col, select

from base.settings import Settings
from base.triggers_spec import TriggersSpec
from monitoring.alarm_memory import recall
from monitoring.judgement import AlarmMemory
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import Estimate, EstimateScore, pair_with_truth, score_estimates
from monitoring.policies.cost_aware import PolicyState
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.probe import Probe
from monitoring.policies.records import find_price, read_policy_state, read_training_rows
from monitoring.window_rows import N_REFUSED
from registry.alarms import read_memory
from registry.store import Registry
from registry.tables import WindowRow
from serving.labels.reading import read_label_versions, read_served
from serving.log.status import read_accounts
from serving.log.traffic import read_traffic

# Estimates of so many windows say how far the next one can be trusted.
_MOST_PAST = 50
# Windows that are checked one after another share the champion's own probe; that of the rows served is new each time.
_MOST_PROBES = 4


class LiveStore:
    """What a check of a model's windows reads, from this installation.

    Parameters
    ----------
    now : datetime
        The moment at which mutes must hold.
    """

    def __init__(self, registry: Registry, settings: Settings, model: str, *, now: datetime) -> None:
        self._registry = registry
        self._settings = settings
        self._model = model
        self._now = now
        self._probes: dict[str, Probe] = {}

    def traffic(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Read the served rows of [start, stop)."""
        return read_traffic(self._settings.home, self._model, start=start, stop=stop, registry=self._registry)

    def served(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Read ``id`` and ``event_time`` of the same rows."""
        return read_served(self._settings.home, self._model, start=start, stop=stop, registry=self._registry)

    def labels(self) -> pd.DataFrame:
        """Read all versions of labels."""
        return read_label_versions(self._settings.home, self._model, registry=self._registry)

    def memory(self, before: datetime) -> AlarmMemory:
        """Return what the alarms know before the window that starts at a moment is judged."""
        with self._registry.database.read() as session:
            return recall(read_memory(session, self._model, now=self._now, before=before))

    def past_estimates(self, version: MonitoredVersion) -> EstimateScore | None:
        """Score what was estimated of a version's windows by what turned out."""
        with self._registry.database.read() as session:
            return _score_past(session, self._model, version.number)

    def policy_state(self) -> PolicyState:
        """Return what the retraining policy remembers; a training that came to nothing is waited for no more."""
        with self._registry.database.read() as session:
            return read_policy_state(session, self._model)

    def training_rows(self, version: MonitoredVersion) -> LabelledRows | None:
        """Read what a version has learnt from; None where it is not kept any more."""
        return read_training_rows(self._registry, version.manifest)

    def price(self, version: MonitoredVersion, spec: TriggersSpec, window: timedelta) -> float:
        """Return what a training costs, in windows of full loss."""
        return find_price(self._registry, self._model, spec, window)

    def n_refused(self) -> int:
        """Count the rows that were refused since the window before was checked: a writer counts without a clock."""
        query = select(WindowRow).where(WindowRow.model == self._model).order_by(col(WindowRow.start).desc())
        with self._registry.database.read() as session:
            last = session.exec(query.limit(1)).first()
        before = None if last is None else last.findings.get(N_REFUSED)
        if before is None:
            return 0
        # A writer whose accounts were removed takes its count along.
        return max(0, self.n_refused_in_all() - int(before))

    def n_refused_in_all(self) -> int:
        """Count the rows that were ever refused, by the accounts of all writers."""
        accounts = read_accounts(self._settings.home, self._registry).get(self._model, [])
        return sum(one.totals.rejected.get("invalid", 0) for one in accounts)

    def probe(self, key: str, fit: Callable[[], Probe]) -> Probe:
        """Return one of the last few probes, or fit it."""
        found = self._probes.pop(key, None) or fit()
        self._probes[key] = found
        while len(self._probes) > _MOST_PROBES:
            self._probes.pop(next(iter(self._probes)))
        return found


def _score_past(session: Session, model: str, version: int | None) -> EstimateScore | None:
    query = select(WindowRow).where(
        WindowRow.model == model, WindowRow.version == version, col(WindowRow.labels_checked_at).is_not(None)
    )
    scored = []
    for row in session.exec(query.order_by(col(WindowRow.start).desc()).limit(_MOST_PAST)):
        told = row.findings.get("estimate")
        if told is None:
            continue
        estimate = Estimate.model_validate(told)
        truth = row.metrics.get(estimate.metric)
        pair = None if truth is None else pair_with_truth(estimate, float(truth))
        if pair is not None:
            scored.append(pair)
    return score_estimates(list(reversed(scored))) if scored else None
