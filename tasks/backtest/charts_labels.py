"""Names in a chart: how wide they are, and where each stands so that no two cover each other."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

ROW = 16.0
"""Height of a line of text."""

# Rather too wide than too narrow: fonts differ.
_WIDTH_OF_LETTER = 7.0
_RINGS = (11.0, 20.0, 32.0, 46.0, 62.0, 80.0, 100.0, 124.0, 150.0)
_ANGLES = (0, 180, -35, 35, -145, 145, -90, 90, -65, 65, -115, 115)
# What a place costs beside its distance: for area covered, lines crossed, steps over the edge, and for standing beside
# the mark of another, whose name it would be taken for.
_COVERED, _CROSSED, _OUTSIDE, _NEAR = 25.0, 6.0, 400.0, 0.2
_LESS_USUAL = 0.8

Anchor = Literal["start", "middle", "end"]
Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle in the picture."""

    left: float
    top: float
    right: float
    bottom: float

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share."""
        across = min(self.right, other.right) - max(self.left, other.left)
        down = min(self.bottom, other.bottom) - max(self.top, other.top)
        return max(0.0, across) * max(0.0, down)

    def outside(self, area: Box) -> float:
        """Return by how much it reaches over an area's edges."""
        return (
            max(0.0, area.left - self.left)
            + max(0.0, self.right - area.right)
            + max(0.0, area.top - self.top)
            + max(0.0, self.bottom - area.bottom)
        )


@dataclass(frozen=True)
class Label:
    """Text beside a point: where it stands, on which side of *x* it lies, and whether a line must lead there."""

    text: str
    x: float
    y: float
    anchor: Anchor
    box: Box
    is_far: bool


def shorten(text: str, most: int) -> str:
    """Cut a text that is too long for its place.

    Examples
    --------
    >>> shorten("performance threshold", 12)
    'performance…'
    """
    return text if len(text) <= most else f"{text[: most - 1].rstrip()}…"


def width_of(text: str) -> float:
    """Return about how wide a text is, rather too much than too little."""
    return _WIDTH_OF_LETTER * len(text)


def place_labels(
    named: Sequence[tuple[Point, str]], area: Box, *, markers: Sequence[Point], lines: Sequence[Point] = ()
) -> list[Label]:
    """Find a place for each point's name, so that no two names overlap and none covers a marker where room is left.

    Parameters
    ----------
    named : sequence of (point, text)
        The most important first: it gets the best place.
    markers : sequence of Point
        Middles of the marks.
    lines : sequence of Point
        Places on lines that a name should rather not cross.
    """
    spots = [Box(x - 7, y - 7, x + 7, y + 7) for x, y in markers]
    near = [Box(x - 16, y - 14, x + 16, y + 14) for x, y in markers]
    crossed = [Box(x - 1, y - 1, x + 1, y + 1) for x, y in lines]
    placed: list[Label] = []
    leaders: list[Box] = []
    for (x, y), text in named:
        options = [_label(text, x, y, ring, angle) for ring in _RINGS for angle in _ANGLES]
        costs = [
            reach
            + _OUTSIDE * label.box.outside(area)
            + _COVERED * sum(label.box.overlap(other.box) for other in placed)
            + _COVERED * sum(label.box.overlap(spot) for spot in spots)
            + _NEAR * sum(label.box.overlap(around) for around in near)
            + _CROSSED * sum(label.box.overlap(spot) > 0 for spot in crossed)
            + _COVERED * sum(label.box.overlap(spot) for spot in leaders)
            + _COVERED * sum(spot.overlap(other.box) for spot in _leader(label, (x, y)) for other in placed)
            + _COVERED * sum(spot.overlap(marker) for spot in _leader(label, (x, y)) for marker in spots)
            for reach, label in options
        ]
        label = options[costs.index(min(costs))][1]
        if not _is_free(label, area, placed):
            free = [
                (cost, each) for cost, (_, each) in zip(costs, options, strict=True) if _is_free(each, area, placed)
            ]
            label = min(free, key=lambda one: one[0])[1] if free else _far_away(label, (x, y), area, placed)
        placed.append(label)
        leaders += _leader(label, (x, y))
    return placed


def spread(wanted: Sequence[float], *, gap: float, low: float, high: float) -> list[float]:
    """Move places along a line as little as keeps each *gap* from the next, within *low* and *high* where room is.

    Examples
    --------
    >>> spread([100.0, 104.0, 50.0], gap=15, low=0, high=200)
    [94.5, 109.5, 50.0]
    """
    order = sorted(range(len(wanted)), key=lambda index: wanted[index])
    groups: list[list[int]] = []
    middles: list[float] = []
    for index in order:
        group, middle = [index], wanted[index]
        while True:
            reach = gap * (len(group) - 1) / 2
            middle = max(low + reach, min(high - reach, middle))
            if not groups or middle - middles[-1] >= gap * (len(group) + len(groups[-1])) / 2:
                break
            group = groups.pop() + group
            middles.pop()
            middle = sum(wanted[each] for each in group) / len(group)
        groups.append(group)
        middles.append(middle)
    places = [0.0] * len(wanted)
    for group, middle in zip(groups, middles, strict=True):
        for order_in_group, index in enumerate(group):
            places[index] = middle + gap * (order_in_group - (len(group) - 1) / 2)
    return places


def _is_free(label: Label, area: Box, placed: Sequence[Label]) -> bool:
    """Tell whether a name lies within the area and covers no other."""
    return not label.box.outside(area) and not any(label.box.overlap(other.box) for other in placed)


def _far_away(label: Label, point: Point, area: Box, placed: Sequence[Label]) -> Label:
    """Find the free place nearest to a point in the whole area, for a name that has none around it; else leave it."""
    wide = label.box.right - label.box.left
    n_columns, n_rows = int((area.right - area.left - wide) // ROW) + 1, int((area.bottom - area.top) // ROW)
    places = [(area.left + ROW * column, area.top + ROW * row) for column in range(n_columns) for row in range(n_rows)]
    for left, top in sorted(places, key=lambda place: math.dist(place, point)):
        box = Box(left, top, left + wide, top + ROW)
        found = Label(label.text, left, top + 0.55 * ROW + 4, "start", box, is_far=True)
        if _is_free(found, area, placed):
            return found
    return label


def _leader(label: Label, point: Point) -> list[Box]:
    """Places along the line that leads from a point to its name, if one must."""
    if not label.is_far:
        return []
    (x, y), steps = point, (0.35, 0.5, 0.65, 0.8, 0.95)
    places = [(x + step * (label.x - x), y + step * (label.y - 4 - y)) for step in steps]
    return [Box(x - 2, y - 2, x + 2, y + 2) for x, y in places]


def _label(text: str, x: float, y: float, ring: float, angle: int) -> tuple[float, Label]:
    """Return a place for a name and how far it is from its point, with the less usual sides counted as farther."""
    turn = math.radians(angle)
    at, across = (x + ring * math.cos(turn), y + ring * math.sin(turn)), math.cos(turn)
    anchor: Anchor = "middle" if abs(across) < 0.2 else "start" if across > 0 else "end"
    wide = width_of(text)
    left = at[0] - {"start": 0.0, "middle": wide / 2, "end": wide}[anchor]
    box = Box(left, at[1] - 0.55 * ROW, left + wide, at[1] + 0.45 * ROW)
    label = Label(text, at[0], at[1] + 4, anchor, box, is_far=ring > _RINGS[1])
    return ring + _LESS_USUAL * _ANGLES.index(angle), label
