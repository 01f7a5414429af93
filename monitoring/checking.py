"""Check one window of served traffic, in two looks: measured, judged and concluded, from a store and nothing else."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from base.artifacts import Artifact
from base.pipeline import Pipeline
from monitoring.alarms.alarm import Judgement
from monitoring.conclusion import Conclusion, conclude, conclude_traffic, tell_labels_due
from monitoring.cutting import Look, Span
from monitoring.judgement import AlarmMemory, JudgedWindow, judge_labels, judge_traffic
from monitoring.monitored_version import MonitoredVersion
from monitoring.performance import Estimate
from monitoring.policies.live import PolicyOutcome, ask_policy
from monitoring.requests import Taken
from monitoring.store import MonitorStore
from monitoring.windows import MeasuredWindow, WindowRows, measure_labels, measure_traffic, read_rows


@dataclass(frozen=True)
class CheckedWindow:
    """What was measured and said of a window, and what became of the training that it asked for.

    ``labels_due`` is when its labels will be looked at, after a look at the traffic alone. ``revision`` is that of the
    memory by which it was judged; ``page`` and ``taken`` are known once it is recorded.
    """

    look: Look
    measured: MeasuredWindow
    judged: JudgedWindow
    policy: PolicyOutcome | None
    conclusion: Conclusion
    version: int | None
    revision: int = 0
    labels_due: datetime | None = None
    page: Artifact | None = None
    taken: Taken | None = None

    @property
    def decision(self) -> tuple[str, str]:
        """The arbiter's word and its reason; *none* where nothing called for a training."""
        if self.taken is not None:
            return self.taken.outcome, self.taken.reason
        if self.labels_due is not None:
            return "none", tell_labels_due(self.labels_due)
        return "none", "nothing calls for a training"


def check_traffic(
    pipeline: Pipeline,
    version: MonitoredVersion,
    store: MonitorStore,
    span: Span,
    *,
    is_newest: bool = True,
    with_page: bool = False,
) -> CheckedWindow:
    """Look at a window's traffic, before its labels: what moved, what is broken, what was refused.

    The parameters are those of :func:`check_window`. Nothing is recorded, and no training asked for.
    """
    memory = store.memory(span[0])
    _, measured, first = _look_at_traffic(
        pipeline, version, store, span, memory, is_newest=is_newest, with_page=with_page
    )
    labels_due = span[1] + pipeline.spec.extract.label_delay
    conclusion = conclude_traffic(measured, first, monitor=pipeline.spec.monitor, labels_due=labels_due)
    return CheckedWindow(
        "traffic", measured, first, None, conclusion, version.number, memory.revision, labels_due=labels_due
    )


def check_labels(
    pipeline: Pipeline,
    version: MonitoredVersion,
    store: MonitorStore,
    measured: MeasuredWindow,
    first: Judgement,
    *,
    until: datetime,
    champion: MonitoredVersion | None = None,
) -> CheckedWindow:
    """Look at a window's labels, after its traffic: the loss, the final word, and what it calls for; record nothing.

    Parameters
    ----------
    version : MonitoredVersion
        By which the traffic was judged; its answers are held against the labels.
    measured : MeasuredWindow
    first : Judgement
        As :func:`check_traffic` left them.
    until : datetime
        The moment of the look: what was known of labels by then counts.
    champion : MonitoredVersion, optional
        Where another version serves by now: whether to retrain is asked of that one, and the loss of the one before
        is told and asks for nothing.
    """
    memory = store.memory(measured.start)
    rows = read_rows(version, store, start=measured.start, stop=measured.stop)
    return _look_at_labels(
        pipeline, version, store, rows, measured, first, memory, until=until, champion=champion or version
    )


def check_window(
    pipeline: Pipeline,
    version: MonitoredVersion,
    store: MonitorStore,
    span: Span,
    *,
    until: datetime,
    is_newest: bool = True,
    with_page: bool = False,
) -> CheckedWindow:
    """Check a window whose labels have matured: both looks at once, and what the window calls for; record nothing.

    The same pipeline, version and store give the same answer, so that a backtest checks as the monitor does.

    Parameters
    ----------
    until : datetime
        The moment of the check: what was known of labels by then counts.
    is_newest : bool
        Whether rows that were refused since the last check belong to this window.
    with_page : bool
        Whether Evidently's page is rendered: 4 MB, and seconds.
    """
    # Read first: whatever is recorded of this model from here on makes its revision another.
    memory = store.memory(span[0])
    rows, measured, first = _look_at_traffic(
        pipeline, version, store, span, memory, is_newest=is_newest, with_page=with_page
    )
    checked = _look_at_labels(
        pipeline, version, store, rows, measured, first.judgement, first.memory, until=until, champion=version
    )
    return replace(checked, look="both")


def _look_at_traffic(
    pipeline: Pipeline,
    version: MonitoredVersion,
    store: MonitorStore,
    span: Span,
    memory: AlarmMemory,
    *,
    is_newest: bool,
    with_page: bool,
) -> tuple[WindowRows, MeasuredWindow, JudgedWindow]:
    monitor, (start, stop) = pipeline.spec.monitor, span
    rows = read_rows(version, store, start=start, stop=stop)
    measured = measure_traffic(
        rows,
        version,
        start=start,
        stop=stop,
        min_rows=monitor.min_rows,
        past=store.past_estimates(version),
        n_refused=store.n_refused() if is_newest else 0,
        with_page=with_page,
    )
    first = judge_traffic(
        measured.facts,
        measured.report,
        monitor,
        memory,
        estimated_increase=_estimated_increase(measured.estimate),
        rehearsed=version.rehearsed,
    )
    return rows, measured, first


def _look_at_labels(
    pipeline: Pipeline,
    version: MonitoredVersion,
    store: MonitorStore,
    rows: WindowRows,
    measured: MeasuredWindow,
    first: Judgement,
    memory: AlarmMemory,
    *,
    until: datetime,
    champion: MonitoredVersion,
) -> CheckedWindow:
    spec, span = pipeline.spec, (measured.start, measured.stop)
    delay = spec.extract.label_delay
    measured = measure_labels(
        measured, rows, version, store, until=until, label_delay=delay, slices=spec.evaluate.slices
    )
    judged = judge_labels(
        first,
        measured.facts,
        measured.report,
        spec.monitor,
        memory,
        losses=measured.losses,
        estimated_increase=_estimated_increase(measured.estimate),
    )
    policy = None
    # What broken rows lose is no evidence of age.
    if judged.triage.verdict != "broken data":
        policy = ask_policy(
            measured,
            champion,
            store,
            spec=spec.triggers,
            window=_length(pipeline, span),
            min_rows=spec.monitor.min_rows,
            label_delay=delay,
            answered_by=version.number,
            declared=spec.train.window,
        )
    conclusion = conclude(measured, judged, policy, monitor=spec.monitor, triggers=spec.triggers)
    if champion.number != version.number and not (policy is not None and policy.decision.retrain):
        conclusion = replace(
            conclusion, asks=None, reason=f"{conclusion.reason}; version {champion.number} has taken its place"
        )
    if policy is not None and policy.decision.retrain and conclusion.asks is None:
        # Nobody was asked for a training, and what has added up speaks with the next window.
        policy = policy.put_off()
    return CheckedWindow("labels", measured, judged, policy, conclusion, version.number, memory.revision)


def _estimated_increase(estimate: Estimate | None) -> float | None:
    """Return the least by which the loss is expected to have risen; None where the estimate cannot be trusted."""
    if estimate is None or not estimate.is_trusted or estimate.interval is None or not estimate.reference > 0:
        return None
    return float(estimate.interval[0]) / float(estimate.reference) - 1


def _length(pipeline: Pipeline, span: Span) -> timedelta:
    window = pipeline.spec.monitor.window
    return window if isinstance(window, timedelta) else max(span[1] - span[0], timedelta(seconds=1))
