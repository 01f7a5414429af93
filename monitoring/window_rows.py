"""Between a window's row in the registry and what was said of it: written by each look, read by the second."""

from __future__ import annotations

from typing import Any

import pandas as pd

from base.documents import as_document
from monitoring.alarm_memory import describe_judged
from monitoring.alarms.measures import WindowFacts
from monitoring.checking import CheckedWindow
from monitoring.drift import DriftPage, DriftReport
from monitoring.performance import Estimate
from monitoring.windows import MeasuredWindow, await_labels
from registry.manifest import ModelManifest
from registry.tables import WindowRow
from serving.log.frames import empty_traffic

N_REFUSED = "n_refused_in_all"
"""Under this name the findings of a window keep how many rows had ever been refused when its traffic was looked at."""


def write_window(row: WindowRow, checked: CheckedWindow) -> WindowRow:
    """Write into a window's row what a look at it has found; what an earlier one has found beside that stays."""
    measured, policy, before = checked.measured, checked.policy, dict(row.findings)
    if checked.look == "labels":
        before["first_look"] = {"verdict": row.verdict, "outcome": row.outcome, "reason": row.reason}
    row.n_labelled = measured.performance.n_labelled
    row.metrics = measured.performance.metrics
    row.drift = {} if measured.report is None else as_document(measured.report.model_dump(mode="json"))
    row.outcome, row.reason = checked.conclusion.outcome, checked.conclusion.reason
    describe_judged(row, checked.judged)
    told: dict[str, Any] = {
        "performance": measured.performance.model_dump(mode="json"),
        "policy": None if policy is None else policy.model_dump(mode="json") | {"reason": policy.decision.reason},
        "trigger": None if checked.taken is None else checked.taken.trigger_id,
    }
    if checked.look != "labels":
        told["estimate"] = None if measured.estimate is None else measured.estimate.model_dump(mode="json")
        told["page"] = None if checked.page is None else checked.page.model_dump(mode="json")
        told["labels_due"] = checked.labels_due
        told["facts"] = {
            "n_refused": measured.facts.n_refused,
            "impossible": measured.facts.impossible,
            "examples": measured.facts.examples,
        }
    row.findings = as_document({**before, **row.findings, **told})
    return row


def recall_measured(row: WindowRow, manifest: ModelManifest) -> MeasuredWindow:
    """Read what the first look has measured of a window, for :func:`monitoring.checking.check_labels`."""
    facts, estimate = row.findings["facts"], row.findings["estimate"]
    return MeasuredWindow(
        row.start,
        row.stop,
        row.n_rows,
        WindowFacts(
            row.start,
            row.stop,
            row.n_rows,
            row.version,
            n_refused=facts["n_refused"],
            impossible=facts["impossible"],
            examples={column: tuple(rows) for column, rows in facts["examples"].items()},
        ),
        await_labels(manifest),
        empty_traffic(),
        pd.DataFrame(columns=list(manifest.plan.features)),
        drift=DriftPage(DriftReport.model_validate(row.drift), None) if row.drift else None,
        estimate=None if estimate is None else Estimate.model_validate(estimate),
    )
