"""Check one window of served traffic: measured, judged, concluded, and recorded with what it asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from base.artifacts import Artifact
from base.documents import as_document
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from monitoring.alarm_memory import closing_reasons, describe_judged, raised_alarms, recall
from monitoring.conclusion import Conclusion, conclude
from monitoring.cutting import Span
from monitoring.desk import Taken, TriggerRequest, keep_asking, take_within
from monitoring.judgement import JudgedWindow, judge_window
from monitoring.monitored_version import MonitoredVersion
from monitoring.new_labels import count_new_labels
from monitoring.performance import Estimate, EstimateScore, pair_with_truth, score_estimates
from monitoring.policies.live import PolicyOutcome, ask_policy, read_policy_state
from monitoring.windows import MeasuredWindow, measure_window
from registry.alarms import Memory, WindowJudged, read_memory, record_window
from registry.store import Registry
from registry.tables import WindowRow
from serving.log.status import read_accounts

# Estimates of so many windows say how far the next one can be trusted.
_MOST_PAST = 50
_REFUSED = "n_refused_in_all"
# Each look leaves one page, and takes the one before away.
_MOST_PAGES = 5


@dataclass(frozen=True)
class CheckedWindow:
    """What was measured and said of a window, and what became of the training that it asked for."""

    measured: MeasuredWindow
    judged: JudgedWindow
    policy: PolicyOutcome | None
    conclusion: Conclusion
    version: int | None
    page: Artifact | None = None
    taken: Taken | None = None

    @property
    def decision(self) -> tuple[str, str]:
        """The arbiter's word and its reason; *none* where nothing called for a training."""
        if self.taken is None:
            return "none", "nothing calls for a training"
        return self.taken.outcome, self.taken.reason


def check_window(
    pipeline: Pipeline,
    version: MonitoredVersion,
    registry: Registry,
    settings: Settings,
    span: Span,
    *,
    until: datetime,
    is_newest: bool = True,
    with_page: bool = False,
) -> tuple[CheckedWindow, Memory]:
    """Measure a window, judge it by what is known of the windows before, and say what it calls for; record nothing.

    Returns
    -------
    CheckedWindow
    Memory
        By which it was judged; to be given back when the window is recorded.
    """
    spec, name = pipeline.spec, pipeline.name
    start, stop = span
    with registry.database.read() as session:
        memory = read_memory(session, name, now=utc_now())
        last = _newest_window(session, name)
        past = _score_past(session, version)
        state = read_policy_state(session, name)
    measured = measure_window(
        settings.home,
        version,
        registry,
        start=start,
        stop=stop,
        min_rows=spec.monitor.min_rows,
        until=until,
        label_delay=spec.extract.label_delay,
        slices=spec.evaluate.slices,
        past=past,
        n_refused=_count_refused(registry, settings, name, last) if is_newest else 0,
        with_page=with_page,
    )
    judged = judge_window(
        measured.facts,
        measured.report,
        spec.monitor,
        recall(memory),
        losses=measured.losses,
        estimated_increase=_estimated_increase(measured.estimate),
        rehearsed=version.rehearsed,
    )
    policy = ask_policy(
        measured,
        version,
        registry,
        settings.home,
        spec=spec.triggers,
        state=state,
        window=_length(pipeline, span),
        min_rows=spec.monitor.min_rows,
        label_delay=spec.extract.label_delay,
    )
    conclusion = conclude(measured, judged, policy, monitor=spec.monitor, triggers=spec.triggers)
    html = None if measured.drift is None else measured.drift.html
    page = None if html is None else registry.artifacts.put_bytes(html.encode(), suffix=".html")
    return CheckedWindow(measured, judged, policy, conclusion, version.number, page), memory


def record_check(
    registry: Registry, pipeline: Pipeline, settings: Settings, checked: CheckedWindow, memory: Memory
) -> CheckedWindow | None:
    """Record a window with its alarms and the training that it asks for, in one transaction.

    Returns
    -------
    CheckedWindow or None
        With the arbiter's word; None if another monitor has recorded the window, or a person has reset or muted an
        alarm meanwhile: it is checked again then, if it is still to be.
    """
    request, spec, now = _as_request(pipeline, checked), pipeline.spec.triggers, utc_now()
    labels = None
    if request is not None and request.as_of is not None:
        labels = count_new_labels(settings.home, pipeline.name, registry, spec, moment=request.as_of, now=now)
    refused = _count_all_refused(registry, settings, pipeline.name)

    def record() -> Taken | None:
        with registry.database.write() as session:
            taken = None
            if request is not None:
                taken = take_within(session, request, spec=spec, now=now, n_new_labels=labels)
            _let_pages_go(session, pipeline.name)
            record_window(
                session,
                _describe(checked, pipeline, taken, refused),
                revision=memory.revision,
                state=checked.judged.memory.state.model_dump(mode="json"),
                alarms=raised_alarms(checked.judged),
                closed=closing_reasons(checked.judged),
                owner=pipeline.spec.owner,
                now=now,
            )
            session.flush()
            return taken

    try:
        return replace(checked, taken=keep_asking(record))
    except (IntegrityError, WindowJudged):
        return None


def _describe(checked: CheckedWindow, pipeline: Pipeline, taken: Taken | None, refused: int) -> WindowRow:
    measured, policy = checked.measured, checked.policy
    report = measured.report
    row = describe_judged(
        WindowRow(
            model=pipeline.name,
            start=measured.start,
            stop=measured.stop,
            version=checked.version,
            n_rows=measured.n_rows,
            n_labelled=measured.performance.n_labelled,
            metrics=measured.performance.metrics,
            drift={} if report is None else report.model_dump(mode="json"),
            outcome=checked.conclusion.outcome,
            reason=checked.conclusion.reason,
        ),
        checked.judged,
    )
    if policy is not None and taken is not None and taken.outcome == "suppress":
        policy = policy.put_off()
    more: dict[str, Any] = {
        "performance": measured.performance.model_dump(mode="json"),
        "estimate": None if measured.estimate is None else measured.estimate.model_dump(mode="json"),
        "policy": None if policy is None else policy.model_dump(mode="json") | {"reason": policy.decision.reason},
        "page": None if checked.page is None else checked.page.model_dump(mode="json"),
        "trigger": None if taken is None else taken.trigger_id,
        _REFUSED: refused,
    }
    row.findings = as_document({**row.findings, **more})
    return row


def _as_request(pipeline: Pipeline, checked: CheckedWindow) -> TriggerRequest | None:
    """Say what a window asks for: a training that has seen its labels."""
    measured, performance, conclusion = checked.measured, checked.measured.performance, checked.conclusion
    if conclusion.asks is None:
        return None
    report = measured.report
    evidence = {
        "window": [measured.start.isoformat(), measured.stop.isoformat()],
        "finding": conclusion.reason,
        "verdict": checked.judged.triage.verdict,
        "page": None if checked.page is None else checked.page.digest,
        "version": checked.version,
        "n_rows": measured.n_rows,
        "n_labelled": performance.n_labelled,
        "loss": performance.loss,
        "loss_found": performance.metrics.get(performance.loss),
        "loss_expected": performance.expected,
        "policy": None if checked.policy is None else checked.policy.decision.model_dump(mode="json"),
        "drift": None if report is None else digest_document(report.model_dump(mode="json")),
    }
    return TriggerRequest(
        pipeline=pipeline.name,
        kind=conclusion.asks,
        key=f"window:{measured.start.isoformat()}/{measured.stop.isoformat()}",
        reason=conclusion.reason,
        actor="monitoring",
        as_of=measured.stop + pipeline.spec.extract.label_delay,
        payload=as_document(evidence),
        evidence=evidence,
    )


def _let_pages_go(session: Session, model: str) -> None:
    """Need the page of a quiet window no more: it is megabytes, and was kept as the newest there was."""
    newest = select(WindowRow).where(WindowRow.model == model).order_by(col(WindowRow.start).desc())
    for row in session.exec(newest.limit(_MOST_PAGES)):
        if row.is_quiet and row.findings.get("page") and not row.findings.get("trigger"):
            row.findings = {**row.findings, "page": None}
            session.add(row)


def _newest_window(session: Session, model: str) -> WindowRow | None:
    query = select(WindowRow).where(WindowRow.model == model).order_by(col(WindowRow.start).desc()).limit(1)
    return session.exec(query).first()


def _score_past(session: Session, version: MonitoredVersion) -> EstimateScore | None:
    """Score what was estimated of this version's windows by what turned out."""
    query = select(WindowRow).where(WindowRow.model == version.manifest.model, WindowRow.version == version.number)
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


def _estimated_increase(estimate: Estimate | None) -> float | None:
    """Return the least by which the loss is expected to have risen; None where the estimate cannot be trusted."""
    if estimate is None or not estimate.is_trusted or estimate.interval is None or not estimate.reference > 0:
        return None
    return float(estimate.interval[0]) / float(estimate.reference) - 1


def _count_refused(registry: Registry, settings: Settings, model: str, last: WindowRow | None) -> int:
    """Count the rows that were refused since the window before was checked: a writer counts without a clock."""
    before = None if last is None else last.findings.get(_REFUSED)
    if before is None:
        return 0
    # A writer whose accounts were removed takes its count along.
    return max(0, _count_all_refused(registry, settings, model) - int(before))


def _count_all_refused(registry: Registry, settings: Settings, model: str) -> int:
    accounts = read_accounts(settings.home, registry).get(model, [])
    return sum(one.totals.rejected.get("invalid", 0) for one in accounts)


def _length(pipeline: Pipeline, span: Span) -> timedelta:
    window = pipeline.spec.monitor.window
    return window if isinstance(window, timedelta) else max(span[1] - span[0], timedelta(seconds=1))
