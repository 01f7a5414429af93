"""Find columns that give the target away, or only name the row, before a model is built on them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from base.metrics import Task
from features.relations import columns_that_give, corrected_copies
from features.single_column import measure_power

Kind = Literal["leak", "identifier", "time"]

# Systematic samples keep `everfit init` at seconds; a leak shows in any of them.
_MOST_ROWS = 40_000
# No honest column of the data that this was tried on reaches an AUC of 0.91, but a flight's distance tells its
# time in the air with R² 0.982. What gives the target away reaches 0.9999.
_LEAKING_AUC = 0.98
_LEAKING_R2 = 0.995
_LEAKING_PART = 0.9
# A day's record that is written within the same day is no later than its day.
_LATER_SHARE = 0.01
_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_DATE_SHARE = 0.99
# Whole numbers that are all different: a sequence fills its range, and a quantity of so many rows would
# somewhere have repeated.
_FEWEST_IDENTIFIED_ROWS = 1_000
_IDENTIFIER_SHARE = 0.95
_LONGEST_GAP = 3
_FEWEST_LEVELS_OF_A_CLOCK = 50
_RISING_SHARE = 0.999


@dataclass(frozen=True)
class LeakSuspect:
    """A column that should not be a feature, and why."""

    column: str
    reason: str
    kind: Kind = "leak"


def find_leak_suspects(
    frame: pd.DataFrame, *, target: str, time: str | None, task: Task, computed_from: Sequence[str] = ()
) -> list[LeakSuspect]:
    """Find the columns that look as if they were known only after the target, or only name the row.

    Looked for are, in this order; the first that fits is the reason given:

    - copies of the time column, and columns that grow with it as a clock does (kind ``time``);
    - identifiers: sequences, unique keys, text with a value of its own in nearly every row (``identifier``);
    - moments that lie after the row's own time (``leak``), as the rest:
    - columns that together add up, or multiply, to the target;
    - single columns that predict it nearly perfectly: AUC of at least 0.98 or R² of 0.995 on the newer 30 %
      of the rows, by a model of that column alone that was fitted on the older 70 %. Of the columns that the
      target is computed from, the strongest is named whatever its power, and others from 0.9: if all of them
      were known beforehand, there would be nothing to predict;
    - columns that repeat another one, except in rows whose target is nearly decided: something was corrected
      afterwards.

    It sees what power and structure show. A leak that helps only a little looks like any good feature.

    Parameters
    ----------
    frame : DataFrame of shape (n_rows, n_columns)
        With the target, computed where it is an expression. Rows without a target are not looked at.
    computed_from : sequence of str, optional
        The columns of the target's expression.
    """
    frame = frame[frame[target].notna()]
    if time is not None and time in frame.columns:
        frame = frame[frame[time].notna()].sort_values(time, kind="stable")
    frame = frame.reset_index(drop=True)
    candidates = [name for name in frame.columns if name not in (target, time) and frame[name].notna().any()]
    suspects: dict[str, LeakSuspect] = {}
    moments = frame[time] if time is not None and time in frame.columns else None
    for name in candidates:
        found = _find_clock(frame[name], moments) or _find_identifier(frame[name])
        if found is None and moments is not None:
            found = _find_later_moments(frame[name], moments)
        if found is not None:
            suspects[name] = LeakSuspect(name, found[1], found[0])
    left = [name for name in candidates if name not in suspects and not _is_moment(frame[name])]
    for suspect in _find_leaks(_thin(frame[[*left, target]]), target, task, computed_from):
        suspects.setdefault(suspect.column, suspect)
    return [suspects[name] for name in candidates if name in suspects]


def _find_leaks(frame: pd.DataFrame, target: str, task: Task, computed_from: Sequence[str]) -> Iterator[LeakSuspect]:
    columns = [name for name in frame.columns if name != target]
    if task == "regression":
        numbers = [name for name in columns if pd.api.types.is_numeric_dtype(frame[name])]
        for names, how in columns_that_give(frame[numbers], frame[target].to_numpy(dtype=np.float64)):
            for name in names:
                others = " and ".join(repr(other) for other in names if other != name)
                yield LeakSuspect(name, f"{f'together with {others} ' if others else ''}it {how} {target!r}")
    powers = {name: measure_power(frame[name], frame[target], task) for name in columns}
    measure, limit = ("AUC", _LEAKING_AUC) if task == "classification" else ("R²", _LEAKING_R2)
    for name, power in powers.items():
        if power >= limit:
            reason = f"alone it predicts {target!r} nearly perfectly ({measure} {power:.3f} on later rows)"
            yield LeakSuspect(name, reason)
    parts = {name: powers[name] for name in computed_from if name in powers}
    for name, power in parts.items():
        if power >= min(_LEAKING_PART, max(parts.values())):
            yield LeakSuspect(name, f"{target!r} is computed from it ({measure} {power:.3f} alone on later rows)")
    if task == "classification":
        yield from _find_corrected(frame[columns], frame[target])


def _find_corrected(columns: pd.DataFrame, target: pd.Series[Any]) -> Iterator[LeakSuspect]:
    for copy in corrected_copies(columns, target):
        yield LeakSuspect(
            copy.column,
            f"it repeats {copy.original!r}, except in {copy.share:.0%} of the rows, where {target.name!r} is nearly "
            f"always {copy.outcome!r} ({copy.purity:.0%}): it may have been corrected afterwards",
        )


def _thin(frame: pd.DataFrame) -> pd.DataFrame:
    if len(frame) <= _MOST_ROWS:
        return frame
    return frame.iloc[np.linspace(0, len(frame) - 1, _MOST_ROWS).astype(np.intp)].reset_index(drop=True)


def _find_clock(column: pd.Series[Any], moments: pd.Series[Any] | None) -> tuple[Kind, str] | None:
    """Judge a column whose rows are ordered by time: does it say the same as the time column?"""
    if moments is None:
        return None
    values = _as_dates(column)
    if values is None:
        if not pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
            return None
        values = column
    present = values.notna()
    if not present.all():
        return None
    n_values, n_moments = values.nunique(), moments.nunique()
    if n_values > 1 and n_values == n_moments and _is_monotone(values, moments):
        return "time", f"it is the time column {moments.name!r} in other words"
    if _is_moment(values) and (values.dt.floor("D") == moments.dt.floor("D")).mean() >= _DATE_SHARE:
        return "time", f"it is the day of the time column {moments.name!r}"
    if _is_moment(values):
        return None
    numbers = values.to_numpy(dtype=np.float64)
    steps = np.diff(numbers)
    if n_values >= _FEWEST_LEVELS_OF_A_CLOCK and (steps < 0).sum() <= (1 - _RISING_SHARE) * (steps != 0).sum():
        return "identifier", "it only grows from row to row, so later rows hold values that no model has seen"
    return None


def _is_monotone(values: pd.Series[Any], moments: pd.Series[Any]) -> bool:
    """Tell whether each moment has one value, and later moments later ones."""
    first = values.groupby(moments.to_numpy()).agg(["min", "max"])
    return bool((first["min"] == first["max"]).all() and first["min"].is_monotonic_increasing)


def _find_identifier(column: pd.Series[Any]) -> tuple[Kind, str] | None:
    present = column.dropna()
    n_rows, n_values = len(present), present.nunique()
    if n_rows < 2 or _is_moment(column) or pd.api.types.is_bool_dtype(column):
        return None
    if not pd.api.types.is_numeric_dtype(column):
        if n_values >= _IDENTIFIER_SHARE * n_rows and n_values > _FEWEST_LEVELS_OF_A_CLOCK:
            return "identifier", "nearly every row has a text of its own"
        return None
    numbers = present.to_numpy(dtype=np.float64)
    if n_values < n_rows or not (numbers == np.floor(numbers)).all():
        return None
    is_dense = numbers.max() - numbers.min() < _LONGEST_GAP * n_values
    if n_rows >= _FEWEST_IDENTIFIED_ROWS or (is_dense and n_rows > _FEWEST_LEVELS_OF_A_CLOCK):
        return "identifier", "it is a whole number that no two rows share"
    return None


def _find_later_moments(column: pd.Series[Any], moments: pd.Series[Any]) -> tuple[Kind, str] | None:
    values = _as_dates(column)
    if values is None:
        return None
    share = float((values > moments)[values.notna()].mean())
    if share < _LATER_SHARE:
        return None
    return "leak", (
        f"in {share:.0%} of the rows it is later than {moments.name!r}: unless it is a plan, such as a due date, "
        "it was known only afterwards"
    )


def _as_dates(column: pd.Series[Any]) -> pd.Series[Any] | None:
    if _is_moment(column):
        return column
    if pd.api.types.is_numeric_dtype(column) or pd.api.types.is_bool_dtype(column):
        return None
    present = column.dropna()
    if len(present) == 0 or not present.iloc[:100].astype(str).str.match(_ISO_DATE).all():
        return None
    dates = pd.to_datetime(column, utc=True, format="ISO8601", errors="coerce")
    return dates if dates.notna().sum() >= _DATE_SHARE * len(present) else None


def _is_moment(column: pd.Series[Any]) -> bool:
    return pd.api.types.is_datetime64_any_dtype(column)
