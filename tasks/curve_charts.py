"""Charts of a run's page beside the loss: ROC, precision and recall, calibration, residuals, partial dependence."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from tasks.loss_chart import nice_step

STYLE = """
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(270px, 1fr)); gap: 18px 22px }
.charts.two { grid-template-columns: repeat(auto-fill, minmax(390px, 1fr)) }
figure { margin: 0 } figcaption { color: var(--soft); font-size: .87em; margin-bottom: .2em }
svg .band { fill: var(--fill); fill-opacity: .35 } svg .column { fill: var(--fill); fill-opacity: .5 }
svg .point { fill: var(--accent); fill-opacity: .3 } svg .even { stroke: var(--soft); stroke-dasharray: 3 4 }
svg .bin { fill: var(--page); stroke-width: 2 }
svg .part-1 { stroke: var(--accent) } svg .part-2 { stroke: var(--second) }
svg .part-3 { stroke: var(--good) } svg .part-4 { stroke: var(--third) }
.measure { display: grid; grid-template-columns: minmax(6em, max-content) minmax(8em, 1fr) max-content; gap: 3px .9em;
        align-items: center; max-width: 640px }
.measure i { display: block; height: .8em; background: var(--fill); border-radius: 2px; min-width: 1px }
.measure i.down { background: var(--rule) } .measure span { overflow-wrap: anywhere }
.measure em { font-style: normal; color: var(--soft); text-align: right; font-variant-numeric: tabular-nums }
"""

_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 12, 10, 34
_N_TICKS = 4
Range = tuple[float, float]


@dataclass(frozen=True)
class _Frame:
    """A plot's axes: from data to places in the picture."""

    across: Range
    up: Range
    width: int = 300
    height: int = 240

    def x(self, value: float) -> float:
        low, high = self.across
        return _LEFT + (self.width - _LEFT - _RIGHT) * (value - low) / ((high - low) or 1.0)

    def y(self, value: float) -> float:
        low, high = self.up
        return self.height - _BOTTOM - (self.height - _TOP - _BOTTOM) * (value - low) / ((high - low) or 1.0)

    def path(self, points: Sequence[Sequence[float]]) -> str:
        return " ".join(f"{self.x(point[0]):.1f},{self.y(point[1]):.1f}" for point in points)

    def line(self, kind: str, points: Sequence[Sequence[float]]) -> str:
        return f"<polyline class='{kind} line' points='{self.path(points)}'/>"

    def draw(self, title: str, labels: tuple[str, str], parts: Sequence[str], *, ticks: Sequence[str] = ()) -> str:
        """Write the picture; *ticks* are names along the x axis, evenly spread, in place of figures."""
        bottom, right = self.height - _BOTTOM, self.width - _RIGHT
        lines = []
        for value in _ticks(self.up):
            y = self.y(value)
            lines.append(f"<line class='grid' x1='{_LEFT}' y1='{y:.1f}' x2='{right}' y2='{y:.1f}'/>")
            lines.append(
                f"<text class='label' x='{_LEFT - 5}' y='{y + 4:.1f}' text-anchor='end'>{_write(value)}</text>"
            )
        lines.append(f"<line class='axis' x1='{_LEFT}' y1='{bottom}' x2='{right}' y2='{bottom}'/>")
        if ticks:
            shown = list(enumerate(ticks))
            for index, name in shown:
                x = self.x(index)
                anchor = "start" if index == 0 else "end" if index == len(ticks) - 1 else "middle"
                if name:
                    lines.append(_label(x, bottom + 14, name, anchor))
        else:
            for value in _ticks(self.across):
                lines.append(_label(self.x(value), bottom + 14, _write(value), "middle"))
        lines.append(_label((_LEFT + right) / 2, self.height - 4, labels[0], "middle"))
        caption = f"<figcaption>{escape(title)}{' · ' + escape(labels[1]) if labels[1] else ''}</figcaption>"
        box = f"viewBox='0 0 {self.width} {self.height}' role='img' aria-label='{escape(title, quote=True)}'"
        return f"<figure>{caption}<svg {box}>{''.join(lines)}{''.join(parts)}</svg></figure>"


def draw_rank_curves(curves: Mapping[str, Any]) -> str:
    """Draw ROC and precision over recall; the dashed line is what guessing gives."""
    frame = _Frame((0.0, 1.0), (0.0, 1.0))
    even = frame.line("even", [(0.0, 0.0), (1.0, 1.0)])
    roc = [frame.line(name, points) for name, points in reversed(curves["roc"].items())]
    recall = [frame.line(name, points) for name, points in reversed(curves["precision_recall"].items())]
    return frame.draw("ROC", ("false positive rate", "true positive rate"), [even, *roc]) + frame.draw(
        "Precision and recall", ("recall", "precision"), recall
    )


def draw_calibration(bins_by_model: Mapping[str, Sequence[Mapping[str, float]]]) -> str:
    """Draw the share that happened over the mean score of each bin, with the challenger's rows per bin below."""
    frame = _Frame((0.0, 1.0), (0.0, 1.0))
    parts = [frame.line("even", [(0.0, 0.0), (1.0, 1.0)])]
    for name, bins in reversed(list(bins_by_model.items())):
        parts.append(frame.line(name, [(each["score"], each["share"]) for each in bins]))
        parts += [
            f"<circle class='{name} bin' cx='{frame.x(each['score']):.1f}' cy='{frame.y(each['share']):.1f}' r='3.5'>"
            f"<title>{name}: {each['n_rows']:,} rows, score {each['score']:.3f}, happened {each['share']:.3f}</title>"
            "</circle>"
            for each in bins
        ]
    counts = [int(each["n_rows"]) for each in bins_by_model["challenger"]]
    many = f"{min(counts):,}" if min(counts) == max(counts) else f"{min(counts):,} to {max(counts):,}"
    return frame.draw("Calibration", (f"mean score of a bin ({many} rows each)", "share that happened"), parts)


def draw_residuals(curves: Mapping[str, Any]) -> str:
    """Draw prediction minus target over the prediction and over time: median, and the band of eight rows of ten."""
    over, dots = curves["residuals_over_prediction"], curves["residual_dots"]
    bands = [*over, *curves["residuals_over_time"]]
    reach = max(max(abs(row[1]), abs(row[3])) for row in bands) or 1.0
    up = (-1.15 * reach, 1.15 * reach)
    low, high = min(row[0] for row in over), max(row[0] for row in over)
    frame = _Frame((low, high) if high > low else (low - 1, low + 1), up, 420, 260)
    seen = [dot for dot in dots if frame.across[0] <= dot[0] <= frame.across[1] and up[0] <= dot[1] <= up[1]]
    points = [f"<circle class='point' cx='{frame.x(x):.1f}' cy='{frame.y(y):.1f}' r='1.7'/>" for x, y in seen]
    first = frame.draw(
        "Residuals over the prediction", ("prediction", "prediction − target"), [*points, *_band(frame, over)]
    )
    over_time = [[float(index), *row[1:]] for index, row in enumerate(curves["residuals_over_time"])]
    frame = _Frame((0.0, max(1.0, len(over_time) - 1.0)), up, 420, 260)
    names = [_moment(row[0]) for row in curves["residuals_over_time"]]
    middle = len(names) // 2
    ticks = [name if index in (0, middle, len(names) - 1) else "" for index, name in enumerate(names)]
    return first + frame.draw(
        "Residuals over time",
        ("", "prediction − target"),
        _band(frame, over_time),
        ticks=ticks if len(ticks) > 1 else (),
    )


def draw_dependence(name: str, curve: Mapping[str, Any]) -> str:
    """Draw the mean answer over a feature's values: a line for a quantity, columns for categories."""
    answers, values = curve["answers"], curve["values"]
    classes, is_category = curve.get("classes") or [], curve.get("shares") is not None
    highest, lowest = max(map(max, answers)), min(map(min, answers))
    if classes and is_category:
        lowest = 0.0  # a column tells by its length
    margin = 0.08 * (highest - lowest) or 0.05 * (abs(highest) or 1.0)
    up = (lowest if classes and is_category else lowest - margin, highest + margin)
    said = "mean answer" if not classes else f"mean probability of {', '.join(map(str, classes))}"
    if not is_category:
        frame = _Frame((values[0], values[-1]), up, 300, 210)
        parts = [
            frame.line(f"part-{index}", list(zip(values, line, strict=True))) for index, line in enumerate(answers, 1)
        ]
        return frame.draw(name, ("", said), parts)
    frame = _Frame((-0.5, len(values) - 0.5), up, 300, 210)
    parts = []
    for index, (value, share) in enumerate(zip(values, curve["shares"], strict=True)):
        tip = f"<title>{escape(value)}: {_write(answers[0][index])}, {share:.1%} of the rows</title>"
        top, left = frame.y(answers[0][index]), frame.x(index - 0.35)
        height = frame.height - _BOTTOM - top
        parts.append(
            f"<rect class='column' x='{left:.1f}' y='{top:.1f}' width='{frame.x(index + 0.35) - left:.1f}' "
            f"height='{height:.1f}'>{tip}</rect>"
        )
        parts.append(_label(frame.x(index), frame.height - _BOTTOM + 14, value[: max(3, 34 // len(values))], "middle"))
    return frame.draw(name, (" ", said), parts, ticks=[""] * 2)


def draw_importance(importance: Mapping[str, tuple[float, float]], *, most: int = 20) -> str:
    """Draw how much the loss rises without each feature, the most important first."""
    shown = list(importance.items())[:most]
    longest = max(*(abs(mean) for _, (mean, _) in shown), 1e-12)
    rows = [
        f"<span>{escape(name)}</span><i class='{'down' if mean <= 0 else ''}' style='width:{abs(mean) / longest:.1%}'>"
        "</i>"
        f"<em>{mean:+.4f} ± {deviation:.4f}</em>".replace("-0.", "−0.")
        for name, (mean, deviation) in shown
    ]
    rest = len(importance) - len(shown)
    more = f"<p class='soft'>and {rest} features of less importance</p>" if rest > 0 else ""
    return f"<div class='measure'>{''.join(rows)}</div>{more}"


def _band(frame: _Frame, rows: Sequence[Sequence[float]]) -> list[str]:
    """Draw percentiles: each row is x, 10th, 50th, 90th."""
    edge = [(row[0], row[3]) for row in rows] + [(row[0], row[1]) for row in reversed(rows)]
    return [
        f"<polygon class='band' points='{frame.path(edge)}'/>",
        frame.line("even", [(frame.across[0], 0.0), (frame.across[1], 0.0)]),
        frame.line("challenger", [(row[0], row[2]) for row in rows]),
    ]


def _ticks(bounds: Range) -> list[float]:
    low, high = bounds
    step = nice_step(high - low, _N_TICKS)
    first = math.ceil(low / step - 1e-9)
    return [round(index * step, 12) for index in range(first, math.floor(high / step + 1e-9) + 1)]


def _label(x: float, y: float, text: str, anchor: str) -> str:
    return f"<text class='label' x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'>{escape(text)}</text>"


def _write(value: float) -> str:
    return (f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}").replace("-", "−")


def _moment(moment: object) -> str:
    return moment[:10] if isinstance(moment, str) else f"row {int(moment) + 1:,}"  # type: ignore[call-overload]
