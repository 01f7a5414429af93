"""One window judged, by its traffic and by its labels: alarms, triage and what to remember, from plain inputs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from base.monitor_spec import MonitorSpec
from monitoring.alarms import judging
from monitoring.alarms.alarm import Alarm, AlarmState, Judgement, Mute
from monitoring.alarms.budget import adapt, count_windows
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import FEWEST_WINDOWS, QuietHistory, QuietWindow
from monitoring.triage.sudden_units import keep_sudden_units
from monitoring.triage.verdict import LossOutlook, Triage, triage

if TYPE_CHECKING:
    from monitoring.drift.findings import DriftReport

_ASPECTS_OF_CHANCE = {"values", "unit", "new", "missing", "gap", "together"}


@dataclass(frozen=True)
class AlarmMemory:
    """What is known before a window is judged: as :func:`registry.alarms.read_memory` reads it.

    ``revision`` is that of the registry's memory, which is given back when the window is recorded.
    """

    state: AlarmState = field(default_factory=AlarmState)
    history: QuietHistory = field(default_factory=QuietHistory)
    mutes: tuple[Mute, ...] = ()
    revision: int = 0


@dataclass(frozen=True)
class JudgedWindow:
    """What is said of a window, and what is known before the next one is looked at."""

    judgement: Judgement
    triage: Triage
    is_quiet: bool
    memory: AlarmMemory


def judge_traffic(
    facts: WindowFacts,
    report: DriftReport | None,
    spec: MonitorSpec,
    memory: AlarmMemory,
    *,
    estimated_increase: float | None = None,
    importances: Mapping[str, float] | None = None,
    rehearsed: QuietHistory | None = None,
    windows_per_quarter: float | None = None,
) -> JudgedWindow:
    """Judge the traffic of a window, before its labels are known: the first look; a pure function.

    The arguments are those of :func:`judge_window`.

    Returns
    -------
    JudgedWindow
        While its labels are waited for, a window is quiet only where nothing stands out in it.
    """
    known = memory.history.before(facts.start)
    report = keep_sudden_units(report, known, facts.version)
    judgement = judging.judge_traffic(
        report,
        facts,
        _with_rehearsal(known, rehearsed),
        spec,
        windows_per_quarter=windows_per_quarter or _count_windows(spec, known),
        state=memory.state,
        mutes=memory.mutes,
    )
    outlook = LossOutlook(estimated_increase=estimated_increase)
    found = _triage(judgement, facts, report, spec, outlook, importances)
    judgement = _charge(judgement, is_false=_is_false(judgement, found))
    is_quiet = found.verdict == "quiet"
    return _conclude(judgement, found, facts, memory, is_quiet=is_quiet)


def judge_labels(
    first: Judgement,
    facts: WindowFacts,
    report: DriftReport | None,
    spec: MonitorSpec,
    memory: AlarmMemory,
    *,
    losses: LossSample | None = None,
    estimated_increase: float | None = None,
    importances: Mapping[str, float] | None = None,
    windows_per_quarter: float | None = None,
) -> JudgedWindow:
    """Judge a window by its labels, and settle what its traffic has left open: the second look; a pure function.

    Whatever windows were looked at since, only those before this one say what is usual.

    Parameters
    ----------
    first : Judgement
        Of :func:`judge_traffic`, as the first look left it. The other arguments are those of :func:`judge_window`.

    Returns
    -------
    JudgedWindow
        Of both looks together. The window is quiet, and becomes a part of what is usual here, unless it is broken or
        asks for a training; in the first windows, unless it is broken or the loss has risen.
    """
    known = memory.history.before(facts.start)
    report = keep_sudden_units(report, known, facts.version)
    second = judging.judge_labels(
        report,
        facts,
        known,
        spec,
        windows_per_quarter=windows_per_quarter or _count_windows(spec, known),
        state=memory.state,
        mutes=memory.mutes,
        losses=losses,
    )
    judgement = first.followed_by(second)
    outlook = LossOutlook(
        n_labelled=0 if losses is None else len(losses.losses),
        increase=None if losses is None else losses.increase,
        estimated_increase=estimated_increase,
    )
    found = _triage(judgement, facts, report, spec, outlook, importances)
    judgement = _settle(judgement, is_false=_is_false(judgement, found))
    # Where all windows differ from the reference, as in another season, none would ever be quiet.
    is_lesson = len(known.windows) < FEWEST_WINDOWS and judgement.find("performance") is None
    is_quiet = found.verdict in ("quiet", "harmless") or (found.verdict == "changed world" and is_lesson)
    # What waits for a second window to confirm it would be custom by then.
    is_quiet = is_quiet and all(each.is_confirmed for each in judgement.standouts)
    return _conclude(judgement, found, facts, memory, is_quiet=is_quiet)


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
    """Judge one window whose labels have matured: both looks, one right after the other; a pure function.

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
        Whose ``memory`` is for the next window.
    """
    first = judge_traffic(
        facts,
        report,
        spec,
        memory,
        estimated_increase=estimated_increase,
        importances=importances,
        rehearsed=rehearsed,
        windows_per_quarter=windows_per_quarter,
    )
    return judge_labels(
        first.judgement,
        facts,
        report,
        spec,
        first.memory,
        losses=losses,
        estimated_increase=estimated_increase,
        importances=importances,
        windows_per_quarter=windows_per_quarter,
    )


def _conclude(
    judgement: Judgement, found: Triage, facts: WindowFacts, memory: AlarmMemory, *, is_quiet: bool
) -> JudgedWindow:
    """Take the window into the history where it is quiet, and out of it where the second look says otherwise."""
    history = memory.history.without(facts.start)
    if is_quiet:
        history = history.with_window(QuietWindow(facts.start, facts.length, judgement.values, facts.version))
    return JudgedWindow(
        judgement, found, is_quiet, AlarmMemory(judgement.state, history, memory.mutes, memory.revision)
    )


def _triage(
    judgement: Judgement,
    facts: WindowFacts,
    report: DriftReport | None,
    spec: MonitorSpec,
    outlook: LossOutlook,
    importances: Mapping[str, float] | None,
) -> Triage:
    return triage(
        judgement,
        facts,
        spec,
        outlook=outlook,
        importances=importances,
        unit_ratios=_unit_ratios(report),
        constant=() if report is None or judgement.is_learning else _constant_columns(report),
    )


def _charge(judgement: Judgement, *, is_false: bool) -> Judgement:
    """Let a harmless alarm make the level stricter, as soon as it looks like one.

    When the labels say for certain, weeks later, all that came meanwhile would have been outside the budget.
    """
    before = judgement.state.strictness
    after = adapt(before, judgement.level, is_false=is_false)
    state = judgement.state.model_copy(update={"strictness": after})
    return judgement.model_copy(update={"state": state, "charged": after - before if is_false else 0.0})


def _settle(judgement: Judgement, *, is_false: bool) -> Judgement:
    """Charge a window once, and give back what the first look has charged for an alarm that was none of chance."""
    if is_false == (judgement.charged > 0):
        return judgement
    before = max(judgement.state.strictness - judgement.charged, 0.0)
    state = judgement.state.model_copy(update={"strictness": before})
    return _charge(judgement.model_copy(update={"state": state}), is_false=is_false)


def _is_false(judgement: Judgement, found: Triage) -> bool:
    return found.verdict != "changed world" and any(_is_of_chance(alarm) for alarm in judgement.alarms)


def _count_windows(spec: MonitorSpec, known: QuietHistory) -> float:
    return count_windows(spec, [window.length for window in known.windows])


def _with_rehearsal(history: QuietHistory, rehearsed: QuietHistory | None) -> QuietHistory:
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
