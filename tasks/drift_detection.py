"""Detect drift: look at each window's traffic, then at its labels, and ask for a training where one is called for."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from monitoring.alarm_memory import recall_judged
from monitoring.checking import CheckedWindow, check_labels, check_traffic, check_window
from monitoring.cutting import DueLook, due_looks, find_window
from monitoring.live_store import LiveStore
from monitoring.monitored_version import MonitoredVersion
from monitoring.window_rows import recall_measured
from registry.manifest import ModelManifest
from registry.models import find_alias, find_version
from registry.pipelines import find_pipeline
from registry.store import Registry, open_registry
from registry.tables import ModelVersion
from tasks.window_checks import keep_page, record_check

# Two monitors that take turns have done everything long before.
_MOST_MISSED = 100


def detect_drift(pipeline: Pipeline, registry: Registry, settings: Settings, *, until: datetime) -> list[CheckedWindow]:
    """Take every look that is due as of *until*, record it, and ask for a training where that is called for.

    A window's traffic is looked at once it is over, its labels when they have had time to come. A look is recorded in
    the transaction in which what it asks for is filed, ruled on and granted: a process that dies has done both or
    neither. A look that another monitor has taken meanwhile is left to it.
    """
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, pipeline.name)
    monitor = _Monitor(pipeline, registry, settings, until)
    champion = None if alias is None else monitor.open_version(alias.number)
    if champion is None:
        return []
    found: list[CheckedWindow] = []
    looks, n_missed = monitor.list_due(), 0
    while looks and n_missed < _MOST_MISSED:
        recorded = monitor.take(looks[0], champion, is_newest=len(looks) == 1)
        if recorded is not None:
            found.append(recorded)
            looks = looks[1:]
        else:
            # Another monitor is at work, and each window is judged by what the one before has left behind.
            n_missed += 1
            looks = monitor.list_due()
    return found


class _Monitor:
    """One round of looks at a pipeline's windows; versions by which they are judged are opened once."""

    def __init__(self, pipeline: Pipeline, registry: Registry, settings: Settings, until: datetime) -> None:
        self._pipeline, self._registry, self._settings, self._until = pipeline, registry, settings, until
        self._store = LiveStore(registry, settings, pipeline.name, now=utc_now())
        self._versions: dict[int, MonitoredVersion | None] = {}

    def list_due(self) -> list[DueLook]:
        """List what is to be looked at, in its order."""
        spec = self._pipeline.spec
        with self._registry.database.read() as session:
            return due_looks(
                session,
                self._settings.home,
                self._pipeline.name,
                window=spec.monitor.window,
                label_delay=spec.extract.label_delay,
                until=self._until,
                registry=self._registry,
            )

    def open_version(self, number: int) -> MonitoredVersion | None:
        """Open a version; None if it is not kept any more."""
        if number not in self._versions:
            with self._registry.database.read() as session:
                version = find_version(session, self._pipeline.name, number)
            self._versions[number] = None if version is None else self._open(version)
        return self._versions[number]

    def take(self, due: DueLook, champion: MonitoredVersion, *, is_newest: bool) -> CheckedWindow | None:
        """Look, and record it; None if another monitor was faster."""
        checked = self._look(due, champion, is_newest=is_newest)
        if checked is None:
            return None
        return record_check(
            self._registry,
            self._pipeline,
            self._settings,
            keep_page(checked, self._registry.artifacts),
            n_refused_in_all=self._store.n_refused_in_all(),
        )

    def _look(self, due: DueLook, champion: MonitoredVersion, *, is_newest: bool) -> CheckedWindow | None:
        pipeline, store, until = self._pipeline, self._store, self._until
        if due.look == "traffic":
            return check_traffic(pipeline, champion, store, due.span, is_newest=is_newest, with_page=is_newest)
        if due.look == "both":
            return check_window(
                pipeline, champion, store, due.span, until=until, is_newest=is_newest, with_page=is_newest
            )
        with self._registry.database.read() as session:
            row = find_window(session, pipeline.name, due.span)
        if row is None or row.labels_checked_at is not None:
            return None
        version = (None if row.version is None else self.open_version(row.version)) or champion
        measured = recall_measured(row, version.manifest)
        return check_labels(pipeline, version, store, measured, recall_judged(row), until=until, champion=champion)

    def _open(self, version: ModelVersion) -> MonitoredVersion:
        manifest = ModelManifest.model_validate(version.manifest)
        trusted = self._settings.trusted_types
        return MonitoredVersion(version.number, manifest, self._registry.artifacts, trusted=trusted)


@task(name="detect drift", cache_policy=NO_CACHE)
def detect_drift_step(pipeline: str, until: datetime) -> list[dict[str, Any]]:
    """Look at the due windows of a pipeline's served traffic, and leave what was found in Prefect's UI."""
    settings = Settings()
    registry = open_registry(settings)
    definition = find_pipeline(registry, pipeline)
    log = get_run_logger()
    checked = detect_drift(definition, registry, settings, until=until)
    summaries = [_summarise(window) for window in checked]
    for window in summaries:
        log.info("window %s: %s: %s; %s", window["start"], window["outcome"], window["reason"], window["decision"])
    if summaries:
        key = f"{definition.name.replace('_', '-')}-windows"
        create_markdown_artifact(_tabulate(definition.name, summaries), key=key, description="Monitored windows")
    return summaries


def _summarise(window: CheckedWindow) -> dict[str, Any]:
    measured, (decision, why) = window.measured, window.decision
    report = measured.report
    return {
        "start": measured.start.isoformat(),
        "stop": measured.stop.isoformat(),
        "look": window.look,
        "labels_due": None if window.labels_due is None else window.labels_due.isoformat(),
        "version": window.version,
        "rows": measured.n_rows,
        "labelled": measured.performance.n_labelled,
        "metrics": measured.performance.metrics,
        "drifted_share": None if report is None else report.share,
        "alarms": [alarm.kind for alarm in window.judged.judgement.alarms],
        "verdict": window.judged.triage.verdict,
        "outcome": window.conclusion.outcome,
        "reason": window.conclusion.reason,
        "decision": decision,
        "decision_reason": why,
        "launch": None if window.taken is None else window.taken.launch_id,
    }


def _tabulate(name: str, windows: list[dict[str, Any]]) -> str:
    lines = [
        f"# {name}: windows",
        "| from | looked at | rows | labelled | outcome | why | decision |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {window['start'][:16]} | {window['look']} | {window['rows']:,} | {window['labelled']:,} "
        f"| {window['outcome']} "
        f"| {window['reason']} | {window['decision']}: {window['decision_reason']} |"
        for window in windows
    ]
    return "\n".join(lines)
