"""Relations between columns and the target that one column alone does not show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

_Floats = npt.NDArray[np.float64]

# More columns than these add up to anything.
_MOST_TERMS = 4
_MOST_TRIED = 10
# What is left over after an exact sum is rounding: money is written in cents, shares with two or three digits.
_SMALLEST_R2 = 1 - 1e-5
_FEWEST_ROWS = 50
_FEWEST_LEVELS = 4
_SMALLEST_AGREEMENT = 0.8
_FEWEST_DEVIATIONS = 50
# The rows that deviate must have lost three quarters of the target's uncertainty.
_LARGEST_UNCERTAINTY = 0.25


@dataclass(frozen=True)
class CorrectedCopy:
    """A column that repeats another, except in some rows whose target is nearly decided."""

    column: str
    original: str
    share: float
    outcome: object
    purity: float


def columns_that_give(columns: pd.DataFrame, target: _Floats) -> Iterator[tuple[tuple[str, ...], str]]:
    """Find the fewest columns whose weighted sum, or whose product of powers, is the target.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> rides = pd.DataFrame({"casual": rng.poisson(9, 500), "member": rng.poisson(60, 500), "wind": rng.random(500)})
    >>> list(columns_that_give(rides, (rides.casual + rides.member).to_numpy(float)))
    [(('casual', 'member'), 'adds up to')]
    """
    varied = columns.loc[:, columns.nunique() > 1]
    numbers = varied.to_numpy(dtype=np.float64, na_value=np.nan)
    for how, matrix, wanted in (
        ("adds up to", numbers, target),
        ("multiplies to", _log(numbers), _log(target)),
    ):
        # A column that is often missing would leave too few whole rows to judge the others by.
        usable = np.isfinite(matrix).mean(axis=0) > 0.5 if len(matrix) else np.zeros(0, dtype=bool)
        rows = np.isfinite(matrix[:, usable]).all(axis=1) & np.isfinite(wanted)
        if usable.any() and rows.sum() >= max(_FEWEST_ROWS, len(target) // 2):
            chosen = _fewest_terms(matrix[np.ix_(rows, usable)], wanted[rows])
            if chosen:
                names = [name for name, use in zip(varied.columns, usable, strict=True) if use]
                yield tuple(names[index] for index in sorted(chosen)), how
                return


def corrected_copies(columns: pd.DataFrame, target: pd.Series[Any]) -> Iterator[CorrectedCopy]:
    """Find columns that repeat an earlier column's values, except where the target is nearly decided.

    Such a column was filled with the plan and corrected by the outcome: the room that a guest was given at
    arrival repeats the room that was reserved, and differs only for guests who came. Of the two, the later
    column is named, since tables tend to be written in the order in which things become known.
    """
    names = [name for name in columns.columns if not pd.api.types.is_float_dtype(columns[name])]
    base = _uncertainty(target)
    for index, later in enumerate(names):
        for earlier in names[:index]:
            if found := _judge_copy(columns[earlier], columns[later], target, base):
                yield found
                break


def _judge_copy(
    earlier: pd.Series[Any], later: pd.Series[Any], target: pd.Series[Any], base: float
) -> CorrectedCopy | None:
    if pd.api.types.is_numeric_dtype(earlier) != pd.api.types.is_numeric_dtype(later):
        return None
    differs = (earlier != later) & earlier.notna() & later.notna()
    share = float(differs.mean())
    if not 0 < share <= 1 - _SMALLEST_AGREEMENT or differs.sum() < _FEWEST_DEVIATIONS:
        return None
    # Flags agree in most rows because most of them are 0.
    if len(set(earlier.dropna().unique()) & set(later.dropna().unique())) < _FEWEST_LEVELS:
        return None
    if later.value_counts(normalize=True).iloc[0] > 1 - share:
        return None
    outcomes = target[differs].value_counts(normalize=True)
    if _uncertainty(target[differs]) > _LARGEST_UNCERTAINTY * base:
        return None
    outcome = outcomes.index[0]
    return CorrectedCopy(
        column=str(later.name),
        original=str(earlier.name),
        share=share,
        outcome=outcome.item() if hasattr(outcome, "item") else outcome,
        purity=float(outcomes.iloc[0]),
    )


def _uncertainty(target: pd.Series[Any]) -> float:
    """Return the Gini impurity: how often two rows drawn at random differ."""
    return 1 - float((target.value_counts(normalize=True) ** 2).sum())


def _fewest_terms(matrix: _Floats, target: _Floats) -> list[int]:
    """Choose columns that give the target exactly, without one to spare; empty if there are none.

    They are chosen one by one, each the best company for those before; a strong column that was chosen first
    and is not needed in the end is taken out again.
    """
    wanted = target - target.mean()
    spread = float((wanted**2).sum())
    centred = matrix - matrix.mean(axis=0)
    scale = np.sqrt((centred**2).sum(axis=0))
    places = np.flatnonzero(scale > 0)
    if spread == 0 or not len(places):
        return []
    centred = centred[:, places] / scale[places]
    chosen: list[int] = []
    rest = wanted
    for _ in range(min(_MOST_TRIED, len(places))):
        chosen.append(int(np.abs(rest @ centred).argmax()))
        rest = _rest(centred[:, chosen], wanted)
        if _is_rounding(rest, spread):
            break
    else:
        return []
    for index in list(chosen):
        others = [other for other in chosen if other != index]
        if others and _is_rounding(_rest(centred[:, others], wanted), spread):
            chosen = others
    return [int(places[index]) for index in chosen] if len(chosen) <= _MOST_TERMS else []


def _rest(columns: _Floats, target: _Floats) -> _Floats:
    rest: _Floats = target - columns @ np.linalg.lstsq(columns, target, rcond=None)[0]
    return rest


def _is_rounding(rest: _Floats, spread: float) -> bool:
    return float((rest**2).sum()) <= (1 - _SMALLEST_R2) * spread


def _log(values: _Floats) -> _Floats:
    with np.errstate(divide="ignore", invalid="ignore"):
        logs: _Floats = np.where(values > 0, np.log(values), np.nan)
    return logs
