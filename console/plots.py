"""Small plots as inline SVG and HTML: histograms, bars and heat strips, with their figures as tooltips."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from html import escape
from itertools import pairwise
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from features.distributions import Bins, Counts

STYLE = """
svg.plot { width: 300px; max-width: 100% }
svg.plot .bar { fill: var(--fill) } svg.plot .bar:hover { fill: var(--accent) }
svg.plot .now { fill: var(--accent); fill-opacity: .55 }
svg.plot .then { fill: none; stroke: var(--soft); stroke-width: 1.5 }
svg.plot text { font-size: 11px; fill: var(--soft) }
.bars { display: grid; grid-template-columns: minmax(4em, max-content) 1fr max-content; gap: 2px .7em;
        align-items: center; font-size: .87em; max-width: 320px }
.bars span { overflow: hidden; text-overflow: ellipsis; white-space: nowrap; max-width: 11em }
.bars i { display: block; height: .75em; background: var(--fill); border-radius: 2px; min-width: 1px }
.bars i.now { background: var(--accent); opacity: .65 } .bars i.then { background: var(--third); height: .3em }
.bars i.down { background: var(--second) } .bars em { font-style: normal; color: var(--soft); text-align: right;
        font-variant-numeric: tabular-nums }
.strip { display: flex; gap: 1px } .strip b { flex: 1; height: 1.35em; border-radius: 2px; background: var(--card);
        position: relative; overflow: hidden } .strip b i { position: absolute; inset: 0 }
.strip b.none { background: none; border: 1px dashed var(--rule) }
.heat i { background: var(--bad) } .gap i { background: var(--accent) }
"""

_WIDTH, _HEIGHT, _FOOT = 300, 64, 16


def show_number(value: float | None) -> str:
    """Write a number as short as it can be read.

    Examples
    --------
    >>> [show_number(value) for value in (0.0, 12345.678, 1.5, 0.000123, 2500000.0, None, 1e15)]
    ['0', '12,346', '1.5', '0.000123', '2,500,000', '–', '1e+15']
    """
    if value is None or not math.isfinite(value):
        return "–" if value is None or math.isnan(value) else ("∞" if value > 0 else "−∞")
    if value == int(value) and abs(value) < 1e12:
        # Years and codes are read more easily without a comma.
        text = f"{int(value):,}" if abs(value) >= 10_000 else f"{int(value)}"
    elif abs(value) >= 1000 and abs(value) < 1e12:
        text = f"{value:,.0f}"
    else:
        text = f"{value:.3g}"
    return text.replace("-", "−") if "e" not in text else text


def show_value(value: float | None, kind: str) -> str:
    """Write a quantity; moments, which are seconds since 1970, as dates."""
    if kind != "time" or value is None or not math.isfinite(value):
        return show_number(value)
    try:
        return f"{datetime.fromtimestamp(value, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return show_number(value)


def draw_distribution(bins: Bins, counts: Counts) -> str:
    """Draw how a column's rows spread over bins; missing ones are not drawn."""
    if bins.levels and bins.type in ("text", "boolean"):
        return draw_levels(bins, counts)
    shares, names = _shares(counts), _names(bins)
    if names[-1] == "others" and not shares[-1]:
        names, shares = names[:-1], shares[:-1]
    bars = _bars(shares, max([1e-9, *shares]), "bar", names)
    return _plot(bins, bars)


def draw_move(bins: Bins, before: Counts, after: Counts) -> str:
    """Draw two distributions over each other, each as shares of its rows: the older as a line, the newer as bars."""
    if bins.levels and bins.type in ("text", "boolean"):
        return draw_levels(bins, after, before)
    shares = [_shares(counts) for counts in (before, after)]
    top = max([1e-9, *shares[0], *shares[1]])
    names = _names(bins)
    if names[-1] == "others" and not shares[0][-1] + shares[1][-1]:
        # A bin for other values that holds none would leave a hole at the end.
        names, shares = names[:-1], [share[:-1] for share in shares]
    bars = _bars(shares[1], top, "now", names)
    step = _WIDTH / max(1, len(names))
    points = []
    for index, share in enumerate(shares[0]):
        y = _HEIGHT * (1 - share / top)
        points += [f"{index * step:.1f},{y:.1f}", f"{(index + 1) * step:.1f},{y:.1f}"]
    return _plot(bins, f"{bars}<polyline class='then' points='{' '.join(points)}'/>")


def draw_levels(bins: Bins, counts: Counts, before: Counts | None = None) -> str:
    """Draw the most frequent values as bars with their shares of all rows that have a value."""
    names = [*bins.levels, *(["others"] if counts[len(bins.levels)] else [])]
    shares, then = _shares(counts), None if before is None else _shares(before)
    # The bar of all others together would make each one's too short to see.
    n_levels = len(bins.levels)
    top = max([1e-9, *shares[:n_levels], *(then or [])[:n_levels]])
    rows = []
    for index, name in enumerate(names):
        if index == n_levels:
            top = math.inf
        bar = f"<i{' class=now' if then else ''} style='width:{100 * shares[index] / top:.1f}%'></i>"
        share = show_share(shares[index])
        if then is not None:
            bar += f"<i class=then style='width:{100 * then[index] / top:.1f}%'></i>"
            share = f"{show_share(then[index])} → {share}"
        shown = escape(name if name else "(empty)")
        rows.append(f'<span title="{shown}">{shown}</span><div>{bar}</div><em>{share}</em>')
    return f"<div class=bars>{''.join(rows)}</div>"


def draw_strip(values: Sequence[float | None], *, kind: str, titles: Sequence[str], full: float = 1.0) -> str:
    """Draw a row of cells, the darker the larger a value; None is a cell without rows.

    Parameters
    ----------
    kind : str
        ``heat`` or ``gap``: the colour.
    full : float
        The value that is as dark as can be.
    """
    cells = []
    for value, title in zip(values, titles, strict=True):
        if value is None or math.isnan(value):
            cells.append(f'<b class=none title="{escape(title)}: no rows"></b>')
        else:
            shade = min(1.0, value / full)
            cells.append(f"<b title=\"{escape(title)}: {value:.2f}\"><i style='opacity:{shade:.2f}'></i></b>")
    return f"<div class='strip {kind}'>{''.join(cells)}</div>"


def show_share(share: float) -> str:
    """Write a share; what is little but not nothing does not look like nothing.

    Examples
    --------
    >>> show_share(0.0), show_share(0.0001), show_share(0.1234), show_share(0.9999), show_share(1.0)
    ('0 %', '<0.1 %', '12.3 %', '>99.9 %', '100 %')
    """
    if share in (0.0, 1.0):
        return f"{share:.0%}".replace("%", " %")
    if share < 0.001:
        return "<0.1 %"
    return ">99.9 %" if share > 0.999 else f"{100 * share:.1f} %"


def _shares(counts: Counts) -> list[float]:
    n_present = max(1, int(counts[:-1].sum()))
    return [float(count) / n_present for count in counts[:-1]]


def _names(bins: Bins) -> list[str]:
    if bins.levels:
        return [*bins.levels, "others"]
    edges = [show_value(edge, bins.type) for edge in bins.edges]
    if not edges:
        return ["all"]
    between = [f"{low} to {high}" for low, high in pairwise(edges)]
    return [f"up to {edges[0]}", *between, f"above {edges[-1]}"]


def _bars(shares: Sequence[float], top: float, kind: str, names: Sequence[str]) -> str:
    step = _WIDTH / max(1, len(shares))
    parts = []
    for index, share in enumerate(shares):
        # What is there can be seen, however little it is.
        height = max(1.0, _HEIGHT * share / top) if share else 0.0
        parts.append(
            f"<rect class={kind} x='{index * step:.1f}' y='{_HEIGHT - height:.1f}' width='{max(0.5, step - 1):.1f}' "
            f"height='{height:.1f}'><title>{escape(names[index])}: {show_share(share)}</title></rect>"
        )
    return "".join(parts)


def _plot(bins: Bins, content: str) -> str:
    low, high = _ends(bins)
    y = _HEIGHT + 13
    return (
        f"<svg class=plot viewBox='0 0 {_WIDTH} {_HEIGHT + _FOOT}' role=img aria-label='distribution'>{content}"
        f"<line class=axis x1=0 y1={_HEIGHT} x2={_WIDTH} y2={_HEIGHT} />"
        f"<text x=0 y={y}>{escape(low)}</text><text x={_WIDTH} y={y} text-anchor=end>{escape(high)}</text></svg>"
    )


def _ends(bins: Bins) -> tuple[str, str]:
    if bins.levels:
        return bins.levels[0], bins.levels[-1]
    if len(bins.edges) < 2:
        return (show_value(bins.edges[0], bins.type), "") if bins.edges else ("", "")
    step = bins.edges[1] - bins.edges[0]
    return show_value(bins.edges[0] - step, bins.type), show_value(bins.edges[-1] + step, bins.type)


def as_json_value(value: Any) -> Any:
    """Return a figure as JSON has it: what could not be measured is null."""
    return None if isinstance(value, float) and not math.isfinite(value) else value
