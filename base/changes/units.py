"""Units that jumped: numbers that are those of before times a thousand, with another sign, or in Fahrenheit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from base.changes.profiles import PROBABILITIES, ColumnProfile

# Distances are in widths (between the quartiles) of the narrower distribution.
_SAME, _SAME_IF_FAR = 0.2, 1.5
_FAR = 20
# Of a column around zero only its width jumps. Thirty rows of a very skewed one differ fivefold by chance.
_WIDER, _WIDER_BY_CHANCE = 5, 80
_NEWEST = 3
_FEWEST = 30
# From the middle of the last whole stretch to that of the current rows it is two and a half stretches.
_USUAL_STEPS = 3
_MIDDLE = PROBABILITIES.index(0.5)
_QUARTILES = slice(_MIDDLE - 1, _MIDDLE + 2)


@dataclass(frozen=True)
class _Conversion:
    name: str
    factor: float
    offset: float = 0.0

    def apply(self, values: Sequence[float]) -> list[float]:
        converted = [value * self.factor + self.offset for value in values]
        return converted[::-1] if self.factor < 0 else converted


_FACTORS = {
    "x10": 10,
    "x100": 100,
    "x1,000": 1_000,
    "x10,000": 1e4,
    "x1,000,000": 1e6,
    "x60": 60,
    "x3,600": 3_600,
    "x1.609, miles to kilometres": 1.609344,
    "x2.205, kilograms to pounds": 2.2046226,
    "x3.281, metres to feet": 3.2808399,
}
_CONVERSIONS = (
    *(_Conversion(name, factor) for name, factor in _FACTORS.items()),
    _Conversion("x0.1", 0.1),
    _Conversion("x0.01", 0.01),
    _Conversion("x0.001", 0.001),
    _Conversion("x0.0001", 1e-4),
    _Conversion("x0.000001", 1e-6),
    _Conversion("x1/60", 1 / 60),
    _Conversion("x1/3,600", 1 / 3_600),
    _Conversion("x0.621, kilometres to miles", 1 / 1.609344),
    _Conversion("x0.454, pounds to kilograms", 1 / 2.2046226),
    _Conversion("x0.305, feet to metres", 1 / 3.2808399),
    _Conversion("Celsius to Fahrenheit", 1.8, 32),
    _Conversion("Fahrenheit to Celsius", 1 / 1.8, -32 / 1.8),
    _Conversion("Celsius to Kelvin", 1, 273.15),
    _Conversion("Kelvin to Celsius", 1, -273.15),
    _Conversion("the sign is the other one", -1),
)


def find_conversion(reference: ColumnProfile, current: ColumnProfile) -> tuple[str, float] | None:
    """Find the conversion that makes the reference's numbers the current ones; None where nothing jumped.

    A jump is named only where the current numbers lie apart from the reference as a whole and from every stretch
    of it, and a conversion of the whole or of one of the newest stretches meets them nearly. (Any stretch would
    be too many to choose from: a growing counter is ten times what it was at some time.)

    Returns
    -------
    tuple of str and float, or None
        The conversion's name and its factor.
    """
    now = current.scale
    pasts = [reference.scale, *(stretch.scale for stretch in reference.stretches)]
    pasts = [past for past in pasts if past]
    n_rows = min(_n_counting(reference), _n_counting(current))
    if n_rows < _FEWEST or not pasts or not now:
        return None
    wider = _WIDER + _WIDER_BY_CHANCE / math.sqrt(n_rows)
    if not all(_is_apart(past, now, wider=wider) for past in pasts) or _moves_on(reference, current):
        return None
    apart = min(_distance(past, now) for past in pasts)
    # Few rows scatter; numbers that are far away, as after x1,000, need not be met as closely.
    same = max(_SAME, min(_SAME_IF_FAR, apart / _FAR))
    usual = [pasts[0], *pasts[1:][-_NEWEST:]]
    found = [
        (distance, conversion)
        for conversion in _CONVERSIONS
        if (distance := min(_distance(conversion.apply(past), now) for past in usual)) < same
    ]
    if not found:
        return None
    # Where the numbers alone cannot tell (x1.8+32 of a wide column and x1.609), the plainer conversion is named.
    best = min(distance for distance, _conversion in found)
    chosen = next(conversion for distance, conversion in found if distance <= 2 * best + 0.01)
    return chosen.name, chosen.factor


def list_conversions() -> tuple[tuple[str, float, float], ...]:
    """List the conversions that are known: name, factor, and what is added after it."""
    return tuple((each.name, each.factor, each.offset) for each in _CONVERSIONS)


def similarity(reference: Sequence[float], current: Sequence[float]) -> float:
    """Tell how alike two distributions are by their quantiles: 1 the same, 0 apart by their own width."""
    if not reference or not current:
        return 0.0
    return max(0.0, 1.0 - _distance(reference, current))


def _n_counting(profile: ColumnProfile) -> int:
    return profile.n_present - profile.n_zero


def _is_apart(one: Sequence[float], other: Sequence[float], *, wider: float) -> bool:
    """Tell whether the middle half of either lies beyond nearly all of the other, or one is far wider."""
    for inner, outer in ((one, other), (other, one)):
        lower, _middle, upper = inner[_QUARTILES]
        if lower > outer[-2] or upper < outer[1]:
            return True
    narrow, wide = sorted((_width(one), _width(other)))
    return wide > wider * narrow


def _moves_on(reference: ColumnProfile, current: ColumnProfile) -> bool:
    """Tell whether the numbers only went on as they used to from stretch to stretch: a counter, a season."""
    medians = [stretch.scale[_MIDDLE] for stretch in reference.stretches if stretch.scale]
    if len(medians) < 2:
        return False
    largest = max(abs(after - before) for before, after in pairwise(medians))
    return abs(current.scale[_MIDDLE] - medians[-1]) <= _USUAL_STEPS * largest


def _distance(one: Sequence[float], other: Sequence[float]) -> float:
    """Average distance of the quartiles, in units of the narrower distribution's width between them.

    The outer quantiles of a skewed column scatter too much to tell anything from a short window.
    """
    pairs = list(zip(one[_QUARTILES], other[_QUARTILES], strict=True))
    apart = sum(abs(a - b) for a, b in pairs) / len(pairs)
    if apart == 0:
        return 0.0
    width = min(_width(one), _width(other))
    return apart / width if width else math.inf


def _width(quantiles: Sequence[float]) -> float:
    lower, middle, upper = quantiles[_QUARTILES]
    # A column of one value has no width; a twentieth of its size stands for it.
    return (upper - lower) or abs(middle) / 20
