"""Charts over time: what was served window by window, and when each policy trained."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from tasks.backtest.charts import (
    LEFT,
    WIDTH,
    Axis,
    calendar_ticks,
    kind_of,
    line_between,
    outcome_mark,
    picture_of,
    polyline,
    round_ticks,
    show_loss,
    text_at,
)
from tasks.backtest.charts_labels import ROW, Point, shorten, spread, width_of
from tasks.backtest.policies import EVERY_WINDOW, NEVER
from tasks.backtest.result import BacktestResult, PolicyResult, ReplayedTraining, ReplayedWindow

_HEIGHT, _TOP, _BOTTOM, _RIGHT = 340.0, 44.0, 34.0, 222.0
_LANE, _LANES_TOP = 20.0, 26.0
_LONGEST_NAME = 30
_BETWEEN_DATES = 44.0
# So many points are as many as an eye follows; fewer windows are smoothed less.
_POINTS = 24
# A line over a gap longer than this many windows would tell of what nobody saw.
_LONGEST_GAP = 4
# More upright lines than these would hide what they stand for.
_MOST_UPRIGHTS = 40
_OUTCOMES = ("promoted", "refused", "failed")


@dataclass(frozen=True)
class Smoothed:
    """The mean loss of a window and its neighbours, with the interval of that mean where there is one."""

    at: datetime
    loss: float
    low: float | None
    high: float | None


def smooth(windows: Sequence[ReplayedWindow], n_windows: int) -> list[list[Smoothed]]:
    """Average each judged window with its neighbours; a long gap in time begins a new stretch.

    Parameters
    ----------
    n_windows : int
        How many are averaged, an odd number; fewer at the ends.

    Returns
    -------
    list of list of Smoothed
        One list for each stretch, in the order of time.
    """
    stretches: list[list[Smoothed]] = []
    for stretch in _stretches([window for window in windows if window.loss is not None and not window.skipped]):
        smoothed = []
        for index, window in enumerate(stretch):
            reach = min(n_windows // 2, index, len(stretch) - 1 - index)
            near = stretch[index - reach : index + reach + 1]
            loss, low, high = mean_interval(near)
            smoothed.append(Smoothed(window.start + (window.stop - window.start) / 2, loss, low, high))
        stretches.append(smoothed)
    return stretches


def mean_interval(windows: Sequence[ReplayedWindow]) -> tuple[float, float | None, float | None]:
    """Return the mean loss of windows, and the interval that chance within the windows gives it.

    The windows' own intervals are taken as independent of each other.
    """
    losses = [window.loss for window in windows if window.loss is not None]
    mean = sum(losses) / len(losses)
    below = [window.loss - window.low for window in windows if window.loss is not None and window.low is not None]
    above = [window.high - window.loss for window in windows if window.loss is not None and window.high is not None]
    if len(below) < len(losses) or len(above) < len(losses):
        return mean, None, None
    low, high = (math.sqrt(sum(each * each for each in side)) / len(losses) for side in (below, above))
    return mean, mean - low, mean + high


def n_smoothed(n_windows: int) -> int:
    """Return how many windows the chart of so many averages: an odd number.

    Examples
    --------
    >>> n_smoothed(10), n_smoothed(40), n_smoothed(100)
    (1, 3, 5)
    """
    return 2 * round(n_windows / _POINTS / 2) + 1 if n_windows > _POINTS else 1


def outcome_of(training: ReplayedTraining) -> str:
    """Return what came of a training: ``promoted``, ``refused`` or ``failed``."""
    if training.promoted:
        return "promoted"
    return "failed" if training.verdict == "failed" else "refused"


def draw_losses_over_time(result: BacktestResult) -> str:
    """Draw the loss that the recommended policy served, with its interval, beside both anchors and the pipeline's own.

    Upright lines are the recommended policy's trainings: what came of each is its mark below.
    """
    shown = _shown(result)
    lines = {policy.name: smooth(policy.windows, n_smoothed(result.n_windows)) for policy in shown}
    points = [point for stretches in lines.values() for stretch in stretches for point in stretch]
    best = next((policy for policy in shown if policy.name == result.recommended), None)
    banded = [point for stretch in lines[best.name] for point in stretch] if best else []
    bounds = [point.loss for point in points]
    bounds += [bound for point in banded for bound in (point.low, point.high) if bound is not None]
    if not bounds:
        return "<p class='soft'>No window was judged, so there is no loss to draw.</p>"
    ticks = round_ticks(min(bounds), max(bounds))
    across, up = _time_axis(result), Axis(ticks[0], ticks[-1], _HEIGHT - _BOTTOM - 18, _TOP)
    parts = [_grid(result, across, up, ticks), _title(result), _key(best)]
    parts += [_band(stretch, across, up) for stretch in (lines[best.name] if best else [])]
    parts += [_trainings(best, across, up)] if best else []
    for policy in reversed(shown):
        kind = kind_of(policy, result)
        parts += [_line(stretch, across, up, kind) for stretch in lines[policy.name]]
    parts.append(_names(shown, result, lines, up))
    told = "; ".join(f"{policy.name}: mean loss {show_loss(policy.loss)}" for policy in shown)
    return picture_of(_HEIGHT, "".join(parts), told=f"Served loss over time. {told}")


def draw_trainings(result: BacktestResult) -> str:
    """Draw a lane of marks for each policy: when it trained and what came of it; the cheapest schedule comes first."""
    across = _time_axis(result)
    lanes = [(policy.name, kind_of(policy, result), policy.trainings) for policy in result.policies]
    n_lanes = len(lanes) + bool(result.oracle_trainings)
    bottom = _LANES_TOP + _LANE * n_lanes
    parts = [_dates(result, across, bottom), _outcomes([lane[2] for lane in lanes], LEFT + 5, 10)[0]]
    y = _LANES_TOP + _LANE / 2
    if result.oracle_trainings:
        moments = _ends(result)
        parts.append(line_between((LEFT, y), (WIDTH - _RIGHT, y), "grid"))
        parts += [
            f"<circle class='point own' cx='{across.place(moments[number].timestamp()):.1f}' cy='{y:.1f}' r='3.2'/>"
            for number in result.oracle_trainings
            if number in moments
        ]
        parts.append(text_at(WIDTH - _RIGHT + 12, y + 4, "cheapest in hindsight"))
        y += _LANE
    for name, kind, trainings in lanes:
        size = 4.0 if len(trainings) < 60 else 2.6
        marks = "".join(
            outcome_mark(across.place(one.at.timestamp()), y, outcome_of(one), size=size, title=_tip(one))
            for one in trainings
        )
        parts.append(line_between((LEFT, y), (WIDTH - _RIGHT, y), "grid"))
        parts.append(f"<g class='{kind}'>{marks}</g>")
        parts.append(text_at(WIDTH - _RIGHT + 12, y + 4, shorten(name, _LONGEST_NAME), kind=f"name {kind}"))
        y += _LANE
    told = "; ".join(f"{policy.name}: {policy.n_trainings}" for policy in result.policies)
    return picture_of(bottom + 26, "".join(parts), told=f"When each policy trained, and how often. {told}")


def _shown(result: BacktestResult) -> list[PolicyResult]:
    """The policies that get a line: the recommended first, then the pipeline's own and both anchors."""
    names = [
        result.recommended,
        *(policy.name for policy in result.policies if policy.kind == "own"),
        EVERY_WINDOW,
        NEVER,
    ]
    by_name = {policy.name: policy for policy in result.policies}
    return [by_name[name] for name in dict.fromkeys(names) if name in by_name]


def _stretches(windows: Sequence[ReplayedWindow]) -> list[list[ReplayedWindow]]:
    if not windows:
        return []
    usual = sorted(window.stop - window.start for window in windows)[len(windows) // 2]
    stretches = [[windows[0]]]
    for before, window in pairwise(windows):
        if window.start - before.stop > _LONGEST_GAP * usual:
            stretches.append([])
        stretches[-1].append(window)
    return stretches


def _time_axis(result: BacktestResult) -> Axis:
    stop = max(result.stop, result.start + timedelta(seconds=1))
    return Axis(result.start.timestamp(), stop.timestamp(), LEFT, WIDTH - _RIGHT)


def _title(result: BacktestResult) -> str:
    n_windows = n_smoothed(result.n_windows)
    told = f"loss of each window of {result.window}" + (f", mean of {n_windows} neighbours" if n_windows > 1 else "")
    return text_at(LEFT - 46, 14, f"{told} ({result.unit} = 1)")


def _key(best: PolicyResult | None) -> str:
    if best is None or not best.trainings:
        return ""
    marks, x = _outcomes([best.trainings], LEFT - 40, 28)
    return f"<g class='best'>{marks}</g>" + text_at(x, 32, f"trainings of {shorten(best.name, 40)}")


def _outcomes(found: Sequence[Sequence[ReplayedTraining]], x: float, y: float) -> tuple[str, float]:
    """Name the marks of the outcomes that there are; return where the next text may begin, too."""
    outcomes = {outcome_of(training) for trainings in found for training in trainings}
    parts = []
    for outcome in _OUTCOMES:
        if outcome in outcomes:
            parts += [outcome_mark(x, y, outcome), text_at(x + 9, y + 4, outcome)]
            x += 22 + width_of(outcome)
    return "".join(parts), x


def _grid(result: BacktestResult, across: Axis, up: Axis, ticks: Sequence[float]) -> str:
    parts = []
    for tick in ticks:
        y = up.place(tick)
        parts.append(line_between((LEFT - 8, y), (WIDTH - _RIGHT, y), "grid"))
        parts.append(text_at(LEFT - 12, y + 4, f"{tick:.4g}", anchor="end"))
    return "".join(parts) + _dates(result, across, _HEIGHT - _BOTTOM)


def _dates(result: BacktestResult, across: Axis, y: float) -> str:
    parts = [line_between((LEFT - 8, y), (WIDTH - _RIGHT, y), "axis")]
    last = -_BETWEEN_DATES
    for index, (moment, text) in enumerate(calendar_ticks(result.start, result.stop)):
        x = across.place(moment.timestamp())
        told = f"{text} {moment:%Y}" if index == 0 and text.isalpha() else text
        parts.append(line_between((x, y), (x, y + 5), "axis"))
        if x - last >= _BETWEEN_DATES:
            parts.append(text_at(x, y + 19, told, anchor="middle"))
            last = x
    return "".join(parts)


def _band(stretch: Sequence[Smoothed], across: Axis, up: Axis) -> str:
    sure = [point for point in stretch if point.low is not None and point.high is not None]
    if len(sure) < 2:
        return ""
    edge = [(across.place(one.at.timestamp()), up.place(one.high or 0.0)) for one in sure]
    edge += [(across.place(one.at.timestamp()), up.place(one.low or 0.0)) for one in reversed(sure)]
    return f"<polygon class='band' points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in edge)}'/>"


def _line(stretch: Sequence[Smoothed], across: Axis, up: Axis, kind: str) -> str:
    points = [(across.place(one.at.timestamp()), up.place(one.loss)) for one in stretch]
    if len(points) == 1:
        return f"<circle class='point {kind}' cx='{points[0][0]:.1f}' cy='{points[0][1]:.1f}' r='3'/>"
    return polyline(points, f"line {kind}")


def _trainings(policy: PolicyResult, across: Axis, up: Axis) -> str:
    parts, is_dense = [], len(policy.trainings) > _MOST_UPRIGHTS
    for training in policy.trainings:
        x, outcome = across.place(training.at.timestamp()), outcome_of(training)
        if not is_dense:
            parts.append(line_between((x, up.end), (x, up.begin + 4), f"trained {outcome}"))
        parts.append(outcome_mark(x, up.begin + 9, outcome, size=2.6 if is_dense else 4.5, title=_tip(training)))
    return f"<g class='best'>{''.join(parts)}</g>"


def _names(
    shown: Sequence[PolicyResult], result: BacktestResult, lines: dict[str, list[list[Smoothed]]], up: Axis
) -> str:
    ends: list[tuple[PolicyResult, float]] = [
        (policy, up.place(lines[policy.name][-1][-1].loss)) for policy in shown if lines[policy.name]
    ]
    places = spread([y for _, y in ends], gap=ROW, low=_TOP, high=up.begin)
    parts = []
    for (policy, end), y in zip(ends, places, strict=True):
        kind, x = kind_of(policy, result), WIDTH - _RIGHT
        joint: tuple[Point, Point] = (x - 2, end), (x + 9, y)
        parts.append(line_between(*joint, "leader"))
        parts.append(text_at(x + 12, y + 4, shorten(policy.name, _LONGEST_NAME), kind=f"name {kind}"))
    return "".join(parts)


def _ends(result: BacktestResult) -> dict[int, datetime]:
    """The end of each window by its number."""
    return {window.number: window.stop for policy in result.policies for window in policy.windows}


def _tip(training: ReplayedTraining) -> str:
    return f"{training.at:%Y-%m-%d %H:%M}: {outcome_of(training)}, asked by {training.trigger}"
