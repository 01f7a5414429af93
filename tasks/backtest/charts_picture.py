"""A backtest as one static picture: what to take and both charts, as an SVG file that needs nothing else."""

from __future__ import annotations

import re
from xml.sax.saxutils import escape

from base.pages import STYLE as PAGE_STYLE
from base.pages import in_light
from tasks.backtest.charts import LEFT, STYLE, WIDTH, text_at
from tasks.backtest.charts_cost import draw_costs
from tasks.backtest.charts_labels import ROW, width_of
from tasks.backtest.charts_time import draw_losses_over_time
from tasks.backtest.result import BacktestResult
from tasks.backtest.table import NO_ANSWER

_EDGE, _GAP = 18.0, 14.0
_HEADING = """
svg .heading { font-size: 21px; font-weight: 700 } svg .why { font-size: 13px }
"""


def draw_backtest(result: BacktestResult) -> str:
    """Draw the recommended policy, why, cost against loss, and the loss over time; dark on white everywhere."""
    heading, y = _heading(result)
    parts = [heading]
    for chart in (draw_costs(result), draw_losses_over_time(result)):
        found = re.match(r"<svg viewBox='0 0 \S+ (\d+)'", chart)
        if found is None:  # words, where there is nothing to draw
            continue
        parts.append(f"<svg x='0' y='{y:.0f}' width='{WIDTH:.0f}' height='{found[1]}' {chart.removeprefix('<svg ')}")
        y += float(found[1]) + _GAP
    style = in_light(_svg_rules(PAGE_STYLE) + STYLE + _HEADING)
    told = escape(f"Backtest of {result.pipeline}: take {result.recommended}. {result.why}", {"'": "&apos;"})
    box = f"viewBox='{-_EDGE:.0f} 0 {WIDTH + 2 * _EDGE:.0f} {y:.0f}'"
    return (
        f"<svg xmlns='http://www.w3.org/2000/svg' width='{WIDTH + 2 * _EDGE:.0f}' height='{y:.0f}' {box} role='img' "
        f"aria-label='{told}'><style>{style}</style>"
        f"<rect x='{-_EDGE:.0f}' y='0' width='100%' height='100%' fill='#fff'/>{''.join(parts)}</svg>"
    )


def _heading(result: BacktestResult) -> tuple[str, float]:
    left = LEFT - 46
    title, why = f"{result.pipeline}: take {result.recommended}", result.why[:1].upper() + result.why[1:]
    if not result.n_judged:
        title, why = result.pipeline, NO_ANSWER
    parts = [text_at(left, 38, title, kind="heading")]
    y = 62.0
    for line in _wrap(why, WIDTH - left):
        parts.append(text_at(left, y, line, kind="why"))
        y += ROW + 3
    return "".join(parts), y + _GAP


def _wrap(text: str, wide: float) -> list[str]:
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if width_of(longer) <= wide or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def _svg_rules(style: str) -> str:
    """The rules for texts, lines and grids inside pictures, without those for the pictures' own place in a page."""
    return "".join(re.findall(r"svg [.\w]+ ?\{[^}]*\}", style))
