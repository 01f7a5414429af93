"""What a window calls for: the word and the sentence that are kept of it, and which training it asks for."""

from __future__ import annotations

from dataclasses import dataclass
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
    """Draw the conclusion from all that was said of a window; a pure function.

    Broken data asks for no training, whatever the loss. Where labels are known, the loss decides: by the cost-aware
    policy, when what a training would have spared has added up to its price; by the policy *level*, when the loss is
    above its limit. Columns that moved ask for a training only where no labels tell whether the loss holds.
    """
    performance, verdict = measured.performance, judged.triage.verdict
    moved, held = _describe_drift(measured), _describe_loss(performance)
    why = "; ".join(judged.triage.reasons[:2])
    if measured.drift is None:
        return Conclusion("too few rows", f"{measured.n_rows:,} rows, expected at least {monitor.min_rows:,}")
    if verdict == "broken data":
        return Conclusion("broken data", f"{why}; {held}")
    limit = monitor.max_loss_increase
    if triggers.policy == "level":
        increase = performance.increase
        if increase is not None and increase > limit:
            return Conclusion("performance", f"{held} (limit {limit:+.1%}); {moved}", "performance")
    elif policy is not None and policy.decision.retrain:
        return Conclusion("performance", f"{policy.decision.reason}; {held}; {moved}", "performance")
    if verdict == "changed world":
        if policy is None and not (triggers.policy == "level" and performance.n_labelled >= monitor.min_rows):
            return Conclusion("drift", f"{why}; {held}; {_describe_estimate(measured)}", "drift")
        told = "" if policy is None else f"; {policy.decision.reason}"
        return Conclusion("changed world", f"{why}; {held}{told}")
    if performance.missing is not None:
        return Conclusion("labels missing", f"{performance.missing}; {held}; {moved}")
    if verdict == "harmless":
        return Conclusion("harmless", f"{why}; {held}")
    return Conclusion("healthy", f"{held}; {moved}")


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
