"""Skew between training and serving: columns that are of another kind than the reference's, however distributed."""

from __future__ import annotations

import numpy as np

from monitoring.drift.findings import Skew
from monitoring.drift.profile import ReferenceColumn
from monitoring.drift.reading import LevelColumn, NumberColumn

# Over all columns of a window, and each kind of skew, one word in a thousand windows by chance.
_BY_CHANCE = 1e-3


def find_skew(reference: ReferenceColumn, found: NumberColumn | LevelColumn, *, n_columns: int) -> list[Skew]:
    """Find what is of another kind: no numbers, fractions of whole numbers, out of range, one value, infinite.

    Parameters
    ----------
    n_columns : int
        How many columns are looked at, since each of them may look strange by chance.
    """
    level = _BY_CHANCE / max(1, n_columns)
    if isinstance(found, LevelColumn):
        return _find_constant(reference, n_values=len(found.counts), n_rows=found.n_rows - found.n_missing, level=level)
    n_present, skew = len(found.ordered), []
    if found.n_unreadable:
        text = f"{found.n_unreadable:,} values are no numbers, such as {found.unreadable!r}"
        skew.append(Skew(column=reference.name, kind="type", text=text, share=found.n_unreadable / found.n_rows))
    if found.n_infinite:
        text = f"{found.n_infinite:,} values are infinite"
        skew.append(Skew(column=reference.name, kind="infinite", text=text, share=found.n_infinite / found.n_rows))
    if not n_present or reference.steps is None or reference.kind == "time":
        return skew
    skew += _find_fractions(reference, found)
    skew += _find_outside(reference, found, level)
    n_values = 1 if found.ordered[0] == found.ordered[-1] else 2
    return skew + _find_constant(reference, n_values=n_values, n_rows=n_present, level=level)


def _find_fractions(reference: ReferenceColumn, found: NumberColumn) -> list[Skew]:
    if not reference.is_whole:
        return []
    n_fractions = int((found.ordered != np.floor(found.ordered)).sum())
    if not n_fractions:
        return []
    text = f"{n_fractions:,} values have fractions, where the reference has whole numbers only"
    return [Skew(column=reference.name, kind="type", text=text, share=n_fractions / found.n_rows)]


def _find_outside(reference: ReferenceColumn, found: NumberColumn, level: float) -> list[Skew]:
    """Find more values beyond the reference's range than chance puts there.

    What of a continuous distribution lies outside the range of n of its values is Beta(2, n - 1) distributed,
    whatever the distribution (Wilks 1941).
    """
    from scipy.stats import betabinom

    steps = reference.steps
    if steps is None or steps.n < 2:
        return []
    low, high = (np.asarray(steps.values[end], dtype=found.ordered.dtype) for end in (0, -1))
    n_below = int(np.searchsorted(found.ordered, low, side="left"))
    n_above = len(found.ordered) - int(np.searchsorted(found.ordered, high, side="right"))
    n_outside = n_below + n_above
    if not n_outside or betabinom.sf(n_outside - 1, len(found.ordered), 2, steps.n - 1) >= level:
        return []
    farthest = found.ordered[-1] if n_above else found.ordered[0]
    text = f"{n_outside:,} values outside {low:g} to {high:g}, such as {farthest:g}"
    return [Skew(column=reference.name, kind="range", text=text, share=n_outside / found.n_rows)]


def _find_constant(reference: ReferenceColumn, *, n_values: int, n_rows: int, level: float) -> list[Skew]:
    """Find a window of one value where the reference has several: a sensor that is stuck, a default filled in."""
    if reference.kind == "text" or n_values != 1:
        return []
    most = 0
    if reference.levels is not None:
        most = max(reference.levels.counts.values())
    elif reference.steps is not None:
        most = max(upto - below for below, upto in zip(reference.steps.below, reference.steps.upto, strict=True))
    if not most or most == reference.n_present or (most / reference.n_present) ** n_rows >= level:
        return []
    text = f"all {n_rows:,} values are the same, where the reference has several"
    return [Skew(column=reference.name, kind="constant", text=text, share=n_rows / max(1, n_rows))]
