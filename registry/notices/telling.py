"""What the ledger, an ended run and a closed alarm say, as happenings; pure functions of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from base.fingerprint import digest_document
from base.receivers import HappeningKind, Severity
from registry.notices.happening import Happening
from registry.tables import AlarmRow, Decision, Run

# The ledger keeps every word; a message need not.
_LONGEST_TEXT, _LONGEST_TITLE = 1500, 150

_ALARM_SEVERITY: dict[str, Severity] = {"low": "notice", "medium": "warning", "high": "critical"}
_DRIFT = ("drift", "prediction drift", "label drift")
_ENDS: dict[str, tuple[Severity, str]] = {
    "promoted": ("info", "a training ended with a new champion"),
    "kept": ("info", "a training ended, and the champion stays"),
    "waiting": ("info", "a training ended, and people are asked"),
    "refused": ("info", "a training ended: its data were refused"),
    "failed": ("critical", "a training failed"),
}


def tell_decision(decision: Decision, alarm: AlarmRow | None = None) -> tuple[Happening, ...]:
    """Say what a decision of the ledger means for people and programs outside; nothing, where it means nothing.

    Parameters
    ----------
    alarm : AlarmRow, optional
        The alarm that the decision raised, which knows how grave it is.
    """
    if decision.kind == "alarm":
        return _tell_alarm(decision, alarm)
    if decision.kind == "trigger":
        return _tell_trigger(decision)
    teller = _TELLERS.get(decision.kind)
    told = None if teller is None else teller(decision)
    return () if told is None else (told,)


def tell_end(run: Run) -> Happening:
    """Say how a run ended."""
    severity, what = _ENDS.get(run.status, ("warning", f"a training ended as {run.status}"))
    started = f"Run {run.id} of {run.pipeline!r}, asked for by {run.trigger}, ended as {run.status}"
    at_step = f" at step {run.step}" if run.status == "failed" and run.step else ""
    return Happening(
        kind="training.finished",
        pipeline=run.pipeline,
        title=_line(f"{run.pipeline}: {what}"),
        text=_cut(f"{started}{at_step}.\nWhy: {run.reason or 'no reason was given'}"),
        severity=severity,
        key=f"run/{run.id}/finished",
        at=run.finished_at or run.started_at,
        link=f"/v1/models/{run.pipeline}",
        # A schedule that fails every hour in the same way is one piece of news.
        topic="training",
        sign=digest_document([run.status, run.step, run.reason] if run.status == "failed" else [run.status]),
        run_id=run.id,
        flow_run=run.prefect_run,
        details={"status": run.status, "trigger": run.trigger, "step": run.step},
    )


def tell_alarm_end(alarm: AlarmRow) -> Happening:
    """Say that an alarm is over."""
    columns = f" of {', '.join(alarm.columns)}" if alarm.columns else ""
    return Happening(
        kind="alarm.closed",
        pipeline=alarm.model,
        title=_line(f"{alarm.model}: the alarm about {alarm.kind} is over"),
        text=_cut(
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


def _tell_alarm(decision: Decision, alarm: AlarmRow | None) -> tuple[Happening, ...]:
    if not decision.outcome.endswith(" raised"):
        return ()
    evidence = decision.evidence
    kind, columns = str(evidence.get("kind", "")), list(evidence.get("columns", ()))
    verdict = str(evidence.get("verdict") or "")
    named = f" in {', '.join(columns)}" if columns else ""
    raised = _happening(
        decision,
        "alarm.raised",
        f"an alarm about {kind}{named}",
        f"An alarm about {kind}{named} was raised{_of_window(evidence)}."
        + (f" It looks like {verdict}." if verdict else ""),
        severity=_ALARM_SEVERITY.get("" if alarm is None else alarm.severity, "warning"),
        topic=f"alarm/{kind}",
        sign=digest_document([sorted(columns), verdict, "" if alarm is None else alarm.severity]),
        details={
            "alarm": evidence.get("alarm"),
            "alarm_kind": kind,
            "columns": columns,
            "verdict": verdict,
            "window": evidence.get("window"),
            "p_adjusted": evidence.get("p_adjusted"),
        },
    )
    return (raised, _detect_drift(decision, decision.reason, evidence)) if kind in _DRIFT else (raised,)


def _tell_trigger(decision: Decision) -> tuple[Happening, ...]:
    evidence = decision.evidence
    if decision.outcome == "give up":
        told = _happening(
            decision,
            "training.given_up",
            "a training was given up",
            f"Launch {evidence.get('launch')} never came to an end of its own and is not tried again.",
            severity="critical",
            details={"launch": evidence.get("launch"), "trigger": evidence.get("trigger")},
        )
        return (told,)
    wish: Mapping[str, Any] = evidence.get("inputs", {}).get("wish", {})
    kind, reason = str(wish.get("kind", "")), str(wish.get("reason", ""))
    happenings = []
    if kind == "drift":
        happenings.append(_detect_drift(decision, reason, evidence))
    if kind == "missing_data":
        happenings.append(
            _happening(
                decision,
                "data.missing",
                "expected data did not come",
                f"{reason or 'Data or labels that were expected did not come'}.",
                severity="warning",
                topic="data.missing",
                sign=digest_document(reason),
            )
        )
    if decision.outcome == "start":
        happenings.append(
            _happening(
                decision,
                "training.requested",
                f"a training is to start ({kind or 'asked for'})",
                f"{decision.actor} asked for a training: {reason or 'no reason was given'}.",
                details={"launch": evidence.get("launch"), "trigger": evidence.get("trigger"), "trigger_kind": kind},
            )
        )
    return tuple(happenings)


def _detect_drift(decision: Decision, reason: str, evidence: Mapping[str, Any]) -> Happening:
    """Say that a window drifted; its alarm and the training that it asks for are the same piece of news."""
    window = evidence.get("window")
    drift = _happening(
        decision,
        "drift.detected",
        "the data drifted",
        f"Drift was found{_of_window(evidence)}.",
        details={"window": window, "columns": evidence.get("columns"), "drift": evidence.get("drift")},
    )
    told = {"text": _cut(f"{drift.text.partition('Why: ')[0]}Why: {reason or decision.reason}")}
    if not window:
        return drift.model_copy(update=told | {"key": f"{drift.key}/drift"})
    return drift.model_copy(update=told | {"key": f"drift/{decision.pipeline}/{'/'.join(map(str, window))}"})


def _tell_training(decision: Decision) -> Happening | None:
    if decision.outcome != "granted":
        return None
    trigger = decision.evidence.get("inputs", {}).get("trigger")
    what = f"Run {decision.run_id} began, asked for by {trigger or decision.actor}."
    return _happening(decision, "training.started", "a training began", what, details={"trigger": trigger})


def _tell_data(decision: Decision) -> Happening | None:
    if decision.outcome != "refused":
        return None
    faults = list(decision.evidence.get("faults", ()))
    step = decision.evidence.get("step") or "extract"
    count = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}"
    columns = sorted({str(fault["column"]) for fault in faults if fault.get("column")})
    return _happening(
        decision,
        "data.refused",
        f"data were refused at step {step}",
        f"The data of run {decision.run_id} were refused at step {step} with {count}; the champion stays.",
        severity="warning",
        topic="data.refused",
        sign=digest_document([step, [[fault.get("column"), fault.get("expected")] for fault in faults]]),
        details={"step": step, "faults": len(faults), "columns": columns},
    )


def _tell_approval(decision: Decision) -> Happening | None:
    version = decision.evidence.get("version")
    if decision.outcome == "asked":
        what = f"Version {version} waits for people: somebody must approve it."
        title = f"version {version} waits for approval"
        return _happening(decision, "approval.asked", title, what, severity="notice", version=version)
    what = f"The approval of version {version}: {decision.outcome}, by {decision.actor}."
    return _happening(
        decision,
        "approval.answered",
        f"version {version}: {decision.outcome}",
        what,
        severity="notice",
        version=version,
    )


def _tell_promotion(decision: Decision) -> Happening | None:
    """Say that an alias moved; a champion is news, the alias of somebody's own is for programs."""
    number, previous = decision.evidence.get("number"), decision.evidence.get("previous")
    alias = decision.outcome.partition(" = ")[0]
    is_back = decision.kind == "rollback"
    before = f"instead of version {previous}" if previous else "as the first one"
    what = f"Version {number} is {alias} now, {before}; {decision.actor} " + (
        "went back." if is_back else "promoted it."
    )
    title = f"{'back to' if is_back else 'promoted:'} version {number} ({alias})"
    is_champion = alias.endswith("@champion")
    severity: Severity = "info" if not is_champion else "warning" if is_back else "notice"
    kind: HappeningKind = "model.rolled_back" if is_back else "model.promoted"
    return _happening(
        decision,
        kind,
        title,
        what,
        severity=severity,
        version=number,
        details={"version": number, "previous": previous, "alias": alias},
    )


def _tell_rollout(decision: Decision) -> Happening | None:
    kind = decision.evidence.get("kind")
    is_stopped = decision.outcome.endswith((" stopped", " rolled_back"))
    is_step = not decision.outcome.endswith((" started", " promoted", " finished", " stopped", " rolled_back"))
    what = f"The {kind} with versions {decision.evidence.get('challengers')} beside the champion: {decision.outcome}."
    severity: Severity = "warning" if is_stopped else "info" if is_step else "notice"
    details = {"rollout": decision.evidence.get("rollout"), "shares": decision.evidence.get("shares")}
    title = decision.outcome.replace("_", " ")
    return _happening(decision, "rollout.moved", title, what, severity=severity, details=details)


_TELLERS: Mapping[str, Callable[[Decision], Happening | None]] = {
    "training": _tell_training,
    "data": _tell_data,
    "approval": _tell_approval,
    "promotion": _tell_promotion,
    "rollback": _tell_promotion,
    "rollout": _tell_rollout,
}


def _happening(
    decision: Decision,
    kind: HappeningKind,
    title: str,
    what: str,
    *,
    severity: Severity = "info",
    topic: str = "",
    sign: str = "",
    version: object = None,
    details: Mapping[str, Any] | None = None,
) -> Happening:
    page = "" if version is None else f"/versions/{version}/report"
    return Happening(
        kind=kind,
        pipeline=decision.pipeline,
        title=_line(f"{decision.pipeline}: {title}"),
        text=_cut(f"{what}\nWhy: {decision.reason or 'no reason was given'}"),
        severity=severity,
        key=f"decision/{decision.sequence}/{kind}",
        at=decision.decided_at,
        link=f"/v1/models/{decision.pipeline}{page}",
        topic=topic,
        sign=sign,
        run_id=decision.run_id,
        details={"decision": decision.sequence, "actor": decision.actor, **(details or {})},
    )


def _of_window(evidence: Mapping[str, Any]) -> str:
    window = evidence.get("window")
    return f" in the window {window[0][:16]} to {window[1][:16]}" if window else ""


def _line(text: str) -> str:
    """Return text as one line of printable characters, as a subject or a headline must be."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    return line if len(line) <= _LONGEST_TITLE else line[: _LONGEST_TITLE - 1] + "…"


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
