"""Units that changed: values that look like the reference times a constant."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict

from base.changes.profiles import PROBABILITIES, ColumnProfile, Stretch
from base.changes.units import find_conversion, list_conversions
from monitoring.drift.distributions import Steps, compare_by_kolmogorov, measure_distance

_STRETCHES = 8
_FEWEST_OF_STRETCH = 30
# Of a wide column a small factor shows only in the whole distribution: it must be surely another one as it is, and
# not to be told from the reference's once it is converted back. Fewer rows could not tell, and more take too long.
_FEWEST_ROWS, _MOST_ROWS = 100, 5_000
_SURELY_OTHER, _LIKE_IT, _LITTLE_LEFT = 1e-6, 0.05, 0.1
# A few values look like any others times something: January is October times 0.1.
_FEWEST_VALUES = 5
# Which quantiles from either end are the spread, and how far it may be from what the factor makes of it: a window of a
# season is narrower than a year, though hardly by half.
_TAIL = 1
_LOG_SPREAD = math.log(1.8)


class UnitFacts(BaseModel):
    """What tells a column's unit: quantiles of the numbers that are not zero, over all rows and over stretches."""

    model_config = ConfigDict(frozen=True)

    n_zero: int
    scale: tuple[float, ...]
    stretches: tuple[tuple[float, ...], ...] = ()


def take_unit_facts(in_order: npt.NDArray[Any]) -> UnitFacts:
    """Take the facts of finite numbers in the order of time; the stretches tell a counter from a new unit."""
    n_stretches = min(_STRETCHES, len(in_order) // _FEWEST_OF_STRETCH)
    parts = np.array_split(in_order, n_stretches) if n_stretches > 1 else []
    return UnitFacts(
        n_zero=int((in_order == 0).sum()), scale=_scale(in_order), stretches=tuple(_scale(part) for part in parts)
    )


def find_unit_change(reference: UnitFacts, steps: Steps, ordered: npt.NDArray[Any]) -> tuple[str, float] | None:
    """Find the conversion that makes the reference's numbers those of the window.

    One that jumped out of its range is found by :mod:`base.changes.units`; one of a wide column, where both lie over
    each other, by converting the window back and comparing the whole distribution.

    Returns
    -------
    tuple of str and float, or None
        What it is called, and its factor.

    Examples
    --------
    >>> from monitoring.drift.distributions import take_steps
    >>> miles = np.random.default_rng(0).gamma(4, 5, 2_000)
    >>> find_unit_change(take_unit_facts(miles), take_steps(np.sort(miles)), np.sort(miles[:300] * 1.609344))
    ('x1.609, miles to kilometres', 1.609344)
    """
    if np.count_nonzero(ordered[1:] != ordered[:-1]) < _FEWEST_VALUES - 1:
        return None
    before = _profile(reference, steps.n)
    zeros = np.searchsorted(ordered, [0.0], side="left")[0], np.searchsorted(ordered, [0.0], side="right")[0]
    others = ordered if zeros[0] == zeros[1] else np.delete(ordered, np.s_[zeros[0] : zeros[1]])
    scale = _scale(others)
    now = ColumnProfile(
        type="number", n=len(ordered), n_null=0, n_distinct=0, n_zero=int(zeros[1] - zeros[0]), scale=scale
    )
    found = find_conversion(before, now) or _convert_back(steps, ordered)
    if found is None or not _is_possible(found[1], steps, ordered):
        return None
    return found if _spreads_alike(found[1], reference.scale, scale) else None


def _spreads_alike(factor: float, before: tuple[float, ...], now: tuple[float, ...]) -> bool:
    """Tell another unit from other weather: a unit stretches the spread of the numbers as much as their size."""
    if not before or not now:
        return True
    spreads = [scale[-1 - _TAIL] - scale[_TAIL] for scale in (before, now)]
    if min(spreads) <= 0 or factor <= 0:
        return True
    return abs(math.log(spreads[1] / spreads[0] / factor)) <= _LOG_SPREAD


def _is_possible(factor: float, steps: Steps, ordered: npt.NDArray[Any]) -> bool:
    """Tell conversion from growth: kilometres made of whole miles have fractions, counts that grew have none."""
    if not all(bool((values == np.floor(values)).all()) for values in (ordered, np.asarray(steps.values))):
        return True
    if factor > 1:
        return factor.is_integer() and bool((ordered % factor == 0).all())
    return factor == 1 or (1 / factor).is_integer()


def _convert_back(steps: Steps, ordered: npt.NDArray[Any]) -> tuple[str, float] | None:
    n_rows = len(ordered)
    if n_rows < _FEWEST_ROWS or steps.n < _FEWEST_ROWS or ordered[0] == ordered[-1]:
        return None
    if n_rows > _MOST_ROWS:
        ordered = ordered[np.linspace(0, n_rows - 1, _MOST_ROWS).round().astype(np.int64)]
    if compare_by_kolmogorov(steps, ordered)[1] >= _SURELY_OTHER:
        return None
    apart = measure_distance(steps, ordered)[0]
    best: tuple[float, str, float] | None = None
    for name, factor, offset in list_conversions():
        back = np.sort((ordered.astype(np.float64) - offset) / factor).astype(ordered.dtype)
        p_value = compare_by_kolmogorov(steps, back)[1]
        if p_value >= _LIKE_IT and measure_distance(steps, back)[0] <= _LITTLE_LEFT * apart:
            best = max(best or (0.0, "", 0.0), (p_value, name, factor))
    return None if best is None else best[1:]


def _profile(facts: UnitFacts, n: int) -> ColumnProfile:
    return ColumnProfile(
        type="number",
        n=n,
        n_null=0,
        n_distinct=0,
        n_zero=facts.n_zero,
        scale=facts.scale,
        stretches=tuple(Stretch(n=0, n_null=0, n_distinct=0, scale=scale) for scale in facts.stretches if scale),
    )


def _scale(values: npt.NDArray[Any]) -> tuple[float, ...]:
    others = np.sort(values[values != 0]) if len(values) else values
    if not len(others):
        return ()
    places = np.minimum((np.array(PROBABILITIES) * len(others)).astype(int), len(others) - 1)
    return tuple(float(value) for value in others[places])
