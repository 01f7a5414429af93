"""Record a look at a window, with its alarms and with what it asks for."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy.exc import IntegrityError
from sqlmodel import Session, col, select

from base.artifacts import ArtifactStore
from base.documents import as_document
from base.fingerprint import digest_document
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from monitoring.alarm_memory import closing_reasons, raised_alarms
from monitoring.alarms.alarm import LABEL_KINDS
from monitoring.checking import CheckedWindow
from monitoring.cutting import find_window
from monitoring.desk import Taken, TriggerRequest, keep_asking, take_within
from monitoring.new_labels import count_new_labels
from monitoring.window_rows import N_REFUSED, write_window
from registry.alarms import WindowJudged, record_labels, record_window
from registry.store import Registry
from registry.tables import WindowRow

# Each look leaves one page, and takes the one before away.
_MOST_PAGES = 5


def keep_page(checked: CheckedWindow, artifacts: ArtifactStore) -> CheckedWindow:
    """Keep the page of a window, where there is one, in the artifact store."""
    html = None if checked.measured.drift is None else checked.measured.drift.html
    return checked if html is None else replace(checked, page=artifacts.put_bytes(html.encode(), suffix=".html"))


def record_check(
    registry: Registry, pipeline: Pipeline, settings: Settings, checked: CheckedWindow, *, n_refused_in_all: int
) -> CheckedWindow | None:
    """Record a look at a window with its alarms and the training that it asks for, in one transaction.

    The first look makes the window's row, the second completes it.

    Parameters
    ----------
    n_refused_in_all : int
        How many rows were ever refused, for the next window's traffic to count from.

    Returns
    -------
    CheckedWindow or None
        With the arbiter's word; None if another monitor has recorded the look, or a person has reset or muted an
        alarm meanwhile: the window is looked at again then, if it is still to be.
    """
    request, spec, now = _as_request(pipeline, checked), pipeline.spec.triggers, utc_now()
    labels = None
    if request is not None and request.as_of is not None:
        labels = count_new_labels(settings.home, pipeline.name, registry, spec, moment=request.as_of, now=now)

    def record() -> Taken | None:
        with registry.database.write() as session:
            taken = None
            if request is not None:
                taken = take_within(session, request, spec=spec, now=now, n_new_labels=labels)
            if checked.look != "labels":
                _let_pages_go(session, pipeline.name)
            _record(session, pipeline, _settle(checked, taken), n_refused_in_all, now)
            session.flush()
            return taken

    try:
        return _settle(checked, keep_asking(record))
    except (IntegrityError, WindowJudged):
        return None


def _record(session: Session, pipeline: Pipeline, checked: CheckedWindow, n_refused_in_all: int, now: datetime) -> None:
    measured, judged = checked.measured, checked.judged
    told: dict[str, Any] = {
        "revision": checked.revision,
        "state": judged.memory.state.model_dump(mode="json"),
        "closed": closing_reasons(judged),
        "owner": pipeline.spec.owner,
        "now": now,
    }
    if checked.look == "labels":
        row = find_window(session, pipeline.name, (measured.start, measured.stop))
        if row is None or row.labels_checked_at is not None:
            raise WindowJudged(pipeline.name, measured.start)
        record_labels(session, write_window(row, checked), alarms=raised_alarms(judged, LABEL_KINDS), **told)
        return
    row = WindowRow(
        model=pipeline.name,
        start=measured.start,
        stop=measured.stop,
        version=checked.version,
        n_rows=measured.n_rows,
        n_labelled=0,
        outcome="",
        reason="",
        checked_at=now,
        labels_checked_at=now if checked.look == "both" else None,
        findings={N_REFUSED: n_refused_in_all},
    )
    record_window(session, write_window(row, checked), alarms=raised_alarms(judged), **told)


def _settle(checked: CheckedWindow, taken: Taken | None) -> CheckedWindow:
    """Add the arbiter's word; where no training came of it, what the policy has added up stays."""
    policy = checked.policy
    if policy is not None and taken is not None and taken.outcome == "suppress":
        policy = policy.put_off()
    return replace(checked, taken=taken, policy=policy)


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
