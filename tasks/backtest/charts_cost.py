"""The chart of cost against loss: each policy a point, the best choices joined, the recommended one in colour."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise

from tasks.backtest.charts import (
    LEFT,
    WIDTH,
    Axis,
    kind_of,
    line_between,
    mark,
    picture_of,
    polyline,
    round_ticks,
    show_cost,
    show_loss,
    text_at,
)
from tasks.backtest.charts_labels import Box, Point, place_labels, shorten
from tasks.backtest.result import BacktestResult, PolicyResult

_HEIGHT, _TOP, _BOTTOM, _RIGHT = 480.0, 30.0, 62.0, 24.0
_COUNTS = (0, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000, 10_000)
_BETWEEN_TICKS = 46.0
_LONGEST_NAME = 32
_STEPS = 60
_EQUAL = "equal cost in all"
_ORDER = ("best", "own", "always", "never", "other")


def draw_costs(result: BacktestResult) -> str:
    """Draw every policy by what its trainings cost and by its mean loss.

    Both are better when smaller: what lies below and to the left is the better choice. The distance along the cost
    axis grows as the square root, so that few trainings, where the choice is, have room. The dotted curve joins all
    that costs as much in sum as the recommended policy.
    """
    policies = [policy for policy in result.policies if policy.n_windows and math.isfinite(policy.loss)]
    ends = [bound for policy in policies for bound in _interval(policy)] or [0.0, 1.0]
    ticks = round_ticks(min(ends), max(ends))
    most = max([1, *(policy.n_trainings for policy in policies)])
    across = Axis(0.0, most, LEFT, WIDTH - _RIGHT - 40, bend=math.sqrt)
    up = Axis(ticks[0], ticks[-1], _HEIGHT - _BOTTOM, _TOP)
    places = {policy.name: (across.place(policy.n_trainings), up.place(policy.loss)) for policy in policies}
    front = [places[policy.name] for policy in sorted(policies, key=lambda one: one.n_trainings) if policy.is_on_front]
    equal = _equal_cost(result, across, up)
    parts = [
        _grid(result, across, up, ticks),
        polyline(equal, "equal") if len(equal) > 1 else "",
        polyline(front, "front") if len(front) > 1 else "",
        *(_whisker(policy, places[policy.name], up) for policy in policies),
        _labels(policies, result, places, front, equal),
        # The most important last, over the others.
        *(_marker(policy, result, places[policy.name]) for policy in reversed(_in_order(policies, result))),
    ]
    return picture_of(_HEIGHT, "".join(parts), told=_tell(result, policies))


def _interval(policy: PolicyResult) -> tuple[float, float]:
    """The loss with the interval of its excess around it."""
    if policy.low is None or policy.high is None:
        return policy.loss, policy.loss
    return policy.loss - policy.excess + policy.low, policy.loss - policy.excess + policy.high


def _grid(result: BacktestResult, across: Axis, up: Axis, ticks: Sequence[float]) -> str:
    bottom, right = up.begin, WIDTH - _RIGHT
    parts = [text_at(LEFT - 46, 14, f"mean loss of a window ({result.unit} = 1)")]
    for tick in ticks:
        y = up.place(tick)
        parts.append(line_between((LEFT - 8, y), (right, y), "grid"))
        parts.append(text_at(LEFT - 12, y + 4, f"{tick:.4g}", anchor="end"))
    parts.append(line_between((LEFT - 8, bottom), (right, bottom), "axis"))
    last = -_BETWEEN_TICKS
    for count in _COUNTS:
        x = across.place(count)
        if count > across.high or x - last < _BETWEEN_TICKS:
            continue
        last = x
        parts.append(line_between((x, bottom), (x, bottom + 5), "axis"))
        parts.append(text_at(x, bottom + 19, f"{count:,}", anchor="middle"))
        parts.append(text_at(x, bottom + 34, show_cost(count * result.price), anchor="middle", kind="label small"))
    middle = (LEFT + right) / 2
    note = f"trainings, and their cost together ({result.price:g} windows of full loss each)"
    parts.append(text_at(middle, _HEIGHT - 8, note, anchor="middle"))
    parts.append(text_at(right, 14, "better: further down and left", anchor="end"))
    return "".join(parts)


def _equal_cost(result: BacktestResult, across: Axis, up: Axis) -> list[Point]:
    """The curve of all that costs as much as the recommended policy, where it lies within the chart."""
    best = next((policy for policy in result.policies if policy.name == result.recommended), None)
    if best is None or not best.n_windows:
        return []
    points = []
    for step in range(_STEPS + 1):
        count = across.high * (step / _STEPS) ** 2
        loss = best.loss + result.price * (best.n_trainings - count) / best.n_windows
        if up.low <= loss <= up.high:
            points.append((across.place(count), up.place(loss)))
    return points


def _whisker(policy: PolicyResult, place: Point, up: Axis) -> str:
    low, high = _interval(policy)
    return "" if low == high else line_between((place[0], up.place(low)), (place[0], up.place(high)), "whisker")


def _marker(policy: PolicyResult, result: BacktestResult, place: Point) -> str:
    kind = kind_of(policy, result)
    title = (
        f"{policy.name}: loss {show_loss(policy.loss)}, {policy.n_trainings} trainings, cost {show_cost(policy.cost)}"
    )
    halo = f"<circle class='halo' cx='{place[0]:.1f}' cy='{place[1]:.1f}' r='15'/>" if kind == "best" else ""
    drawn = f"{kind} front" if kind == "other" and policy.is_on_front else kind
    return halo + mark(*place, drawn, size=7 if kind == "best" else 5, title=title)


def _labels(
    policies: Sequence[PolicyResult],
    result: BacktestResult,
    places: dict[str, Point],
    front: Sequence[Point],
    equal: Sequence[Point],
) -> str:
    area = Box(LEFT - 4, _TOP - 6, WIDTH - 2, _HEIGHT - _BOTTOM - 2)
    ordered = _in_order(policies, result)
    kinds = [f"name {kind_of(policy, result)}" for policy in ordered]
    named = [(places[policy.name], shorten(policy.name, _LONGEST_NAME)) for policy in ordered]
    if len(equal) > 1:
        named.insert(1, (equal[-1], _EQUAL))
        kinds.insert(1, "name equal")
    labels = place_labels(named, area, markers=list(places.values()), lines=[*_along(front), *equal])
    parts = []
    for (place, _), kind, label in zip(named, kinds, labels, strict=True):
        if label.is_far:
            parts.append(line_between(place, (label.x, label.y - 4), "leader"))
        parts.append(text_at(label.x, label.y, label.text, anchor=label.anchor, kind=kind))
    return "".join(parts)


def _in_order(policies: Sequence[PolicyResult], result: BacktestResult) -> list[PolicyResult]:
    return sorted(policies, key=lambda policy: _ORDER.index(kind_of(policy, result)))


def _along(points: Sequence[Point]) -> list[Point]:
    """Places on a line, close enough for a name not to slip between them."""
    found = []
    for (x, y), (next_x, next_y) in pairwise(points):
        n_steps = max(1, round(math.hypot(next_x - x, next_y - y) / 6))
        found += [(x + (next_x - x) * step / n_steps, y + (next_y - y) * step / n_steps) for step in range(n_steps + 1)]
    return found


def _tell(result: BacktestResult, policies: Sequence[PolicyResult]) -> str:
    listed = "; ".join(
        f"{policy.name}: {policy.n_trainings} trainings, loss {show_loss(policy.loss)}, cost {show_cost(policy.cost)}"
        for policy in policies
    )
    return f"Cost of trainings against mean loss. Recommended: {result.recommended}. {listed}"
