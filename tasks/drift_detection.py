"""Detect drift: check each window of served traffic once, and ask for a training where the arbiter allows it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from base.artifacts import Artifact
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.references import Trigger
from base.settings import Settings
from base.times import utc_now
from monitoring.desk import Taken, TriggerRequest, keep_asking, take_within
from monitoring.new_labels import count_new_labels
from monitoring.windows import WindowReport, check_window, due_windows
from registry.manifest import ModelManifest
from registry.models import find_alias, find_version
from registry.pipelines import find_pipeline
from registry.store import Registry, open_registry
from registry.tables import WindowRow

_ALARMS: dict[str, Trigger] = {"drift": "drift", "performance": "performance"}


@dataclass(frozen=True)
class CheckedWindow:
    """A window's report with what became of the alarm that it raised; without an alarm, nothing was decided."""

    report: WindowReport
    version: int
    page: Artifact | None
    taken: Taken | None = None

    @property
    def decision(self) -> tuple[str, str]:
        """The arbiter's word and its reason; *none* where nothing called for a training."""
        if self.taken is None:
            return "none", "nothing calls for a training"
        return self.taken.outcome, self.taken.reason


def detect_drift(pipeline: Pipeline, registry: Registry, settings: Settings, *, until: datetime) -> list[CheckedWindow]:
    """Check every window that is due as of *until*, record it, and ask for a training where that is called for.

    A window is recorded in the transaction in which what it asks for is filed, ruled on and granted: a process that
    dies has done both or neither. A window that another monitor has checked meanwhile is left to it.
    """
    spec, home = pipeline.spec, settings.home
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, pipeline.name)
        version = None if alias is None else find_version(session, pipeline.name, alias.number)
        if version is None:
            return []
        windows = due_windows(
            session,
            home,
            pipeline.name,
            length=spec.monitor.period,
            label_delay=spec.extract.label_delay,
            until=until,
            registry=registry,
        )
    manifest = ModelManifest.model_validate(version.manifest)
    checked = []
    for start, stop in windows:
        report = check_window(
            home,
            manifest,
            spec.monitor,
            registry,
            start=start,
            stop=stop,
            until=until,
            label_delay=spec.extract.label_delay,
            slices=spec.evaluate.slices,
            with_page=stop == windows[-1][1],
            trusted=settings.trusted_types,
        )
        if _is_checked(registry, pipeline.name, report):
            continue
        html = report.drift.html if report.drift else None
        page = None if html is None else registry.artifacts.put_bytes(html.encode(), suffix=".html")
        window = CheckedWindow(report, version.number, page)
        if (recorded := _record(registry, pipeline, window, settings)) is not None:
            checked.append(recorded)
    return checked


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
    report, (decision, why) = window.report, window.decision
    return {
        "start": report.start.isoformat(),
        "stop": report.stop.isoformat(),
        "version": window.version,
        "rows": report.n_rows,
        "labelled": report.performance.n_labelled,
        "metrics": report.performance.metrics,
        "drifted_share": report.drift.report.share if report.drift else None,
        "outcome": report.outcome,
        "reason": report.reason,
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


def _is_checked(registry: Registry, model: str, report: WindowReport) -> bool:
    with registry.database.read() as session:
        same = select(WindowRow.id).where(
            WindowRow.model == model, WindowRow.start == report.start, WindowRow.stop == report.stop
        )
        return session.exec(same).first() is not None


def _record(registry: Registry, pipeline: Pipeline, window: CheckedWindow, settings: Settings) -> CheckedWindow | None:
    """Record a window with what was decided; None if another monitor has done so."""
    report = window.report
    request, spec, now = _as_request(pipeline, window), pipeline.spec.triggers, utc_now()
    labels = None
    if request is not None and request.as_of is not None:
        labels = count_new_labels(settings.home, pipeline.name, registry, spec, moment=request.as_of, now=now)

    def record() -> Taken | None:
        with registry.database.write() as session:
            session.add(
                WindowRow(
                    model=pipeline.name,
                    start=report.start,
                    stop=report.stop,
                    version=window.version,
                    n_rows=report.n_rows,
                    n_labelled=report.performance.n_labelled,
                    metrics=report.performance.metrics,
                    drift={} if report.drift is None else report.drift.report.model_dump(mode="json"),
                    outcome=report.outcome,
                    reason=report.reason,
                )
            )
            session.flush()
            if request is None:
                return None
            return take_within(session, request, spec=spec, now=now, n_new_labels=labels)

    try:
        return replace(window, taken=keep_asking(record))
    except IntegrityError:
        return None


def _as_request(pipeline: Pipeline, window: CheckedWindow) -> TriggerRequest | None:
    """Say what a window asks for: a training that has seen its labels."""
    report, performance = window.report, window.report.performance
    trigger = _ALARMS.get(report.outcome)
    if trigger is None:
        return None
    evidence = {
        "window": [report.start.isoformat(), report.stop.isoformat()],
        "finding": report.reason,
        "page": None if window.page is None else window.page.digest,
        "version": window.version,
        "n_rows": report.n_rows,
        "n_labelled": performance.n_labelled,
        "loss": performance.loss,
        "loss_found": performance.metrics.get(performance.loss),
        "loss_expected": performance.expected,
        "drift": None if report.drift is None else digest_document(report.drift.report.model_dump(mode="json")),
    }
    return TriggerRequest(
        pipeline=pipeline.name,
        kind=trigger,
        key=f"window:{report.start.isoformat()}/{report.stop.isoformat()}",
        reason=report.reason,
        actor="monitoring",
        as_of=report.stop + pipeline.spec.extract.label_delay,
        payload=evidence,
        evidence=evidence,
    )
