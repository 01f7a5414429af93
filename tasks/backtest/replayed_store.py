"""What a check reads in a backtest: the history as it would have been served, and what earlier checks left behind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from base.artifacts import ArtifactStore
from base.triggers_spec import TriggersSpec
from features.plan import restore_missing
from monitoring.alarms.quiet_history import QuietHistory
from monitoring.cutting import Span
from monitoring.judgement import AlarmMemory
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import EstimateScore, score_estimates
from monitoring.policies.cost_aware import PolicyState
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.probe import Probe
from monitoring.policies.records import MOST_ROWS
from serving.log.frames import empty_traffic, shown_name
from tasks.backtest.answers import Answers
from tasks.backtest.history import History
from tasks.backtest.walk_state import Reign, WalkState
from tasks.prepared_rows import TARGET, load_prepared

# No check looks further back than it and the policy's windows do.
_LABELS_BACK = 40
_MOST_PAST = 50
_MOST_PROBES = 48


class ReplayedStore:
    """The store of one policy's walk: who served when is known from its reigns.

    Parameters
    ----------
    probes : dict
        Fitted probes by name; policies that walk in one process share them.
    """

    def __init__(
        self,
        history: History,
        answers: Answers,
        artifacts: ArtifactStore,
        probes: dict[str, Probe],
        state: WalkState,
        now: datetime,
    ) -> None:
        self._history = history
        self._answers = answers
        self._artifacts = artifacts
        self._probes = probes
        self._state = state
        self._now = now

    def traffic(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Return the rows of [start, stop) as they were answered by who served then."""
        parts = [
            self._part(reign, rows) for reign, rows in cut_by_reign(self._state.reigns, self._history, (start, stop))
        ]
        return pd.concat(parts, ignore_index=True) if parts else empty_traffic()

    def served(self, start: datetime, stop: datetime) -> pd.DataFrame:
        """Return ``id`` and ``event_time`` of the same rows."""
        first = max(start, self._state.reigns[0].since)
        rows = self._history.slice_of((first, max(first, stop)))
        return pd.DataFrame({"id": _ids(rows), "event_time": self._history.event_times.iloc[rows].to_numpy()}).assign(
            event_time=lambda frame: pd.to_datetime(frame["event_time"], utc=True)
        )

    def labels(self) -> pd.DataFrame:
        """Return the labels of the last windows' rows; each came when its horizon had passed."""
        window = self._history.spans[0][1] - self._history.spans[0][0]
        back = self._now - self._history.delay - max(_LABELS_BACK * window, timedelta(days=10))
        rows = self._history.slice_of((back, self._now))
        values = self._answers.labels.iloc[rows].astype(object).reset_index(drop=True)
        observed = self._history.event_times.iloc[rows].reset_index(drop=True) + pd.Timedelta(self._history.delay)
        return pd.DataFrame({"id": _ids(rows), "value": values, "observed_at": observed})

    def memory(self, before: datetime) -> AlarmMemory:
        """Return what the alarms know before the window that starts at a moment is judged."""
        quiet = tuple(window for window in self._state.quiet if window.start < before)
        return AlarmMemory(state=self._state.alarms, history=QuietHistory(quiet))

    def past_estimates(self, version: MonitoredVersion) -> EstimateScore | None:
        """Score how estimates of a version's earlier windows turned out."""
        scored = [each for number, each in self._state.estimates if number == version.number][-_MOST_PAST:]
        return score_estimates(scored) if scored else None

    def policy_state(self) -> PolicyState:
        """Return what the retraining policy remembers; a training that came to nothing is waited for no more."""
        policy = self._state.policy
        return policy if self._state.waiting is not None else policy.model_copy(update={"waits": None})

    def training_rows(self, version: MonitoredVersion) -> LabelledRows | None:
        """Return what a version has learnt from."""
        reign = next(each for each in self._state.reigns if each.number == version.number)
        plan = version.manifest.plan
        stored = load_prepared(reign.data, self._artifacts)
        if not {TARGET, *plan.features} <= set(stored.columns):
            return None
        if version.manifest.deployed == "sibling":
            stored = stored.iloc[: reign.data.validation.stop]
        features = restore_missing(stored[list(plan.features)], plan.categorical)
        return LabelledRows(features, stored[TARGET].to_numpy()).newest(MOST_ROWS)

    def price(self, version: MonitoredVersion, spec: TriggersSpec, window: timedelta) -> float:
        """Return what a training costs; a backtest has settled it before."""
        assert spec.price != "auto"
        return float(spec.price)

    def n_refused(self) -> int:
        """Return 0: what a service would have refused is not in the history."""
        return 0

    def probe(self, key: str, fit: Callable[[], Probe]) -> Probe:
        """Return the probe of this name, or fit it."""
        if key not in self._probes:
            self._probes[key] = fit()
            while len(self._probes) > _MOST_PROBES:
                self._probes.pop(next(iter(self._probes)))
        return self._probes[key]

    def _part(self, reign: Reign, rows: slice) -> pd.DataFrame:
        manifest = reign.load(self._artifacts)
        answers = self._answers.of(manifest, rows)
        times = self._history.event_times.iloc[rows].reset_index(drop=True)
        columns: dict[str, Any] = {
            "id": _ids(rows),
            "version": np.full(len(times), reign.number, dtype=np.int64),
            "predicted_at": times,
            "event_time": times,
        }
        if answers.ndim == 1:
            columns["prediction"] = answers
        elif answers.shape[1] == 2:
            columns["prediction"] = answers[:, 1]
        else:
            columns["prediction"] = answers.argmax(axis=1).astype(np.float64)
            columns["probabilities"] = pd.Series(answers.tolist(), dtype=object)
        columns |= {"arm": "champion", "path": "scikit-learn", "kind": "online", "micros": 0}
        inputs = self._answers.inputs(manifest, rows)
        shown = inputs.set_axis([shown_name(name) for name in inputs.columns], axis=1)
        return pd.concat([pd.DataFrame(columns), shown], axis=1)


def cut_by_reign(reigns: Sequence[Reign], history: History, span: Span) -> list[tuple[Reign, slice]]:
    """Cut the rows of [start, stop) by who served them, in their order."""
    found = []
    for reign, successor in zip(reigns, [*reigns[1:], None], strict=True):
        start = max(span[0], reign.since)
        stop = span[1] if successor is None else min(span[1], successor.since)
        if start < stop and (rows := history.slice_of((start, stop))).start < rows.stop:
            found.append((reign, rows))
    return found


def _ids(rows: slice) -> list[str]:
    return [str(number) for number in range(rows.start, rows.stop)]
