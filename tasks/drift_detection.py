"""Detect drift: check each window of served traffic once, and ask for a training where the arbiter allows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from base.artifacts import Artifact
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.references import Trigger
from base.settings import Settings
from base.times import as_utc, parse_moment, utc_now
from monitoring.arbiter import Circumstances, Ruling, rule
from monitoring.windows import WindowReport, check_window, due_windows
from registry.ledger import Rule, append_decision
from registry.manifest import ModelManifest
from registry.models import find_alias, find_version
from registry.pipelines import find_pipeline
from registry.runs import is_alive
from registry.store import Registry, open_registry
from registry.tables import Run, WindowRow
from tasks.retraining import request_retraining

_ALARMS: dict[str, Trigger] = {"drift": "drift", "performance": "performance"}


@dataclass(frozen=True)
class CheckedWindow:
    """A window's report with what was decided about it."""

    report: WindowReport
    version: int
    ruling: Ruling
    page: Artifact | None
    circumstances: Circumstances | None = None


def detect_drift(pipeline: Pipeline, registry: Registry, settings: Settings, *, until: datetime) -> list[CheckedWindow]:
    """Check every window that is due as of *until*, record it, and ask for a training where that is called for.

    The request goes out before the window is recorded: a process that dies between the two asks once more,
    and the arbiter suppresses the second; the other way round the request would be lost. A window that another
    monitor has checked meanwhile is left to it.

    Raises
    ------
    RequestNotTaken
        If Prefect's server does not take the request; the window stays due.
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
            with_page=stop == windows[-1][1],
        )
        if _is_checked(registry, pipeline.name, report):
            continue
        trigger = _ALARMS.get(report.outcome)
        now = stop + spec.extract.label_delay
        circumstances = find_circumstances(registry, pipeline, now)
        ruling = rule(report.reason if trigger else None, circumstances)
        if trigger is not None and ruling.outcome == "start":
            request_retraining(pipeline.name, as_of=now, trigger=trigger, reason=report.reason)
        html = report.drift.html if report.drift else None
        page = None if html is None else registry.artifacts.put_bytes(html.encode(), suffix=".html")
        window = CheckedWindow(report, version.number, ruling, page, circumstances)
        if _record(registry, pipeline.name, window):
            checked.append(window)
    return checked


def find_circumstances(registry: Registry, pipeline: Pipeline, now: datetime) -> Circumstances:
    """Look up what the arbiter needs to know: the run under way, and the moment as of which the last one trained."""
    with registry.database.read() as session:
        under_way = session.exec(select(Run).where(Run.under_way == pipeline.name)).first()
        if under_way is not None and not is_alive(under_way, utc_now()):
            under_way = None  # its process died: it holds nothing up, and the next training resumes or closes it
        last = session.exec(
            select(Run)
            .where(Run.pipeline == pipeline.name, col(Run.status).in_(["promoted", "kept"]))
            .order_by(col(Run.started_at).desc())
            .limit(1)
        ).first()
    moment = None
    if last is not None:
        as_of = last.parameters.get("as_of")
        moment = parse_moment(as_of) if as_of else last.started_at
    return Circumstances(
        now=as_utc(now),
        under_way=None if under_way is None else under_way.id,
        last_training=moment,
        cooldown=pipeline.spec.triggers.cooldown,
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
    report, ruling = window.report, window.ruling
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
        "decision": ruling.outcome,
        "decision_reason": ruling.reason,
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


def _record(registry: Registry, model: str, window: CheckedWindow) -> bool:
    """Record a window with what was decided; False if another monitor has done so."""
    report, ruling = window.report, window.ruling
    row = WindowRow(
        model=model,
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
    try:
        with registry.database.write() as session:
            session.add(row)
            session.flush()
            if ruling.outcome != "none":
                _append_ruling(session, model, window)
    except IntegrityError:
        return False
    return True


def _append_ruling(session: Session, model: str, window: CheckedWindow) -> None:
    report, ruling, seen = window.report, window.ruling, window.circumstances
    performance = report.performance
    append_decision(
        session,
        kind="trigger",
        pipeline=model,
        outcome=ruling.outcome,
        reason=f"{report.outcome}: {ruling.reason}",
        actor="monitoring",
        evidence={
            "window": [report.start.isoformat(), report.stop.isoformat()],
            "finding": report.reason,
            "page": None if window.page is None else window.page.digest,
        },
        rule=Rule("arbiter", 1, {} if seen is None else {"cooldown_seconds": seen.cooldown.total_seconds()}),
        inputs={
            "alarm": report.reason,
            "trigger": _ALARMS.get(report.outcome),
            "as_of": None if seen is None else seen.now,
            "under_way": None if seen is None else seen.under_way,
            "last_training": None if seen is None else seen.last_training,
            "version": window.version,
            "n_rows": report.n_rows,
            "n_labelled": performance.n_labelled,
            "loss": performance.loss,
            "loss_found": performance.metrics.get(performance.loss),
            "loss_expected": performance.expected,
            "drift": None if report.drift is None else digest_document(report.drift.report.model_dump(mode="json")),
        },
    )
