"""Detect drift: check each window of served traffic once, and ask for a training where the arbiter allows it."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from base.pipeline import Pipeline
from base.settings import Settings
from monitoring.cutting import Span, due_windows
from monitoring.monitored_version import MonitoredVersion
from registry.manifest import ModelManifest
from registry.models import find_alias, find_version
from registry.pipelines import find_pipeline
from registry.store import Registry, open_registry
from tasks.window_checks import CheckedWindow, check_window, record_check

# Two monitors that take turns have done everything long before.
_MOST_MISSED = 100


def detect_drift(pipeline: Pipeline, registry: Registry, settings: Settings, *, until: datetime) -> list[CheckedWindow]:
    """Check every window that is due as of *until*, record it, and ask for a training where that is called for.

    A window is due when its rows have had time to get their labels. It is recorded in the transaction in which what it
    asks for is filed, ruled on and granted: a process that dies has done both or neither. A window that another
    monitor has checked meanwhile is left to it.
    """
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, pipeline.name)
        version = None if alias is None else find_version(session, pipeline.name, alias.number)
        if version is None:
            return []
    manifest = ModelManifest.model_validate(version.manifest)
    champion = MonitoredVersion(version.number, manifest, registry.artifacts, trusted=settings.trusted_types)
    found: list[CheckedWindow] = []
    spans, n_missed = _list_due(pipeline, registry, settings, until), 0
    while spans and n_missed < _MOST_MISSED:
        is_newest = len(spans) == 1
        window, memory = check_window(
            pipeline, champion, registry, settings, spans[0], until=until, is_newest=is_newest, with_page=is_newest
        )
        recorded = record_check(registry, pipeline, settings, window, memory)
        if recorded is not None:
            found.append(recorded)
            spans = spans[1:]
        else:
            # Another monitor is at work, and each window is judged by what the one before has left behind.
            n_missed += 1
            spans = _list_due(pipeline, registry, settings, until)
    return found


def _list_due(pipeline: Pipeline, registry: Registry, settings: Settings, until: datetime) -> list[Span]:
    spec = pipeline.spec
    with registry.database.read() as session:
        return due_windows(
            session,
            settings.home,
            pipeline.name,
            window=spec.monitor.window,
            until=until - spec.extract.label_delay,
            registry=registry,
        )


@task(name="detect drift", cache_policy=NO_CACHE)
def detect_drift_step(pipeline: str, until: datetime) -> list[dict[str, Any]]:
    """Check the due windows of a pipeline's served traffic, and leave what was found in Prefect's UI."""
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
    lines = [f"# {name}: windows", "| from | rows | labelled | outcome | why | decision |", "|---|---|---|---|---|---|"]
    lines += [
        f"| {window['start'][:16]} | {window['rows']:,} | {window['labelled']:,} | {window['outcome']} "
        f"| {window['reason']} | {window['decision']}: {window['decision_reason']} |"
        for window in windows
    ]
    return "\n".join(lines)
