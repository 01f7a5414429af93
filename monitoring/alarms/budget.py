"""The budget of false alarms, as the chance that one window may use up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from base.monitor_spec import QUARTER, AlarmBudget, MonitorSpec

# The loss asks for a training and so deserves a sharp test of its own; the columns share the rest. The label's column,
# which is looked at weeks after the others, has a part that nobody else can have used up by then.
_LOSS_SHARE = 0.4
_LABEL_SHARE = 0.05
# A budget of more alarms than windows is no reason to call every window one.
_LARGEST_LEVEL = 0.2
# How many powers of ten an alarm that proved harmless costs: enough that a few teach how wild the traffic is.
_STEP = 2.0
# Beyond that only what no chance explains is left, and that shall be told.
_STRICTEST = 12.0
# Fewer than one window in a hundred years is never looked for, so no p-value needs to be trusted beyond this.
_SMALLEST_LEVEL = 1e-8


@dataclass(frozen=True)
class WindowLevels:
    """The chances of a false alarm in one window: of all columns of its traffic together, of its label, of its loss.

    A window raises a false alarm with at most the chance *columns* + *labels* + *loss*, whenever its labels come.
    """

    columns: float
    labels: float
    loss: float


def split_budget(budget: AlarmBudget, windows_per_quarter: float) -> WindowLevels:
    """Split a budget over the windows of a quarter, and over the three families of tests.

    Parameters
    ----------
    windows_per_quarter : float
        How many windows come in a quarter; for windows of rows, as :func:`count_windows` estimates it.

    Examples
    --------
    >>> levels = split_budget(AlarmBudget(1, "quarter"), 91.3125)
    >>> round(levels.columns, 4), round(levels.labels, 4), round(levels.loss, 4)
    (0.006, 0.0005, 0.0044)
    """
    level = min(max(budget.per_quarter / max(windows_per_quarter, 1e-9), _SMALLEST_LEVEL), _LARGEST_LEVEL)
    return WindowLevels(
        columns=level * (1 - _LOSS_SHARE - _LABEL_SHARE), labels=level * _LABEL_SHARE, loss=level * _LOSS_SHARE
    )


def adapt(strictness: float, level: float, *, is_false: bool) -> float:
    """Make the level of the columns stricter after an alarm that proved harmless, and give a little back otherwise.

    The first burst of a kind that no quiet window had shown is beyond any custom that was learnt, and traffic has many
    kinds of burst. Whatever they are like, and however windows depend on each other, in the long run harmless alarms
    come as often as the budget allows (adaptive conformal inference; Gibbs & Candès 2021), since each costs as much as
    the quiet windows between two of them give back.

    Parameters
    ----------
    strictness : float
        In powers of ten.
    level : float
        The chance that one window may use up.

    Examples
    --------
    >>> adapt(0.0, 0.01, is_false=True), adapt(1.0, 0.01, is_false=False), adapt(0.0, 0.01, is_false=False)
    (2.0, 0.98, 0.0)
    """
    if is_false:
        return min(strictness + _STEP, _STRICTEST)
    return max(strictness - _STEP * level, 0.0)


def count_windows(spec: MonitorSpec, recent: Sequence[timedelta] = ()) -> float:
    """Count the windows of a quarter: exactly for a window of time, from the last ones for a window of rows.

    Parameters
    ----------
    recent : sequence of timedelta, optional
        How long each of the last windows lasted. Without any, a window of rows is taken to last as long as the
        monitor waits between two looks: more windows than there will be make a stricter level.

    Examples
    --------
    >>> round(count_windows(MonitorSpec(window="7 days")), 2)
    13.04
    """
    if isinstance(spec.window, timedelta):
        return QUARTER / spec.window
    lengths = sorted(recent)
    usual = lengths[len(lengths) // 2] if lengths else spec.period
    return QUARTER / max(usual, timedelta(seconds=1))
