"""Section `triggers` of the definition: what starts a training, beside a person, and what holds one back."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Annotated, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BeforeValidator, Field, PlainSerializer

from base.references import Trigger
from base.schedules import check_schedule, check_timezone
from base.section import NOTHING, Fraction, Section, Whole
from base.times import Duration, describe_duration, parse_duration

PRIORITIES: dict[Trigger, int] = {
    "person": 100,
    "webhook": 50,
    "code": 40,
    "performance": 30,
    "drift": 20,
    "new_data": 20,
    "schedule": 10,
    "staleness": 10,
    "missing_data": 0,
}
"""Which trigger is heard first when several wait, unless the definition says otherwise."""

_BUDGET = re.compile(r"(?:at most )?(?P<what>\d+|\d+(?:\.\d+)? \w+) per (?P<period>.+)")
_HOURS = re.compile(r"(\d{1,2}):(\d{2})\s*-\s*(\d{1,2}):(\d{2})")
_AMOUNT = re.compile(r"(\d[\d_,]*(?:\.\d+)?) ?(rows?|B|kB|MB|GB)")
_BYTES = {"B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9}


@dataclass(frozen=True)
class TrainingBudget:
    """What trainings may cost in a period: so many of them, or so much time of computing.

    Examples
    --------
    >>> str(TrainingBudget(timedelta(days=30), trainings=4))
    '4 per 30 days'
    >>> str(TrainingBudget(timedelta(days=7), compute=timedelta(hours=2)))
    '2 hours per 1 week'
    """

    period: timedelta
    trainings: int | None = None
    compute: timedelta | None = None

    def __str__(self) -> str:
        what = self.trainings if self.compute is None else describe_duration(self.compute)
        return f"{what} per {describe_duration(self.period)}"


@dataclass(frozen=True)
class QuietHours:
    """The part of each day in which no training begins by itself; it may go over midnight.

    Examples
    --------
    >>> night = QuietHours(time(22), time(6))
    >>> night.end(datetime(2024, 1, 10, 23, tzinfo=UTC), "Europe/Zurich")
    datetime.datetime(2024, 1, 11, 5, 0, tzinfo=datetime.timezone.utc)
    >>> night.end(datetime(2024, 1, 10, 12, tzinfo=UTC), "Europe/Zurich") is None
    True
    """

    begin: time
    stop: time

    def end(self, now: datetime, timezone: str) -> datetime | None:
        """Return when the quiet hours end in which *now* lies, in UTC; None if it lies in none."""
        zone = ZoneInfo(timezone)
        local = now.astimezone(zone)
        clock = local.time()
        goes_over = self.stop <= self.begin
        is_quiet = clock >= self.begin or clock < self.stop if goes_over else self.begin <= clock < self.stop
        if not is_quiet:
            return None
        day = local.date() + timedelta(days=1 if goes_over and clock >= self.begin else 0)
        # A clock that is put forward may skip the end; in UTC it is the moment after the skipped hour then.
        return datetime.combine(day, self.stop, zone).astimezone(UTC)

    def __str__(self) -> str:
        return f"{self.begin:%H:%M}-{self.stop:%H:%M}"


@dataclass(frozen=True)
class Amount:
    """How much new data: rows or bytes.

    Examples
    --------
    >>> str(Amount(n_rows=10_000)), str(Amount(n_bytes=50_000_000))
    ('10000 rows', '50 MB')
    """

    n_rows: int | None = None
    n_bytes: int | None = None

    def __str__(self) -> str:
        if self.n_bytes is None:
            return f"{self.n_rows} rows"
        unit = next(name for name in reversed(_BYTES) if self.n_bytes % _BYTES[name] == 0)
        return f"{self.n_bytes // _BYTES[unit]} {unit}"


def _parse_budget(value: object) -> object:
    if value is None or isinstance(value, TrainingBudget):
        return value
    found = _BUDGET.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if found is None:
            raise ValueError
        period = parse_duration(found["period"])
        compute = None if found["what"].isdecimal() else parse_duration(found["what"])
    except ValueError:
        raise ValueError(
            f"expected trainings or time of computing in a period, such as '4 per 30 days' or '2 hours per 7 days', "
            f"got {value!r}"
        ) from None
    trainings = int(found["what"]) if compute is None else None
    if not period or not (trainings or compute):
        raise ValueError(f"expected more than nothing in more than no time, got {value!r}")
    return TrainingBudget(
        period,  # type: ignore[arg-type]  # a text gives a duration or an error
        trainings=trainings,
        compute=compute,  # type: ignore[arg-type]
    )


def _parse_hours(value: object) -> object:
    if value is None or isinstance(value, QuietHours):
        return value
    found = _HOURS.fullmatch(value.strip()) if isinstance(value, str) else None
    try:
        if found is None:
            raise ValueError
        hours = QuietHours(time(int(found[1]), int(found[2])), time(int(found[3]), int(found[4])))
    except ValueError:
        raise ValueError(f"expected hours of the day such as '22:00-06:00', in quotes, got {value!r}") from None
    if hours.begin == hours.stop:
        raise ValueError(f"expected hours that leave some of the day, got {value!r}")
    return hours


def _parse_amount(value: object) -> object:
    if value is None or isinstance(value, Amount):
        return value
    found = _AMOUNT.fullmatch(value.strip()) if isinstance(value, str) else None
    number = 0.0 if found is None else float(re.sub("[_,]", "", found[1]))
    if found is None or number <= 0 or (found[2].startswith("row") and number != int(number)):
        raise ValueError(f"expected new data such as '10000 rows' or '50 MB', got {value!r}")
    if found[2].startswith("row"):
        return Amount(n_rows=int(number))
    return Amount(n_bytes=round(number * _BYTES[found[2]]))


def _parse_price(value: object) -> object:
    if value != "auto" and (not isinstance(value, int | float) or isinstance(value, bool) or value <= 0):
        raise ValueError(f"expected 'auto', or a number above 0 such as 0.2, got {value!r}")
    return value


def _as_text(value: object) -> str | None:
    return None if value is None else str(value)


_Text = PlainSerializer(_as_text, return_type=str | None)
_Budget: TypeAlias = Annotated[TrainingBudget | None, BeforeValidator(_parse_budget), _Text]
_Hours: TypeAlias = Annotated[QuietHours | None, BeforeValidator(_parse_hours), _Text]
_Amount: TypeAlias = Annotated[Amount | None, BeforeValidator(_parse_amount), _Text]


class TriggersSpec(Section):
    """What starts a training, beside a person, and what holds one back.

    Examples
    --------
    >>> spec = TriggersSpec(budget="4 per 30 days", quiet_hours="22:00-06:00", priority={"schedule": 60})
    >>> spec.budget.trainings, str(spec.quiet_hours), spec.priority_of("schedule"), spec.priority_of("drift")
    (4, '22:00-06:00', 60, 20)
    """

    schedule: Annotated[str, AfterValidator(check_schedule)] | None = Field(
        None, description="Cron (0 5 * * 1), an interval (6 hours), or a recurrence of RFC 5545 (RRULE:FREQ=WEEKLY)."
    )
    timezone: Annotated[str, AfterValidator(check_timezone)] = Field(
        "UTC", description="In which schedule and quiet hours are read."
    )
    cooldown: Duration = Field(
        NOTHING, ge=NOTHING, description="How long after a training none is started but by a person."
    )
    budget: _Budget = Field(
        None, description="What trainings may cost in a period: 4 per 30 days, or 2 hours per 7 days of computing."
    )
    quiet_hours: _Hours = Field(
        None, description="No training begins by itself in these hours of the day, such as '22:00-06:00'."
    )
    min_new_labels: Whole = Field(
        0, ge=0, description="So many labels must have come since the last training, before one is started again."
    )
    merge_within: Duration = Field(
        timedelta(minutes=1), ge=NOTHING, description="What is asked so soon after a training began is in it."
    )
    priority: dict[Trigger, Whole] = Field({}, description="By kind of trigger: which is heard first.")
    policy: Literal["cost-aware", "cost-aware-static", "sequential", "level", "none"] = Field(
        "cost-aware",
        description="When a loss asks for a training: cost-aware (excess loss against a probe adds up to the price), "
        "cost-aware-static (against the level after deployment), sequential (the alarm for a loss that has risen), "
        "level (monitor.max_loss_increase), or none: windows raise alarms and ask for nothing.",
    )
    price: Annotated[Literal["auto"] | Fraction, BeforeValidator(_parse_price)] = Field(
        "auto", description="What a training costs, in windows of full loss; auto: from what it takes to compute."
    )
    new_data: _Amount = Field(None, description="Ask for a training after so many new rows, or bytes: 10000 rows.")
    staleness: Duration | None = Field(None, gt=NOTHING, description="Ask for a training when the champion is so old.")
    on_change: bool = Field(False, description="Ask for a training when the definition or its code has changed.")
    expect_data: Duration | None = Field(None, gt=NOTHING, description="Tell when no data came for so long.")
    expect_labels: Duration | None = Field(None, gt=NOTHING, description="Tell when no labels came for so long.")

    def priority_of(self, kind: Trigger) -> int:
        """How urgent a kind of trigger is: 100 for a person, 0 for what starts nothing."""
        return self.priority.get(kind, PRIORITIES[kind])
