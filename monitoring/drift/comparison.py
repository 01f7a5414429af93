"""One column of the window against the profile's: the finding, and the skew if there is any."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from monitoring.drift.distributions import compare_by_kolmogorov, measure_distance
from monitoring.drift.findings import ColumnFinding
from monitoring.drift.profile import Levels, ReferenceColumn
from monitoring.drift.reading import Column, LevelColumn, NumberColumn, count_levels, read_numbers, text_lengths
from monitoring.drift.shares import compare_counts, compare_shares, measure_divergence
from monitoring.drift.unit_changes import find_unit_change

# Numbers of few values are compared value by value: the distance of distribution functions is too careful with ties.
_FEW_VALUES = 20
_MOST_NAMED = 10
_LEAST_SHIFT = 0.02
_NO_EFFECT: dict[str, Any] = {"statistic": 0.0, "p_value": 1.0, "effect": 0.0}
_OF_NUMBERS, _OF_LEVELS = "wasserstein", "jensen-shannon"


@dataclass(frozen=True)
class Compared:
    """What came out of one column: the finding, what was read, and why its values were not compared, if so."""

    finding: ColumnFinding
    read: NumberColumn | LevelColumn
    why_not: str = ""


def compare_column(reference: ReferenceColumn, column: Column) -> Compared:
    """Compare a column of the window with the profile's: values, gaps, categories, unit.

    Parameters
    ----------
    column : Series or ChunkedArray of shape (n_rows,)
        In the order of time, so that a run of gaps is one.
    """
    if reference.kind == "categorical":
        return _compare_levels(reference, count_levels(column))
    if reference.kind == "text":
        return _compare_texts(reference, column)
    return _compare_numbers(reference, read_numbers(column, reference.dtype))


def _compare_numbers(reference: ReferenceColumn, found: NumberColumn) -> Compared:
    notes = []
    if found.n_infinite:
        notes.append(f"{found.n_infinite:,} infinite values, counted as missing")
    shared = _shared(reference, found)
    steps, ordered = reference.steps, found.ordered
    if steps is None or not len(ordered):
        why = "no value in the reference" if steps is None else "no value in the window"
        finding = ColumnFinding(**shared, **_NO_EFFECT, effect_name=_OF_NUMBERS, notes=(*notes, why))
        return Compared(finding, found, why)
    if reference.kind == "time":
        notes.append("moments move on by themselves: only their gaps are compared")
        finding = ColumnFinding(**shared, **_NO_EFFECT, effect_name=_OF_NUMBERS, notes=tuple(notes))
        return Compared(finding, found, "moments move on by themselves")
    if steps.is_exact and len(steps.values) <= _FEW_VALUES:
        statistic, p_value = compare_counts(*_count_values(steps.values, steps.upto, ordered))
    else:
        statistic, p_value = compare_by_kolmogorov(steps, ordered)
    effect, shift = measure_distance(steps, ordered)
    unit = None if reference.unit is None else find_unit_change(reference.unit, steps, ordered)
    if unit is not None:
        notes.append(f"looks like another unit: {unit[0]}")
    finding = ColumnFinding(
        **shared,
        statistic=statistic,
        p_value=p_value,
        effect=effect,
        effect_name=_OF_NUMBERS,
        shift=shift,
        direction=_direction(shift),
        unit_ratio=None if unit is None else unit[1],
        notes=tuple(notes),
    )
    return Compared(finding, found)


def _compare_texts(reference: ReferenceColumn, column: Column) -> Compared:
    found = count_levels(column)
    lengths, shared = text_lengths(column), _shared(reference, found)
    if reference.steps is None or not len(lengths):
        why = "no value in the reference" if reference.steps is None else "no value in the window"
        finding = ColumnFinding(**shared, **_NO_EFFECT, effect_name=_OF_NUMBERS, notes=(why,))
        return Compared(finding, found, why)
    statistic, p_value = compare_by_kolmogorov(reference.steps, lengths)
    effect, shift = measure_distance(reference.steps, lengths)
    finding = ColumnFinding(
        **shared,
        statistic=statistic,
        p_value=p_value,
        effect=effect,
        effect_name=_OF_NUMBERS,
        shift=shift,
        direction=_direction(shift),
        notes=("a text that hardly repeats itself: its length is compared",),
    )
    return Compared(finding, found)


def _compare_levels(reference: ReferenceColumn, found: LevelColumn) -> Compared:
    shared, levels = _shared(reference, found), reference.levels
    n_current = found.n_rows - found.n_missing
    if levels is None or not n_current:
        why = "no value in the reference" if levels is None else "no value in the window"
        finding = ColumnFinding(**shared, **_NO_EFFECT, effect_name=_OF_LEVELS, notes=(why,))
        return Compared(finding, found, why)
    known = {name: n for name, n in found.counts.items() if name in levels.counts}
    unknown = {name: n for name, n in found.counts.items() if name not in levels.counts}
    notes = []
    before, now = [*levels.counts.values()], [known.get(name, 0) for name in levels.counts]
    if levels.n_folded_rows:
        notes.append(f"the {levels.n_folded_levels:,} rarest categories of the reference count as one")
        before, now = [*before, levels.n_folded_rows], [*now, sum(unknown.values())]
    else:
        before, now = [*before, *(0 for _ in unknown)], [*now, *unknown.values()]
    counts = np.array(before, dtype=np.int64), np.array(now, dtype=np.int64)
    statistic, p_value = compare_counts(*counts)
    new = {} if levels.n_folded_rows else unknown
    n_new, n_reference = sum(new.values()), reference.n_present
    gone = _find_gone(levels, known, n_reference, n_current)
    finding = ColumnFinding(
        **shared,
        statistic=statistic,
        p_value=p_value,
        effect=measure_divergence(*counts),
        effect_name=_OF_LEVELS,
        new_categories=_most_frequent(new),
        new_share=n_new / n_current,
        new_p=_chance_of_new(levels.n_once, n_reference, n_new, n_current),
        gone_categories=_most_frequent(gone),
        gone_share=sum(gone.values()) / n_reference,
        notes=tuple(notes),
    )
    return Compared(finding, found)


def _shared(reference: ReferenceColumn, found: NumberColumn | LevelColumn) -> dict[str, Any]:
    """What every finding says, whatever its kind: who it is of, how many, and the gaps."""
    before, now = (reference.n_missing, reference.n_rows), (found.n_missing, found.n_rows)
    usual = (before[0] + 0.5) / (before[1] + 1)
    # A run of so many gaps begins at one of the rows; the union bound over them, were gaps independent.
    chance = found.n_rows * usual**found.longest_gap if found.longest_gap else 1.0
    return {
        "column": reference.name,
        "kind": reference.kind,
        "role": reference.role,
        "n_reference": reference.n_rows,
        "n_current": found.n_rows,
        "missing_reference": before[0] / before[1] if before[1] else 0.0,
        "missing_current": now[0] / now[1] if now[1] else 0.0,
        "missing_p": compare_shares(before, now) if before[1] and now[1] else 1.0,
        "gap_rows": found.longest_gap,
        "gap_p": min(1.0, chance),
    }


def _count_values(
    values: tuple[float, ...], upto: tuple[int, ...], ordered: npt.NDArray[Any]
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Count the rows at each of few values, and at all others together."""
    steps = np.asarray(values, dtype=ordered.dtype)
    now = np.searchsorted(ordered, steps, side="right") - np.searchsorted(ordered, steps, side="left")
    before = np.append(np.diff(np.asarray((0, *upto))), 0)
    return before.astype(np.int64), np.append(now, len(ordered) - now.sum()).astype(np.int64)


def _chance_of_new(n_once: int, n_reference: int, n_new: int, n_current: int) -> float:
    """How likely so many rows with unseen categories are if nothing changed.

    The share of rows whose category was not seen yet is about that of the categories seen once (Good 1953); as an
    estimate it scatters as a Beta distribution does.
    """
    if not n_new:
        return 1.0
    from scipy.stats import betabinom

    return float(np.clip(betabinom.sf(n_new - 1, n_current, n_once + 1, max(1, n_reference - n_once)), 0.0, 1.0))


def _find_gone(levels: Levels, known: dict[str, int], n_reference: int, n_current: int) -> dict[str, int]:
    """Find categories that the window lacks although by their share they should have come (to one in a thousand)."""
    expected = math.log(1_000)
    return {
        name: n for name, n in levels.counts.items() if name not in known and n * n_current / n_reference > expected
    }


def _most_frequent(counts: dict[str, int]) -> tuple[str, ...]:
    ordered = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    return tuple(name for name, _ in ordered[:_MOST_NAMED])


def _direction(shift: float) -> Literal["up", "down", ""]:
    if abs(shift) < _LEAST_SHIFT:
        return ""
    return "up" if shift > 0 else "down"
