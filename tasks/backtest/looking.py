"""What a walk sees of a window: its traffic when it is over, its labels when they have matured, as the monitor does."""

from __future__ import annotations

import math
from datetime import datetime

import numpy as np

from base.artifacts import ArtifactStore
from base.documents import as_document
from base.pipeline import Pipeline
from base.times import parse_moment
from monitoring.alarm_memory import recall_judged
from monitoring.alarms.quiet_history import QuietWindow
from monitoring.checking import CheckedWindow, check_labels, check_traffic, check_window
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import pair_with_truth
from monitoring.policies.probe import Probe
from monitoring.window_rows import recall_measured, write_window
from registry.tables import WindowRow
from tasks.backtest.answers import Answers
from tasks.backtest.history import History
from tasks.backtest.moments import Moment
from tasks.backtest.replayed_store import ReplayedStore, cut_by_reign
from tasks.backtest.replayed_version import ReplayedVersion
from tasks.backtest.walk_state import Reign, WalkState

# Of the interval of one window's mean loss.
_NORMAL = 1.96
_MOST_VERSIONS = 16


class Looker:
    """Looks at windows of the history as they would have been served.

    Parameters
    ----------
    probes, versions : dict
        What was fitted and opened already; policies that walk in one process share them.
    """

    def __init__(
        self,
        history: History,
        answers: Answers,
        artifacts: ArtifactStore,
        *,
        trusted: tuple[str, ...],
        probes: dict[str, Probe],
        versions: dict[str, MonitoredVersion],
    ) -> None:
        self._history = history
        self._answers = answers
        self._artifacts = artifacts
        self._trusted = trusted
        self._probes = probes
        self._versions = versions

    def look_at_traffic(self, state: WalkState, pipeline: Pipeline, moment: Moment) -> WalkState:
        """Take the first look at a window that is over."""
        champion = self.open(state.reigns[-1])
        checked = check_traffic(pipeline, champion, self.store(state, moment.at), moment.span)
        row = write_window(_new_row(pipeline, checked), checked)
        written = as_document(row.model_dump(mode="json"))
        return _remember(state, checked, row).model_copy(update={"open": {**state.open, moment.window: written}})

    def look_at_labels(self, state: WalkState, pipeline: Pipeline, moment: Moment) -> tuple[WalkState, CheckedWindow]:
        """Take the second look, at a window whose labels have matured; without a first one, both at once."""
        champion, store = self.open(state.reigns[-1]), self.store(state, moment.at)
        written = state.open.get(moment.window)
        if written is None:
            checked = check_window(pipeline, champion, store, moment.span, until=moment.at)
            row = write_window(_new_row(pipeline, checked), checked)
        else:
            row = _read_row(written)
            version = self.open(next(reign for reign in state.reigns if reign.number == row.version))
            measured, first = recall_measured(row, version.manifest), recall_judged(row)
            checked = check_labels(pipeline, version, store, measured, first, until=moment.at, champion=champion)
            row = write_window(row, checked)
        left = {number: each for number, each in state.open.items() if number != moment.window}
        update: dict[str, object] = {"open": left}
        if checked.policy is not None:
            update["policy"] = checked.policy.state
        estimate = checked.measured.estimate
        truth = None if estimate is None else checked.measured.performance.metrics.get(estimate.metric)
        pair = None if estimate is None or truth is None else pair_with_truth(estimate, float(truth))
        if pair is not None and row.version is not None:
            update["estimates"] = (*state.estimates, (row.version, pair))
        return _remember(state, checked, row).model_copy(update=update), checked

    def measure(self, state: WalkState, moment: Moment) -> dict[str, object]:
        """Say what a window has lost under who served it, for its line in the result."""
        parts = cut_by_reign(state.reigns, self._history, moment.span)
        found = [self._answers.losses(reign.load(self._artifacts), rows) for reign, rows in parts]
        if not found:
            return {}
        units, own = np.concatenate([each.units for each in found]), np.concatenate([each.own for each in found])
        error = float(units.std(ddof=1)) / math.sqrt(len(units)) if len(units) > 1 else 0.0
        loss, half = float(units.mean()), _NORMAL * error
        return {
            "n_rows": len(units),
            "n_labelled": len(units),
            "version": parts[-1][0].number,
            "learnt_until": parts[-1][0].learnt_until,
            "loss": loss,
            "low": loss - half,
            "high": loss + half,
            "metric": float(own.mean()),
        }

    def store(self, state: WalkState, now: datetime) -> ReplayedStore:
        """Give what a check reads at a moment."""
        return ReplayedStore(self._history, self._answers, self._artifacts, self._probes, state, now)

    def open(self, reign: Reign) -> MonitoredVersion:
        """Open a version as monitoring needs it."""
        key = f"{reign.number}:{reign.manifest.digest}"
        if key not in self._versions:
            while len(self._versions) >= _MOST_VERSIONS:
                self._versions.pop(next(iter(self._versions)))
            manifest = reign.load(self._artifacts)
            self._versions[key] = ReplayedVersion(reign.number, manifest, self._artifacts, trusted=self._trusted)
        return self._versions[key]


def _remember(state: WalkState, checked: CheckedWindow, row: WindowRow) -> WalkState:
    """Note what the next windows are judged by: the alarms' state, and the window where it was quiet."""
    quiet = [window for window in state.quiet if window.start != row.start]
    if row.is_quiet:
        values = {name: float(value) for name, value in row.measured.items() if value is not None}
        quiet.append(QuietWindow(row.start, row.stop - row.start, values, row.version))
        quiet.sort(key=lambda window: window.start)
    return state.model_copy(update={"alarms": checked.judged.memory.state, "quiet": tuple(quiet)})


def _new_row(pipeline: Pipeline, checked: CheckedWindow) -> WindowRow:
    measured = checked.measured
    return WindowRow(
        model=pipeline.name,
        start=measured.start,
        stop=measured.stop,
        version=checked.version,
        n_rows=measured.n_rows,
        n_labelled=0,
        outcome="",
        reason="",
        checked_at=measured.stop,
        findings={},
    )


def _read_row(written: dict[str, object]) -> WindowRow:
    row = WindowRow.model_validate(written)
    row.start, row.stop = parse_moment(str(written["start"])), parse_moment(str(written["stop"]))
    return row
