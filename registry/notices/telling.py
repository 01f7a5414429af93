"""What the ledger and an ended run say, as happenings; pure functions of their rows."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from base.fingerprint import digest_document
from base.receivers import HappeningKind, Severity
from registry.notices.alarm_telling import tell_alarm, tell_drift
from registry.notices.happening import Happening
from registry.notices.phrasing import as_line, cut_text, tell_of
from registry.tables import AlarmRow, Decision, Run

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
        return tell_alarm(decision, alarm)
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
        title=as_line(f"{run.pipeline}: {what}"),
        text=cut_text(f"{started}{at_step}.\nWhy: {run.reason or 'no reason was given'}"),
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


def _tell_trigger(decision: Decision) -> tuple[Happening, ...]:
    evidence = decision.evidence
    if decision.outcome == "give up":
        told = tell_of(
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
        happenings.append(tell_drift(decision, reason, evidence))
    if kind == "missing_data":
        happenings.append(
            tell_of(
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
            tell_of(
                decision,
                "training.requested",
                f"a training is to start ({kind or 'asked for'})",
                f"{decision.actor} asked for a training" + ("." if reason in ("", decision.reason) else f": {reason}."),
                details={"launch": evidence.get("launch"), "trigger": evidence.get("trigger"), "trigger_kind": kind},
            )
        )
    return tuple(happenings)


def _tell_training(decision: Decision) -> Happening | None:
    if decision.outcome != "granted":
        return None
    trigger = decision.evidence.get("inputs", {}).get("trigger")
    what = f"Run {decision.run_id} began, asked for by {trigger or decision.actor}."
    return tell_of(decision, "training.started", "a training began", what, details={"trigger": trigger})


def _tell_data(decision: Decision) -> Happening | None:
    if decision.outcome != "refused":
        return None
    faults = list(decision.evidence.get("faults", ()))
    step = decision.evidence.get("step") or "extract"
    count = f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'}"
    columns = sorted({str(fault["column"]) for fault in faults if fault.get("column")})
    return tell_of(
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
        return tell_of(decision, "approval.asked", title, what, severity="notice", version=version)
    what = f"The approval of version {version}: {decision.outcome}, by {decision.actor}."
    return tell_of(
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
    return tell_of(
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
    return tell_of(decision, "rollout.moved", title, what, severity=severity, details=details)


_TELLERS: Mapping[str, Callable[[Decision], Happening | None]] = {
    "training": _tell_training,
    "data": _tell_data,
    "approval": _tell_approval,
    "promotion": _tell_promotion,
    "rollback": _tell_promotion,
    "rollout": _tell_rollout,
}
