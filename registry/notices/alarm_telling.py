"""What alarms say, as happenings: raised, spread, over, and the drift behind them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from base.fingerprint import digest_document
from base.receivers import Severity
from registry.notices.happening import Happening
from registry.notices.phrasing import as_line, cut_text, name_window, tell_of
from registry.tables import AlarmRow, Decision

_ALARM_SEVERITY: dict[str, Severity] = {"low": "notice", "medium": "warning", "high": "critical"}
_DRIFT = ("drift", "prediction drift", "label drift")


def tell_alarm(decision: Decision, alarm: AlarmRow | None) -> tuple[Happening, ...]:
    """Say what the ledger says of an alarm; where it is one of drift, that is another happening for programs."""
    if not decision.outcome.endswith(" raised"):
        return ()
    evidence = decision.evidence
    kind, columns = str(evidence.get("kind", "")), list(evidence.get("columns", ()))
    verdict = str(evidence.get("verdict") or "")
    named = f" in {', '.join(columns)}" if columns else ""
    raised = tell_of(
        decision,
        "alarm.raised",
        f"an alarm about {kind}{named}",
        f"An alarm about {kind}{named} was raised{name_window(evidence)}."
        + (f" It looks like {verdict}." if verdict else ""),
        severity=_ALARM_SEVERITY.get("" if alarm is None else alarm.severity, "warning"),
        topic=f"alarm/{kind}",
        sign=_sign_alarm(columns, verdict, "" if alarm is None else alarm.severity),
        details={
            "alarm": evidence.get("alarm"),
            "alarm_kind": kind,
            "columns": columns,
            "verdict": verdict,
            "window": evidence.get("window"),
            "p_adjusted": evidence.get("p_adjusted"),
        },
    )
    return (raised, tell_drift(decision, decision.reason, evidence)) if kind in _DRIFT else (raised,)


def tell_alarm_growth(alarm: AlarmRow, added: Sequence[str]) -> Happening:
    """Say that an alarm, open already, has come to hold more columns."""
    return Happening(
        kind="alarm.raised",
        pipeline=alarm.model,
        title=as_line(f"{alarm.model}: the alarm about {alarm.kind} has spread to {', '.join(added)}"),
        text=cut_text(
            f"The alarm about {alarm.kind} of {alarm.raised_at:%Y-%m-%d %H:%M} UTC is open, and holds "
            f"{', '.join(alarm.columns)} now.\nWhy: {alarm.reason or 'no reason was given'}"
        ),
        severity=_ALARM_SEVERITY.get(alarm.severity, "warning"),
        key=f"alarm/{alarm.id}/{len(alarm.columns)}",
        at=alarm.seen_at,
        link=f"/v1/models/{alarm.model}",
        topic=f"alarm/{alarm.kind}",
        sign=_sign_alarm(alarm.columns, alarm.verdict, alarm.severity),
        details={"alarm": alarm.id, "alarm_kind": alarm.kind, "columns": alarm.columns, "verdict": alarm.verdict},
    )


def tell_alarm_end(alarm: AlarmRow) -> Happening:
    """Say that an alarm is over."""
    columns = f" of {', '.join(alarm.columns)}" if alarm.columns else ""
    return Happening(
        kind="alarm.closed",
        pipeline=alarm.model,
        title=as_line(f"{alarm.model}: the alarm about {alarm.kind} is over"),
        text=cut_text(
            f"The alarm about {alarm.kind}{columns} was raised on {alarm.raised_at:%Y-%m-%d %H:%M} UTC and seen in "
            f"{alarm.n_windows} {'window' if alarm.n_windows == 1 else 'windows'}.\n"
            f"Why it is over: {alarm.closed_because or 'no reason was given'}"
        ),
        severity="notice",
        key=f"alarm/{alarm.id}/closed",
        at=alarm.closed_at or alarm.seen_at,
        link=f"/v1/models/{alarm.model}",
        details={"alarm": alarm.id, "alarm_kind": alarm.kind, "columns": alarm.columns},
    )


def tell_drift(decision: Decision, reason: str, evidence: Mapping[str, Any]) -> Happening:
    """Say that a window drifted; its alarm and the training that it asks for are the same piece of news."""
    window = evidence.get("window")
    drift = tell_of(
        decision,
        "drift.detected",
        "the data drifted",
        f"Drift was found{name_window(evidence)}.",
        details={"window": window, "columns": evidence.get("columns"), "drift": evidence.get("drift")},
    )
    told = {"text": cut_text(f"{drift.text.partition('Why: ')[0]}Why: {reason or decision.reason}")}
    if not window:
        return drift.model_copy(update=told | {"key": f"{drift.key}/drift"})
    return drift.model_copy(update=told | {"key": f"drift/{decision.pipeline}/{'/'.join(map(str, window))}"})


def _sign_alarm(columns: Sequence[str], verdict: str, severity: str) -> str:
    return digest_document([sorted(columns), verdict, severity])
