"""What a window calls for: the word and the sentence that are kept of it, and which training it asks for."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Literal

from base.monitor_spec import MonitorSpec
from base.references import Trigger
from base.triggers_spec import TriggersSpec
from monitoring.judgement import JudgedWindow
from monitoring.performance import PerformanceReport, explain_trust
from monitoring.policies.live import PolicyOutcome
from monitoring.windows import MeasuredWindow

Outcome = Literal[
    "healthy", "harmless", "drift", "performance", "changed world", "broken data", "labels missing", "too few rows"
]


@dataclass(frozen=True)
class Conclusion:
    """A window in a word and in a sentence; ``asks`` is the kind of training that it asks for."""

    outcome: Outcome
    reason: str
    asks: Trigger | None = None


def conclude(
    measured: MeasuredWindow,
    judged: JudgedWindow,
    policy: PolicyOutcome | None,
    *,
    monitor: MonitorSpec,
    triggers: TriggersSpec,
) -> Conclusion:
    """Draw the conclusion from all that was said of a window, traffic and labels; a pure function.

    Broken data asks for no training, whatever the loss. Where labels are known, the loss decides: by the cost-aware
    policy, when what a training would have spared has added up to its price; by the policy *level*, when the loss is
    above its limit; by *sequential*, while the alarm stands that it has risen; by *none*, nothing asks. Columns that
    moved ask for a training only where no labels tell whether the loss holds.
    """
    concluded = _conclude(measured, judged, policy, monitor=monitor, triggers=triggers)
    return replace(concluded, asks=None) if triggers.policy == "none" else concluded


def _conclude(
    measured: MeasuredWindow,
    judged: JudgedWindow,
    policy: PolicyOutcome | None,
    *,
    monitor: MonitorSpec,
    triggers: TriggersSpec,
) -> Conclusion:
    performance, verdict = measured.performance, judged.triage.verdict
    moved, held = _describe_drift(measured), _describe_loss(performance)
    why = "; ".join(judged.triage.reasons[:2])
    if measured.drift is None:
        return Conclusion("too few rows", _describe_lack(measured, monitor))
    if verdict == "broken data":
        return Conclusion("broken data", f"{why}; {held}")
    limit = monitor.max_loss_increase
    if triggers.policy == "level":
        increase = performance.increase
        if increase is not None and increase > limit:
            return Conclusion("performance", f"{held} (limit {limit:+.1%}); {moved}", "performance")
    elif triggers.policy == "sequential":
        alarm = judged.judgement.find("performance")
        if alarm is not None:
            return Conclusion("performance", f"{alarm.reason}; {held}; {moved}", "performance")
    elif policy is not None and policy.decision.retrain:
        return Conclusion("performance", f"{policy.decision.reason}; {held}; {moved}", "performance")
    if verdict == "changed world":
        is_judged = not triggers.policy.startswith("cost-aware") and performance.n_labelled >= monitor.min_rows
        if policy is None and not is_judged:
            return Conclusion("drift", f"{why}; {held}; {_describe_estimate(measured)}", "drift")
        told = "" if policy is None else f"; {policy.decision.reason}"
        return Conclusion("changed world", f"{why}; {held}{told}")
    if performance.missing is not None:
        return Conclusion("labels missing", f"{performance.missing}; {held}; {moved}")
    if verdict == "harmless":
        return Conclusion("harmless", f"{why}; {held}")
    return Conclusion("healthy", f"{held}; {moved}")


def conclude_traffic(
    measured: MeasuredWindow, judged: JudgedWindow, *, monitor: MonitorSpec, labels_due: datetime
) -> Conclusion:
    """Draw the conclusion from a window's traffic, while its labels are waited for; a pure function.

    It asks for no training, whatever was found: one that began now would know none of this window's labels, and those
    of earlier windows have been weighed already. Where labels never come, :func:`conclude` asks once they were due.
    """
    verdict = judged.triage.verdict
    why, wait = "; ".join(judged.triage.reasons[:2]), tell_labels_due(labels_due)
    if measured.drift is None:
        return Conclusion("too few rows", f"{_describe_lack(measured, monitor)}; {wait}")
    if verdict == "broken data":
        return Conclusion("broken data", f"{why}; {wait}")
    if verdict == "changed world":
        return Conclusion("drift", f"{why}; {_describe_estimate(measured)}; {wait}")
    if verdict == "harmless":
        return Conclusion("harmless", f"{why}; {wait}")
    return Conclusion("healthy", f"{_describe_drift(measured)}; {wait}")


def tell_labels_due(moment: datetime) -> str:
    """Say when a window's labels have had time to come.

    Examples
    --------
    >>> tell_labels_due(datetime(2013, 5, 6))
    'labels due on 2013-05-06 00:00 UTC'
    """
    return f"labels due on {moment:%Y-%m-%d %H:%M} UTC"


def _describe_lack(measured: MeasuredWindow, monitor: MonitorSpec) -> str:
    return f"{measured.n_rows:,} rows, expected at least {monitor.min_rows:,}"


def _describe_drift(measured: MeasuredWindow) -> str:
    report = measured.report
    if report is None:
        return "drift not measured"
    moved = f"{len(report.drifted)} of {len(report.features)} features drifted"
    if report.drifted:
        moved += f" ({', '.join(report.drifted[:3])}{', …' if len(report.drifted) > 3 else ''})"
    return moved


def _describe_loss(performance: PerformanceReport) -> str:
    if performance.increase is None:
        return "no labels yet"
    of_all = f" of {performance.n_matured:,}" if performance.n_matured > performance.n_labelled else ""
    return (
        f"{performance.loss} {performance.metrics[performance.loss]:.4f} "
        f"on {performance.n_labelled:,}{of_all} labelled rows, "
        f"{performance.increase:+.1%} against {performance.expected:.4f} at promotion"
    )


def _describe_estimate(measured: MeasuredWindow) -> str:
    return "the loss was not estimated" if measured.estimate is None else explain_trust(measured.estimate)
