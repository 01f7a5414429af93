"""What the charts of a backtest share: their look, axes with round ticks, and marks."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from html import escape

from tasks.backtest.charts_labels import Anchor, Point
from tasks.backtest.policies import EVERY_WINDOW, NEVER
from tasks.backtest.result import BacktestResult, PolicyResult
from tasks.loss_chart import nice_step

WIDTH, LEFT = 900.0, 58.0
# Blue, orange, grey and black are told apart by everybody who sees; strokes and shapes differ as well.
STYLE = """
svg polyline.front { fill: none; stroke: var(--soft); stroke-width: 1.5 }
svg polyline.equal { fill: none; stroke: var(--accent); stroke-width: 1.2; stroke-dasharray: 2 4 }
svg .whisker { stroke: var(--third); stroke-width: 1 } svg .leader { stroke: var(--third); stroke-width: .8 }
svg .point { stroke: var(--soft); stroke-width: 1.5; fill: var(--page) }
svg .point.front { fill: var(--soft) }
svg .point.always { stroke: var(--second); fill: var(--second) }
svg .point.never { stroke: var(--third); fill: var(--third) }
svg .point.own { stroke: var(--ink); fill: var(--ink) }
svg .point.best { stroke: var(--accent); fill: var(--accent) }
svg .halo { fill: var(--accent); fill-opacity: .16 }
svg .line.best { stroke: var(--accent); stroke-width: 2.6 } svg .line.always { stroke: var(--second) }
svg .line.never { stroke: var(--third); stroke-dasharray: 6 4 }
svg .line.own { stroke: var(--ink); stroke-dasharray: 1.5 4; stroke-linecap: round }
svg .band { fill: var(--accent); fill-opacity: .16 }
svg .trained { stroke: var(--accent); stroke-width: 1; stroke-opacity: .45 }
svg .trained.refused, svg .trained.failed { stroke: var(--soft); stroke-dasharray: 1 3; stroke-opacity: .9 }
svg .promoted { fill: var(--ink); stroke: var(--ink) } svg .refused { fill: var(--page); stroke: var(--ink) }
svg .failed { fill: none; stroke: var(--ink); stroke-width: 1.6 }
svg .best .promoted { fill: var(--accent); stroke: var(--accent) }
svg .best .refused, svg .best .failed { stroke: var(--accent) }
svg .name { paint-order: stroke; stroke: var(--page); stroke-width: 3px; stroke-linejoin: round }
svg text.best { fill: var(--accent); font-weight: 700 } svg text.always { fill: var(--second) }
svg text.never { fill: var(--soft) } svg text.own { font-weight: 600 }
svg text.equal { fill: var(--accent); stroke: var(--page) } svg .small { font-size: 11px }
"""
"""Of all charts; the colours are those of :mod:`base.pages`."""

_MOST_TICKS = 9
_MONTHS = (1, 2, 3, 6, 12, 24, 60)
_DAYS = (1, 2, 7, 14)


@dataclass(frozen=True)
class Axis:
    """One direction of a chart, from values to places; *bend* is what makes equal values equally far."""

    low: float
    high: float
    begin: float
    end: float
    bend: Callable[[float], float] = float

    def place(self, value: float) -> float:
        """Return where a value stands."""
        low, high = self.bend(self.low), self.bend(self.high)
        return self.begin + (self.end - self.begin) * (self.bend(value) - low) / ((high - low) or 1.0)


def kind_of(policy: PolicyResult, result: BacktestResult) -> str:
    """Return the class under which the charts draw a policy: ``best``, ``always``, ``never``, ``own`` or ``other``."""
    if policy.name == result.recommended:
        return "best"
    named = {EVERY_WINDOW: "always", NEVER: "never"}
    return named.get(policy.name) or ("own" if policy.kind == "own" else "other")


def round_ticks(low: float, high: float, *, most: int = 5) -> list[float]:
    """Return round values that begin at or below *low* and end at or above *high*.

    Examples
    --------
    >>> round_ticks(0.231, 0.474)
    [0.2, 0.25, 0.3, 0.35, 0.4, 0.45, 0.5]
    """
    if high <= low:
        margin = abs(low) * 0.1 or 0.1
        low, high = low - margin, high + margin
    step = nice_step(high - low, most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [round(index * step, 12) for index in range(first, last + 1)]


def calendar_ticks(start: datetime, stop: datetime) -> list[tuple[datetime, str]]:
    """Return beginnings of years, months, days, or moments of a day, as many as stand side by side.

    Examples
    --------
    >>> [text for _, text in calendar_ticks(datetime(2011, 11, 20, tzinfo=UTC), datetime(2012, 3, 5, tzinfo=UTC))]
    ['Dec', '2012', 'Feb', 'Mar']
    """
    for step in _MONTHS:
        months = _month_ticks(start, stop, step)
        if 3 <= len(months) <= _MOST_TICKS:
            return [(moment, f"{moment:%Y}" if moment.month == 1 else f"{moment:%b}") for moment in months]
    midnight = datetime(start.year, start.month, start.day, tzinfo=UTC)
    for step in _DAYS:
        n_days = (stop - midnight).days + 1
        days = [day for index in range(0, n_days, step) if start <= (day := midnight + timedelta(days=index)) <= stop]
        if 3 <= len(days) <= _MOST_TICKS:
            return [(day, f"{day.day} {day:%b}") for day in days]
    moments = [start + (stop - start) * index / 4 for index in range(5)]
    if stop - start > timedelta(days=400):
        return [(moment, f"{moment:%Y-%m}") for moment in moments]
    return [(moment, f"{moment.day} {moment:%b %H:%M}") for moment in moments]


def show_loss(value: float | None) -> str:
    """Write a loss, or a difference of losses without its sign.

    Examples
    --------
    >>> show_loss(0.24816), show_loss(-0.00012), show_loss(None)
    ('0.2482', '−0.0001', '–')
    """
    return "–" if value is None or not math.isfinite(value) else f"{value:.4f}".replace("-", "−")


def show_cost(value: float) -> str:
    """Write a cost, in windows of full loss.

    Examples
    --------
    >>> show_cost(12.0412), show_cost(0.2), show_cost(1234.5)
    ('12.04', '0.20', '1,234')
    """
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.2f}".replace("-", "−")


def text_at(x: float, y: float, text: str, *, anchor: Anchor = "start", kind: str = "label") -> str:
    """Write a text into the picture."""
    return f"<text class='{kind}' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(text)}</text>"


def line_between(begin: Point, end: Point, kind: str) -> str:
    """Draw a straight line."""
    return f"<line class='{kind}' x1='{begin[0]:.1f}' y1='{begin[1]:.1f}' x2='{end[0]:.1f}' y2='{end[1]:.1f}'/>"


def polyline(points: Sequence[Point], kind: str) -> str:
    """Draw a line through points."""
    return f"<polyline class='{kind}' points='{' '.join(f'{x:.1f},{y:.1f}' for x, y in points)}'/>"


def mark(x: float, y: float, kind: str, *, size: float = 5.0, title: str = "") -> str:
    """Draw a policy's mark: a disc, and for ``always``, ``never`` and ``own`` a square, a diamond and a triangle."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    shapes: dict[str, list[Point]] = {
        "always": [(-1, -1), (1, -1), (1, 1), (-1, 1)],
        "never": [(0, -1.3), (1.3, 0), (0, 1.3), (-1.3, 0)],
        "own": [(0, -1.3), (1.2, 0.9), (-1.2, 0.9)],
    }
    name = kind.split(maxsplit=1)[0]
    if name not in shapes:
        return f"<circle class='point {kind}' cx='{x:.1f}' cy='{y:.1f}' r='{size}'>{tip}</circle>"
    corners = " ".join(f"{x + size * dx:.1f},{y + size * dy:.1f}" for dx, dy in shapes[name])
    return f"<polygon class='point {kind}' points='{corners}'>{tip}</polygon>"


def outcome_mark(x: float, y: float, outcome: str, *, size: float = 4.5, title: str = "") -> str:
    """Draw what came of it: a full triangle (``promoted``), an empty one (``refused``) or a cross (``failed``)."""
    tip = f"<title>{escape(title)}</title>" if title else ""
    if outcome == "failed":
        path = f"M{x - size:.1f},{y - size:.1f}l{2 * size},{2 * size}m0,{-2 * size}l{-2 * size},{2 * size}"
    else:
        path = f"M{x:.1f},{y - size:.1f}l{size},{2 * size}l{-2 * size},0z"
    return f"<path class='{outcome}' d='{path}'>{tip}</path>"


def picture_of(height: float, content: str, *, told: str) -> str:
    """Write a chart as an inline picture; *told* says in words what it shows, for who cannot see it."""
    box = f"viewBox='0 0 {WIDTH:.0f} {height:.0f}' role='img' aria-label='{escape(told, quote=True)}'"
    return f"<svg {box}>{content}</svg>"


def _month_ticks(start: datetime, stop: datetime, step: int) -> list[datetime]:
    first = start.year * 12 + start.month - 1
    last = stop.year * 12 + stop.month - 1
    moments = [datetime(number // 12, number % 12 + 1, 1, tzinfo=UTC) for number in range(first, last + 1)]
    return [
        moment for moment in moments if start <= moment <= stop and (12 * moment.year + moment.month - 1) % step == 0
    ]
