"""`everfit monitor`: the due windows, checked and recorded; or one of a person's own, only looked at."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.times import parse_moment, utc_now
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from base.monitor_spec import RowCount
    from base.pipeline import Pipeline
    from base.settings import Settings
    from console.output import Output
    from monitoring.checking import CheckedWindow
    from registry.store import Registry


def monitor_command(model: str, *, window: str | None, until: str | None, output: Output) -> None:
    """Check what is due of a pipeline, or look at its last stretch.

    Raises
    ------
    ArgumentError
        If *window* or *until* cannot be read, there is no such pipeline, or nothing was served.
    """
    settings = read_settings()
    registry = open_registry(settings)
    from registry.pipelines import find_pipeline
    from tasks.drift_detection import detect_drift

    pipeline = find_pipeline(registry, model)
    moment = utc_now() if until is None else _read_moment(until)
    with output.progress("windows") as advance:
        if window is None:
            found = detect_drift(pipeline, registry, settings, until=moment)
        else:
            found = [look_at(pipeline, registry, settings, _read_window(window), moment)]
        advance(f"{len(found)} checked")
    output.table(
        ["from", "to", "looked at", "rows", "labelled", "outcome", "why", "decision"],
        [
            [
                f"{one.measured.start:%Y-%m-%d %H:%M}",
                f"{one.measured.stop:%Y-%m-%d %H:%M}",
                one.look,
                f"{one.measured.n_rows:,}",
                "due" if one.labels_due else f"{one.measured.performance.n_labelled:,}",
                one.conclusion.outcome,
                one.conclusion.reason,
                one.decision[0] if window is None else "none: only looked at",
            ]
            for one in found
        ],
    )
    if not found:
        output.say(
            "no window is due: traffic is looked at once a window is over, labels once they have had time to come"
        )
    output.result({"model": pipeline.name, "windows": [describe_check(one) for one in found]})


def look_at(
    pipeline: Pipeline, registry: Registry, settings: Settings, window: timedelta | RowCount, until: datetime
) -> CheckedWindow:
    """Measure and judge the last stretch before a moment, labels or not; nothing is recorded, and nothing asked for."""
    from monitoring.checking import check_window
    from monitoring.live_store import LiveStore
    from monitoring.monitored_version import MonitoredVersion
    from registry.manifest import ModelManifest
    from registry.models import resolve_version
    from serving.log.traffic import read_event_times
    from tasks.window_checks import keep_page

    with registry.database.read() as session:
        version = resolve_version(session, registry.environment, pipeline.name)
    manifest = ModelManifest.model_validate(version.manifest)
    moments = read_event_times(settings.home, pipeline.name, stop=until, registry=registry)
    if moments.empty:
        raise ArgumentError(f"nothing was served of {pipeline.name!r} before {until:%Y-%m-%d %H:%M} UTC")
    last = moments.iloc[-1].to_pydatetime() + timedelta(microseconds=1)
    start = last - window if isinstance(window, timedelta) else moments.iloc[-window.n_rows :].iloc[0].to_pydatetime()
    champion = MonitoredVersion(version.number, manifest, registry.artifacts, trusted=settings.trusted_types)
    store = LiveStore(registry, settings, pipeline.name, now=utc_now())
    checked = check_window(pipeline, champion, store, (start, last), until=until, with_page=True)
    return keep_page(checked, registry.artifacts)


def describe_check(checked: CheckedWindow) -> dict[str, Any]:
    """Write a check as JSON."""
    from base.documents import as_document

    measured = checked.measured
    decision, reason = checked.decision
    told = {
        "start": measured.start,
        "stop": measured.stop,
        "look": checked.look,
        "labels_due": checked.labels_due,
        "version": checked.version,
        "rows": measured.n_rows,
        "labelled": measured.performance.n_labelled,
        "metrics": measured.performance.metrics,
        "drifted": [] if measured.report is None else list(measured.report.drifted),
        "estimate": None if measured.estimate is None else measured.estimate.model_dump(mode="json"),
        "alarms": [alarm.model_dump(mode="json") for alarm in checked.judged.judgement.alarms],
        "triage": checked.judged.triage.model_dump(mode="json"),
        "policy": None if checked.policy is None else checked.policy.decision.model_dump(mode="json"),
        "outcome": checked.conclusion.outcome,
        "reason": checked.conclusion.reason,
        "decision": decision,
        "decision_reason": reason,
        "page": None if checked.page is None else checked.page.digest,
    }
    # What could not be told, such as an estimate from too few rows, is no number.
    return {name: value if isinstance(value, datetime) else as_document(value) for name, value in told.items()}


def _read_window(text: str) -> timedelta | RowCount:
    from pydantic import ValidationError

    from base.monitor_spec import MonitorSpec

    try:
        return MonitorSpec.model_validate({"window": text}).window
    except ValidationError as error:
        raise ArgumentError(f"--window: {error.errors()[0]['msg'].removeprefix('Value error, ')}") from None


def _read_moment(text: str) -> datetime:
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ArgumentError(f"--until: {error}") from None
