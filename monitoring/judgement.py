"""One window judged whole: alarms, triage and the state for the next window, from plain inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from base.monitor_spec import MonitorSpec
from monitoring.alarms.alarm import Alarm, AlarmState, Judgement, Mute
from monitoring.alarms.budget import adapt, count_windows
from monitoring.alarms.judging import judge_drift
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import FEWEST_WINDOWS, QuietHistory, QuietWindow
from monitoring.triage.verdict import LossOutlook, Triage, triage

if TYPE_CHECKING:
    from monitoring.drift.findings import DriftReport

_ASPECTS_OF_CHANCE = {"values", "unit", "new", "missing", "gap", "together"}


@dataclass(frozen=True)
class AlarmMemory:
    """What is known before a window is judged: as :func:`registry.alarms.read_memory` reads it."""

    state: AlarmState = field(default_factory=AlarmState)
    history: QuietHistory = field(default_factory=QuietHistory)
    mutes: tuple[Mute, ...] = ()


@dataclass(frozen=True)
class JudgedWindow:
    """What is said of a window, and what is known before the next one is judged."""

    judgement: Judgement
    triage: Triage
    is_quiet: bool
    memory: AlarmMemory


def judge_window(
    facts: WindowFacts,
    report: DriftReport | None,
    spec: MonitorSpec,
    memory: AlarmMemory,
    *,
    losses: LossSample | None = None,
    estimated_increase: float | None = None,
    importances: Mapping[str, float] | None = None,
    rehearsed: QuietHistory | None = None,
    windows_per_quarter: float | None = None,
) -> JudgedWindow:
    """Judge one window: raise alarms within the budget, and say what is behind them; a pure function.

    The same arguments give the same answer, so that a backtest judges as the monitor did.

    Parameters
    ----------
    facts : WindowFacts
        When the window was, how many rows came and were refused, what broke the contract, which version is judged.
    report : DriftReport, optional
        Its columns beside the reference; None where too few rows came.
    memory : AlarmMemory
        As the window before left it.
    losses : LossSample, optional
        The losses of its matured, labelled rows.
    estimated_increase : float, optional
        Without labels: the lower end of the interval of the estimated increase; None where it cannot be trusted.
    importances : mapping of str to float, optional
        By feature, how much the loss rises when it is shuffled.
    rehearsed : QuietHistory, optional
        As :func:`monitoring.alarms.rehearsal.rehearse` made it of the version's reference: what is usual here before
        any window has shown it.
    windows_per_quarter : float, optional
        Default: from the window's length, or from how long the last windows of rows lasted.

    Returns
    -------
    JudgedWindow
        Whose ``memory`` is for the next window. A window is quiet, and becomes a part of what is usual here, unless
        it is broken or asks for a training; in the first windows, unless it is broken or the loss has risen.
    """
    if windows_per_quarter is None:
        windows_per_quarter = count_windows(spec, [window.length for window in memory.history.windows])
    judgement = judge_drift(
        report,
        facts,
        _known_windows(memory.history, rehearsed),
        spec,
        windows_per_quarter=windows_per_quarter,
        state=memory.state,
        mutes=memory.mutes,
        losses=losses,
    )
    outlook = LossOutlook(
        n_labelled=0 if losses is None else len(losses.losses),
        increase=None if losses is None else losses.increase,
        estimated_increase=estimated_increase,
    )
    found = triage(
        judgement,
        facts,
        spec,
        outlook=outlook,
        importances=importances,
        unit_ratios=_unit_ratios(report),
        constant=() if report is None or judgement.is_learning else _constant_columns(report),
    )
    # Where all windows differ from the reference, as in another season, none would ever be quiet.
    is_lesson = len(memory.history.windows) < FEWEST_WINDOWS and judgement.find("performance") is None
    is_quiet = found.verdict in ("quiet", "harmless") or (found.verdict == "changed world" and is_lesson)
    # What waits for a second window to confirm it would be custom by then.
    is_quiet = is_quiet and all(each.is_confirmed for each in judgement.standouts)
    history = memory.history
    if is_quiet:
        history = QuietHistory((*history.windows, QuietWindow(facts.start, facts.length, judgement.values)))
    is_false = found.verdict != "changed world" and any(_is_of_chance(alarm) for alarm in judgement.alarms)
    strictness = adapt(judgement.state.strictness, judgement.level, is_false=is_false)
    state = judgement.state.model_copy(update={"strictness": strictness})
    return JudgedWindow(judgement, found, is_quiet, AlarmMemory(state, history, memory.mutes))


def _known_windows(history: QuietHistory, rehearsed: QuietHistory | None) -> QuietHistory:
    return history if rehearsed is None else QuietHistory((*rehearsed.windows, *history.windows))


def _is_of_chance(alarm: Alarm) -> bool:
    """Tell a new alarm that rests on a p-value from one of plain facts, such as a column that is gone."""
    if not alarm.is_new or alarm.kind in ("performance", "missing labels"):
        return False
    return any(each["aspect"] in _ASPECTS_OF_CHANCE for each in alarm.evidence.values())


def _constant_columns(report: DriftReport) -> set[str]:
    return {each.column for each in report.skew if each.kind == "constant"}


def _unit_ratios(report: DriftReport | None) -> dict[str, float]:
    columns = () if report is None else report.features
    return {each.column: each.unit_ratio for each in columns if each.unit_ratio is not None}
