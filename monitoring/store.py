"""Where a check of a window reads from: the live log and registry, or a replay of history."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Protocol

import pandas as pd

from base.triggers_spec import TriggersSpec
from monitoring.judgement import AlarmMemory
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import EstimateScore
from monitoring.policies.cost_aware import PolicyState
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.probe import Probe


class MonitorStore(Protocol):
    """All that a check of one model's windows reads, and nothing that it writes.

    What is written of a window (its alarms, what the policy said) is what the next ones read here: a store of the live
    registry sees it because it was recorded, a replay because it keeps what :func:`monitoring.checking.check_window`
    returned.
    """

    def traffic(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Read the served rows of [start, stop), as :func:`serving.log.traffic.read_traffic` gives them."""

    def served(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Read ``id`` and ``event_time`` of the same rows, as :func:`serving.labels.reading.read_served` gives them."""

    def labels(self) -> pd.DataFrame:
        """Read all versions of labels, as :func:`serving.labels.reading.read_label_versions` gives them.

        Those of the future may be among them: a check leaves out what was observed after its moment.
        """

    def memory(self, before: datetime) -> AlarmMemory:
        """Return what the alarms know before the window that starts at a moment is judged."""

    def past_estimates(self, version: MonitoredVersion) -> EstimateScore | None:
        """Score how estimates of a version's earlier windows turned out; None where none has."""

    def policy_state(self) -> PolicyState:
        """Return what the retraining policy remembers."""

    def training_rows(self, version: MonitoredVersion) -> LabelledRows | None:
        """Return what a version has learnt from; None where it is not kept any more."""

    def price(self, version: MonitoredVersion, spec: TriggersSpec, window: timedelta) -> float:
        """Return what a training costs, in windows of full loss."""

    def n_refused(self) -> int:
        """Count the rows that came and were refused since the window before was checked."""

    def probe(self, key: str, fit: Callable[[], Probe]) -> Probe:
        """Return the probe that is kept under a key (:func:`monitoring.policies.probe.probe_key`), or fit it."""
