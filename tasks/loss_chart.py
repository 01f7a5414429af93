"""The chart of a run's page: the loss of each model along the judged rows, drawn as SVG."""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

MODELS = ("challenger", "champion", "baseline")
"""In the order in which tables and legends name them; the page's style gives each its colour."""

_N_POINTS = 40
_WIDTH, _HEIGHT = 860, 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 64, 16, 34, 46
_N_TICKS = 5


def draw_losses(moments: pd.Series[Any], losses: Mapping[str, npt.NDArray[np.float64]], *, loss: str) -> str:
    """Draw the mean loss of each of up to 40 stretches of rows, one line for each model.

    Parameters
    ----------
    moments : Series of shape (n_rows,)
        When each row happened, or its number.
    losses : mapping of model to array of shape (n_rows,)
    """
    n_points = min(_N_POINTS, len(moments))
    means = {
        name: [float(part.mean()) for part in np.array_split(losses[name], n_points)]
        for name in MODELS
        if name in losses
    }
    step = nice_step(max(max(values) for values in means.values()), _N_TICKS)
    top = step * max(1, math.ceil(max(max(values) for values in means.values()) / step))
    names = "".join(_legend_entry(order, name) for order, name in enumerate(means))
    lines = "".join(_line(name, values, top) for name, values in reversed(means.items()))
    n_rows = f"{len(moments) // n_points:,}"
    label = (
        f"<text class='label' x='{_WIDTH - _RIGHT}' y='14' text-anchor='end'>mean {loss} of {n_rows} rows each</text>"
    )
    return (
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{escape(loss)} over the judged rows'>"
        f"{_grid(step, top)}{_times(moments)}{lines}{names}{label}</svg>"
    )


def nice_step(largest: float, n_ticks: int) -> float:
    """Return a round distance (1, 2 or 5 times a power of ten) at which about *n_ticks* ticks reach *largest*.

    Examples
    --------
    >>> nice_step(0.74, 5), nice_step(9_300, 5), nice_step(0.0, 5)
    (0.2, 2000.0, 0.2)
    """
    rough = (largest if largest > 0 else 1.0) / n_ticks
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(factor for factor in (1, 2, 5, 10) if factor * power >= rough * 0.999) * power
    return round(step, 12) if step > 1e-9 else step


def _place(index: int, n_points: int, value: float, top: float) -> tuple[float, float]:
    across, down = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM
    return _LEFT + across * index / max(1, n_points - 1), _HEIGHT - _BOTTOM - down * value / top


def _line(name: str, values: list[float], top: float) -> str:
    points = [_place(index, len(values), value, top) for index, value in enumerate(values)]
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    if len(points) == 1:
        return f"<circle class='{name} dot' cx='{points[0][0]:.1f}' cy='{points[0][1]:.1f}' r='4'/>"
    return f"<polyline class='{name} line' points='{path}'/>"


def _legend_entry(order: int, name: str) -> str:
    x = _LEFT + 118 * order
    return f"<line class='{name} line' x1='{x}' y1='10' x2='{x + 22}' y2='10'/><text x='{x + 28}' y='14'>{name}</text>"


def _grid(step: float, top: float) -> str:
    parts = []
    for tick in range(round(top / step) + 1):
        _, y = _place(0, 2, tick * step, top)
        kind = "axis" if tick == 0 else "grid"
        parts.append(f"<line class='{kind}' x1='{_LEFT}' y1='{y:.1f}' x2='{_WIDTH - _RIGHT}' y2='{y:.1f}'/>")
        parts.append(f"<text class='label' x='{_LEFT - 8}' y='{y + 4:.1f}' text-anchor='end'>{tick * step:.6g}</text>")
    return "".join(parts)


def _times(moments: pd.Series[Any]) -> str:
    n_ticks = min(_N_TICKS, len(moments))
    rows = np.linspace(0, len(moments) - 1, n_ticks).astype(int)
    is_short = (
        isinstance(moments.iloc[0], pd.Timestamp) and (moments.iloc[-1] - moments.iloc[0]).total_seconds() < 3 * 86_400
    )
    parts = []
    for order, row in enumerate(rows):
        x, y = _place(order, n_ticks, 0, 1)
        value = moments.iloc[int(row)]
        if isinstance(value, pd.Timestamp):
            text = f"{value:%d %b %H:%M}" if is_short else f"{value:%Y-%m-%d}"
        else:
            text = f"row {int(row) + 1:,}"
        anchor = "start" if order == 0 else "end" if order == n_ticks - 1 else "middle"
        parts.append(f"<line class='axis' x1='{x:.1f}' y1='{y}' x2='{x:.1f}' y2='{y + 5}'/>")
        parts.append(f"<text class='label' x='{x:.1f}' y='{y + 20}' text-anchor='{anchor}'>{text}</text>")
    return "".join(parts)
