"""Judge a window by its traffic, and by its labels: what stands out beyond chance and custom, is confirmed, or over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from base.monitor_spec import MonitorSpec
from monitoring.alarms.alarm import (
    Alarm,
    AlarmKind,
    AlarmState,
    Judgement,
    LookMemory,
    Mute,
    OpenAlarm,
    Severity,
    Standout,
)
from monitoring.alarms.budget import split_budget
from monitoring.alarms.loss_alarm import judge_losses
from monitoring.alarms.loss_bets import NO_FORTUNES, LossSample
from monitoring.alarms.measures import Measure, WindowFacts, list_label_measures, list_measures, measure_lack
from monitoring.alarms.multiplicity import adjust_family
from monitoring.alarms.quiet_history import (
    FEWEST_WINDOWS,
    RATE,
    QuietHistory,
    chance_of_effect,
    chance_of_so_few,
)

if TYPE_CHECKING:
    from monitoring.drift.findings import DriftReport

# Before anybody knows what is usual here, only what is several times as large as what is worth a word counts.
_GROSS = 5.0
# How many windows without it an open alarm outlives.
_CLEAR_WINDOWS = 2
_HIGH_EFFECT = 0.5
# Labels that stay away are told by the label coverage's own test, which gives no p-value.
_CERTAIN = 0.0
_MOST_NAMED = 3


def judge_traffic(
    report: DriftReport | None,
    facts: WindowFacts,
    history: QuietHistory,
    spec: MonitorSpec,
    *,
    windows_per_quarter: float,
    state: AlarmState,
    mutes: Sequence[Mute] = (),
) -> Judgement:
    """Judge a window by what was measured in its traffic; a pure function.

    A measure stands out where it is beyond chance (its p-value, which knows how many rows there are), beyond custom
    (the quiet history, which knows season and autocorrelation), after counting how many were looked at (Holm), at the
    level that the budget leaves one window, and where its effect is worth a word. The larger of the two p-values
    counts, so that the chance of a false alarm is within the budget if *either* is right.

    Parameters
    ----------
    report : DriftReport, optional
        None where too few rows came.
    windows_per_quarter : float
        As :func:`monitoring.alarms.budget.count_windows` counts them.
    state : AlarmState
        As the look at the window before left it.

    Returns
    -------
    Judgement
        Whose ``state`` is for the next look at a window.
    """
    level = split_budget(spec.false_alarms, windows_per_quarter).columns
    muted = (*mutes, *(Mute(column=name) for name in spec.mute))
    known = state.traffic.of_version(facts.version)
    measures = _with_lack(list_measures(report, facts, min_effect=spec.min_effect), facts, history)
    standouts, shown = _find_standouts(
        measures, facts, history, spec, level=level * 10**-state.strictness, shown=known.shown, muted=muted
    )
    alarms, closed, memory = _follow(state.traffic, _raise_alarms(standouts), facts, shown)
    return Judgement(
        alarms=alarms,
        standouts=standouts,
        closed=closed,
        values={each.name: each.beyond_chance for each in measures} | {RATE: facts.rows_per_hour},
        n_features=0 if report is None else len(report.features),
        is_learning=len(history.windows) < FEWEST_WINDOWS,
        level=level,
        state=state.model_copy(update={"traffic": memory}),
    )


def judge_labels(
    report: DriftReport | None,
    facts: WindowFacts,
    history: QuietHistory,
    spec: MonitorSpec,
    *,
    windows_per_quarter: float,
    state: AlarmState,
    mutes: Sequence[Mute] = (),
    losses: LossSample | None = None,
) -> Judgement:
    """Judge a window by its matured labels, as :func:`judge_traffic` does by its traffic; a pure function.

    Parameters
    ----------
    report : DriftReport, optional
        With a finding about the label; None where too few rows came.
    losses : LossSample, optional
        Of the window's matured rows; None where no labels are known.
    """
    levels = split_budget(spec.false_alarms, windows_per_quarter)
    muted = (*mutes, *(Mute(column=name) for name in spec.mute))
    known = state.labels.of_version(facts.version)
    measures = list_label_measures(report, min_effect=spec.min_effect)
    standouts, shown = _find_standouts(
        measures, facts, history, spec, level=levels.labels * 10**-state.strictness, shown=known.shown, muted=muted
    )
    found = _raise_alarms(standouts)
    if facts.missing_labels is not None and not _is_muted("missing labels", muted, facts.stop):
        found["missing labels"] = Alarm(
            kind="missing labels", severity="medium", reason=facts.missing_labels, p_adjusted=_CERTAIN
        )
    values = {each.name: each.beyond_chance for each in measures}
    fortunes = state.fortunes if known is state.labels else NO_FORTUNES
    if losses is not None and losses.increase is not None:
        fortunes, alarm = judge_losses(losses, facts, history, spec, level=levels.loss, fortunes=fortunes)
        values["loss"] = losses.increase
        if alarm is not None and not _is_muted("performance", muted, facts.stop):
            found["performance"] = alarm
    alarms, closed, memory = _follow(state.labels, found, facts, shown)
    return Judgement(
        alarms=alarms,
        standouts=standouts,
        closed=closed,
        values=values,
        level=levels.labels,
        state=state.model_copy(update={"labels": memory, "fortunes": fortunes}),
    )


def _find_standouts(
    measures: Sequence[Measure],
    facts: WindowFacts,
    history: QuietHistory,
    spec: MonitorSpec,
    *,
    level: float,
    shown: Mapping[str, tuple[bool, ...]],
    muted: Sequence[Mute],
) -> tuple[tuple[Standout, ...], dict[str, tuple[bool, ...]]]:
    """Find what stands out of measures that are looked at together, and note it beside the windows before."""
    heard = [each for each in measures if not any(mute.covers(each.kind, each.column, facts.stop) for mute in muted)]
    adjusted = adjust_family({each.name: _chance(each, facts, history) for each in heard})
    standing = {each.name for each in heard if _stands_out(each, adjusted[each.name], level, spec)}
    noted = _remember(shown, standing, {each.name for each in heard}, spec.confirm.among)
    standouts = tuple(
        Standout(
            name=each.name,
            column=each.column,
            aspect=each.aspect,
            kind=each.kind,
            effect=each.effect,
            p_adjusted=adjusted[each.name],
            text=each.text,
            is_confirmed=each.kind == "broken data" or sum(noted[each.name]) >= spec.confirm.needed,
        )
        for each in heard
        if each.name in standing
    )
    return standouts, noted


def _with_lack(measures: list[Measure], facts: WindowFacts, history: QuietHistory) -> list[Measure]:
    rates = history.past_rates(start=facts.start, length=facts.length)
    return [*measures, measure_lack(facts, float(np.median(rates)))] if len(rates) >= FEWEST_WINDOWS else measures


def _chance(measure: Measure, facts: WindowFacts, history: QuietHistory) -> float:
    if measure.aspect == "rows":
        past = history.past_rates(start=facts.start, length=facts.length)
        usual = chance_of_so_few(facts.rows_per_hour, past)
    else:
        past = history.past_values(measure.name, before=facts.start)
        # What is measured only where it occurs (a new category, a refusal, another unit) was nothing in other windows.
        past = np.concatenate([past, np.zeros(max(0, len(history.windows) - len(past)))])
        usual = chance_of_effect(measure.effect, past, floor=measure.floor)
    if usual is None:
        return measure.p_value if measure.effect >= _GROSS * measure.floor else 1.0
    return max(measure.p_value, usual)


def _stands_out(measure: Measure, p_adjusted: float, level: float, spec: MonitorSpec) -> bool:
    limit = spec.threshold_of(measure.column) if measure.column is not None and measure.aspect == "values" else None
    if limit is not None and measure.effect >= limit:
        return True
    return p_adjusted <= level and measure.effect >= measure.floor


def _remember(
    shown: Mapping[str, tuple[bool, ...]], standing: set[str], names: set[str], among: int
) -> dict[str, tuple[bool, ...]]:
    """Add this window to what the last ones showed; what never stood out in them is not kept."""
    longer = {name: (*shown.get(name, ()), name in standing)[-among:] for name in names | set(shown)}
    return {name: flags for name, flags in longer.items() if any(flags)}


def _raise_alarms(standouts: Sequence[Standout]) -> dict[AlarmKind, Alarm]:
    found: dict[AlarmKind, Alarm] = {}
    for kind in dict.fromkeys(each.kind for each in standouts if each.is_confirmed):
        own = sorted(
            (each for each in standouts if each.kind == kind and each.is_confirmed),
            key=lambda each: (each.p_adjusted, -each.effect),
        )
        more = f"; and {len(own) - _MOST_NAMED} more" if len(own) > _MOST_NAMED else ""
        largest = max(each.effect for each in own)
        severity: Severity = "high" if kind == "broken data" or largest >= _HIGH_EFFECT else "medium"
        found[kind] = Alarm(
            kind=kind,
            columns=tuple(dict.fromkeys(each.column for each in own if each.column is not None)),
            severity=severity,
            reason="; ".join(each.text for each in own[:_MOST_NAMED]) + more,
            evidence={
                each.name: {
                    "aspect": each.aspect,
                    "effect": each.effect,
                    "p_adjusted": each.p_adjusted,
                    "text": each.text,
                }
                for each in own
            },
            p_adjusted=own[0].p_adjusted,
        )
    return found


def _is_muted(kind: AlarmKind, mutes: Sequence[Mute], now: datetime) -> bool:
    return any(mute.column is None and mute.covers(kind, None, now) for mute in mutes)


def _follow(
    before: LookMemory, found: Mapping[AlarmKind, Alarm], facts: WindowFacts, shown: dict[str, tuple[bool, ...]]
) -> tuple[tuple[Alarm, ...], tuple[OpenAlarm, ...], LookMemory]:
    """Carry open alarms on: those seen again stay, those not seen for two windows, or of another version, are over."""
    is_same = before.version == facts.version
    known = {each.kind: each for each in before.open} if is_same else {}
    still_open: list[OpenAlarm] = []
    closed: list[OpenAlarm] = [] if is_same else [*before.open]
    for kind, alarm in found.items():
        since = known[kind].since if kind in known else facts.start
        columns = tuple(dict.fromkeys((*(known[kind].columns if kind in known else ()), *alarm.columns)))
        still_open.append(OpenAlarm(kind=kind, columns=columns, since=since, last_seen=facts.start))
    for kind, each in known.items():
        if kind in found:
            continue
        older = each.model_copy(update={"n_clear": each.n_clear + 1})
        (closed if older.n_clear >= _CLEAR_WINDOWS else still_open).append(older)
    alarms = tuple(alarm.model_copy(update={"is_new": kind not in known}) for kind, alarm in found.items())
    return alarms, tuple(closed), LookMemory(version=facts.version, shown=shown, open=tuple(still_open))
