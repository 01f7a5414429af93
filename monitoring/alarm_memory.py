"""Between the registry and the judgement: what is stored of alarms, as the pure functions take it, and back."""

from __future__ import annotations

from collections.abc import Collection
from datetime import timedelta

from monitoring.alarms.alarm import Alarm, AlarmKind, AlarmState, Judgement, Mute, Standout
from monitoring.alarms.quiet_history import QuietHistory, QuietWindow
from monitoring.judgement import AlarmMemory, JudgedWindow
from registry.alarms import Memory, RaisedAlarm
from registry.tables import WindowRow


def recall(memory: Memory) -> AlarmMemory:
    """Turn what :func:`registry.alarms.read_memory` read into what :func:`monitoring.judgement.judge_window` takes."""
    return AlarmMemory(
        state=AlarmState.model_validate(memory.state),
        history=QuietHistory(tuple(_recall_window(row) for row in memory.quiet)),
        mutes=tuple(Mute(column=each.feature, kind=each.kind, until=each.until) for each in memory.mutes),
        revision=memory.revision,
    )


def describe_judged(row: WindowRow, judged: JudgedWindow) -> WindowRow:
    """Write into a window's row what was judged of it."""
    row.verdict = judged.triage.verdict
    row.is_quiet = judged.is_quiet
    row.measured = dict(judged.judgement.values)
    row.findings = {
        "alarms": [alarm.model_dump(mode="json") for alarm in judged.judgement.alarms],
        "standouts": [each.model_dump(mode="json") for each in judged.judgement.standouts],
        "is_learning": judged.judgement.is_learning,
        "level": judged.judgement.level,
        "charged": judged.judgement.charged,
        "triage": judged.triage.model_dump(mode="json"),
    }
    return row


def recall_judged(row: WindowRow) -> Judgement:
    """Turn what the first look has left in a window's row into what :func:`monitoring.judgement.judge_labels` takes."""
    found, columns = row.findings, row.drift.get("columns", ())
    return Judgement(
        alarms=tuple(Alarm.model_validate(each) for each in found["alarms"]),
        standouts=tuple(Standout.model_validate(each) for each in found["standouts"]),
        values={name: float(value) for name, value in row.measured.items() if value is not None},
        n_features=sum(column["role"] == "feature" for column in columns),
        is_learning=found["is_learning"],
        level=found["level"],
        charged=found["charged"],
    )


def raised_alarms(judged: JudgedWindow, kinds: Collection[AlarmKind] | None = None) -> list[RaisedAlarm]:
    """List the alarms of a window as the registry takes them: all, or those of some kinds."""
    return [
        RaisedAlarm(
            kind=alarm.kind,
            columns=alarm.columns,
            severity=alarm.severity,
            reason=alarm.reason,
            evidence=alarm.evidence,
            p_adjusted=alarm.p_adjusted,
        )
        for alarm in judged.judgement.alarms
        if kinds is None or alarm.kind in kinds
    ]


def closing_reasons(judged: JudgedWindow) -> dict[str, str]:
    """Say why each kind of alarm is over that a window closes."""
    return {
        each.kind: f"{each.n_clear} windows did not show it any more"
        if each.n_clear
        else "another version of the model is judged now"
        for each in judged.judgement.closed
    }


def _recall_window(row: WindowRow) -> QuietWindow:
    length: timedelta = row.stop - row.start
    values = {name: float(value) for name, value in row.measured.items() if value is not None}
    return QuietWindow(row.start, length, values, row.version)
