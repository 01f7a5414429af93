"""Section `monitor` of the definition: when the served model is doubted."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from base.section import NOTHING, Fraction, Section, Whole, one_or_more
from base.times import Duration, describe_duration, parse_duration

_PERIODS = {
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
    "month": timedelta(days=365.25 / 12),
    "quarter": timedelta(days=365.25 / 4),
    "year": timedelta(days=365.25),
}
QUARTER = _PERIODS["quarter"]
"""The length of a quarter of a year."""

_ROWS = re.compile(r"(\d[\d_,]*) rows?")
_BUDGET = re.compile(rf"(?:at most )?(\d+(?:\.\d+)?) (?:per|a) ({'|'.join(_PERIODS)})")
_CONFIRMATION = re.compile(r"(\d{1,3}) of (\d{1,3})")
_HOURLY = timedelta(hours=1)


@dataclass(frozen=True)
class RowCount:
    """A window that ends when it has so many rows, however long that takes."""

    n_rows: int


@dataclass(frozen=True)
class AlarmBudget:
    """How many false alarms are accepted in a period, over all columns and kinds of alarm together.

    Examples
    --------
    >>> AlarmBudget(2, "year").per_quarter
    0.5
    """

    number: float
    period: str

    @property
    def per_quarter(self) -> float:
        """The same budget for a quarter of a year."""
        return self.number * (QUARTER / _PERIODS[self.period])


@dataclass(frozen=True)
class Confirmation:
    """An alarm needs *needed* of the last *among* windows."""

    needed: int = 1
    among: int = 1


def _parse_window(value: object) -> object:
    if isinstance(value, timedelta | RowCount):
        window: object = value
    elif isinstance(value, str) and (rows := _ROWS.fullmatch(value.strip())):
        window = RowCount(int(re.sub("[_,]", "", rows[1])))
    else:
        try:
            window = parse_duration(value)
        except ValueError as error:
            found = str(error).rpartition(", got ")
            raise ValueError(f"{found[0]} or '5000 rows', got {found[2]}") from None
    if window in (RowCount(0), NOTHING) or (isinstance(window, timedelta) and window < NOTHING):
        raise ValueError("expected greater than 0")
    return window


def _describe_window(window: timedelta | RowCount) -> str:
    return f"{window.n_rows} rows" if isinstance(window, RowCount) else describe_duration(window)


def _parse_budget(value: object) -> object:
    if isinstance(value, AlarmBudget):
        return value
    found = _BUDGET.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not float(found[1]):
        raise ValueError(f"expected a number of alarms in a period, such as '1 per quarter', got {value!r}")
    return AlarmBudget(float(found[1]), found[2])


def _parse_confirmation(value: object) -> object:
    if isinstance(value, Confirmation):
        return value
    found = _CONFIRMATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if found is None or not 1 <= int(found[1]) <= int(found[2]):
        raise ValueError(f"expected windows of the last windows, such as '2 of 3', got {value!r}")
    return Confirmation(int(found[1]), int(found[2]))


def _above_nothing(value: dict[str, float]) -> dict[str, float]:
    if wrong := [name for name, limit in value.items() if limit <= 0]:
        raise ValueError(f"expected an effect above 0 for column {wrong[0]!r}, got {value[wrong[0]]:g}")
    return value


Window: TypeAlias = Annotated[
    timedelta | RowCount,
    BeforeValidator(_parse_window),
    PlainSerializer(_describe_window, return_type=str),
]
"""A pydantic field that reads and writes ``7 days`` or ``5000 rows``."""

_Budget: TypeAlias = Annotated[
    AlarmBudget,
    BeforeValidator(_parse_budget),
    PlainSerializer(lambda budget: f"{budget.number:g} per {budget.period}", return_type=str),
]

_Confirmation: TypeAlias = Annotated[
    Confirmation,
    BeforeValidator(_parse_confirmation),
    PlainSerializer(lambda found: f"{found.needed} of {found.among}", return_type=str),
]


class MonitorSpec(Section):
    """When the served model is doubted.

    Examples
    --------
    >>> spec = MonitorSpec(window="5000 rows", false_alarms="2 per year", confirm="2 of 3")
    >>> spec.window, spec.false_alarms.per_quarter, spec.period
    (RowCount(n_rows=5000), 0.5, datetime.timedelta(seconds=3600))
    """

    window: Window = Field(timedelta(days=7), description="A duration such as 7 days, or rows such as 5000 rows.")
    every: Duration | None = Field(
        None, gt=NOTHING, description="How often the monitor looks; default: the window, hourly with rows."
    )
    min_rows: Whole = Field(200, ge=1, description="A window with fewer rows is not compared.")
    false_alarms: _Budget = Field(
        AlarmBudget(1, "quarter"), description="How many false alarms are accepted, such as 1 per quarter."
    )
    confirm: _Confirmation = Field(
        Confirmation(), description="How many of the last windows must show it, such as 2 of 3."
    )
    mute: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = Field(
        (), description="Columns that raise no alarm; they are measured all the same."
    )
    min_effect: Fraction | None = Field(
        None, gt=0, description="How far a column must have moved at least; default: a small effect."
    )
    thresholds: Annotated[dict[str, Fraction], AfterValidator(_above_nothing)] = Field(
        {}, description="By column: the effect above which it always alarms, outside the budget."
    )
    max_drifted_share: Fraction = Field(
        0.5, gt=0, le=1, description="Without labels: the drifted share of what matters that asks for a training."
    )
    max_loss_increase: Fraction = Field(
        0.1, gt=0, description="Relative to the loss on the test rows at promotion; less is no alarm."
    )

    @property
    def period(self) -> timedelta:
        """How often the monitor looks."""
        if self.every is not None:
            return self.every
        return self.window if isinstance(self.window, timedelta) else _HOURLY

    def threshold_of(self, column: str) -> float | None:
        """The effect above which a column always alarms, where the user insists on one."""
        limit: Any = self.thresholds.get(column)
        return None if limit is None else float(limit)
