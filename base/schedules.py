"""Schedules (cron, interval, recurrence) and time zones: judged when the definition is read, not when they come."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Literal
from zoneinfo import ZoneInfo, available_timezones

from base.errors import nearest
from base.times import parse_duration

INTERVAL_START = datetime(2024, 1, 1, tzinfo=UTC)
"""Intervals are counted from a Monday in the past: a registration tomorrow must not shift them."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_INTERVAL = re.compile(r"(?:every )?(\d+(?:\.\d+)? *(?:second|minute|hour|day|week)s?)")
# Where a recurrence begins that does not say so itself, as in Prefect.
_RECURRENCE_START = datetime(2020, 1, 1)  # noqa: DTZ001  (in the schedule's own time zone)
_SHORTEST_INTERVAL = timedelta(minutes=1)
_ITEM = re.compile(r"(?P<first>\*|\w+)(?:-(?P<last>\w+))?(?:/(?P<step>\d+))?")


@dataclass(frozen=True)
class _Field:
    name: str
    least: int
    most: int
    names: tuple[str, ...] = ()


_FIELDS = (
    _Field("minute", 0, 59),
    _Field("hour", 0, 23),
    _Field("day of the month", 1, 31),
    _Field("month", 1, 12, _MONTHS),
    _Field("day of the week", 0, 7, _WEEKDAYS),
)


def check_cron(schedule: str) -> str:
    """Return a cron schedule of five fields as it is, if it ever comes.

    Raises
    ------
    ValueError
        Naming the field that is wrong.

    Examples
    --------
    >>> check_cron("30 5 * * mon-fri")
    '30 5 * * mon-fri'
    >>> check_cron("61 * * * *")
    Traceback (most recent call last):
    ValueError: expected a minute from 0 to 59, got '61' in '61 * * * *'
    >>> check_cron("0 0 30 2 *")
    Traceback (most recent call last):
    ValueError: expected a day that comes, but no such month has a day 30 in '0 0 30 2 *'
    """
    texts = schedule.split()
    if len(texts) != len(_FIELDS):
        raise ValueError("expected five cron fields, such as '0 5 * * 1' (Mondays at five)")
    _, _, days, months, _ = (_parse_field(text, field, schedule) for text, field in zip(texts, _FIELDS, strict=True))
    if texts[4] == "*" and min(days) > max(_MOST_DAYS[month - 1] for month in months):
        raise ValueError(f"expected a day that comes, but no such month has a day {min(days)} in {schedule!r}")
    return schedule


def schedule_kind(schedule: str) -> Literal["cron", "interval", "recurrence"]:
    """Tell how a schedule is written.

    Examples
    --------
    >>> [schedule_kind(text) for text in ("0 5 * * 1", "every 6 hours", "RRULE:FREQ=MONTHLY;BYDAY=-1FR")]
    ['cron', 'interval', 'recurrence']
    """
    if re.match(r"\s*(RRULE:|DTSTART|FREQ=)", schedule, re.IGNORECASE):
        return "recurrence"
    return "interval" if _INTERVAL.fullmatch(schedule.strip()) else "cron"


def check_schedule(schedule: str) -> str:
    """Return a schedule as it is, if it ever comes: cron, an interval, or a recurrence of RFC 5545.

    Raises
    ------
    ValueError
        Naming what is wrong.

    Examples
    --------
    >>> check_schedule("RRULE:FREQ=MONTHLY;BYDAY=-1FR")
    'RRULE:FREQ=MONTHLY;BYDAY=-1FR'
    >>> check_schedule("every 10 seconds")
    Traceback (most recent call last):
    ValueError: expected an interval of a minute or more, got 'every 10 seconds'
    >>> check_schedule("FREQ=FORTNIGHTLY")
    Traceback (most recent call last):
    ValueError: expected a recurrence such as 'RRULE:FREQ=WEEKLY;BYDAY=MO', got 'FREQ=FORTNIGHTLY': invalid 'FREQ': ...
    """
    kind = schedule_kind(schedule)
    if kind == "cron":
        return check_cron(schedule)
    if kind == "interval":
        if schedule_interval(schedule) < _SHORTEST_INTERVAL:
            raise ValueError(f"expected an interval of a minute or more, got {schedule!r}")
        return schedule
    from dateutil.rrule import rrulestr  # type: ignore[import-untyped]

    try:
        first = next(iter(rrulestr(schedule, dtstart=_RECURRENCE_START)), None)
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(
            f"expected a recurrence such as 'RRULE:FREQ=WEEKLY;BYDAY=MO', got {schedule!r}: {error}"
        ) from error
    if first is None:
        raise ValueError(f"expected a recurrence that comes, got {schedule!r}")
    return schedule


def schedule_interval(schedule: str) -> timedelta:
    """Return the length of a schedule that is an interval."""
    found = _INTERVAL.fullmatch(schedule.strip())
    interval = None if found is None else parse_duration(found[1])
    if not isinstance(interval, timedelta):
        raise ValueError(f"expected an interval such as '6 hours', got {schedule!r}")
    return interval


def next_moment(schedule: str, timezone: str, after: datetime) -> datetime | None:
    """Return when a schedule comes next after a moment, in UTC; None where it has come for the last time.

    Examples
    --------
    >>> next_moment("0 5 * * 1", "Europe/Zurich", datetime(2024, 1, 10, tzinfo=UTC)).isoformat()
    '2024-01-15T04:00:00+00:00'
    >>> next_moment("6 hours", "UTC", datetime(2024, 1, 10, 7, tzinfo=UTC)).isoformat()
    '2024-01-10T12:00:00+00:00'
    >>> next_moment("RRULE:FREQ=MONTHLY;BYDAY=-1FR;BYHOUR=6", "UTC", datetime(2024, 1, 10, tzinfo=UTC)).isoformat()
    '2024-01-26T06:00:00+00:00'
    """
    zone, kind = ZoneInfo(timezone), schedule_kind(schedule)
    if kind == "interval":
        interval = schedule_interval(schedule)
        return INTERVAL_START + ((after - INTERVAL_START) // interval + 1) * interval
    if kind == "cron":
        from cronsim import CronSim

        return next(CronSim(schedule, after.astimezone(zone))).astimezone(UTC)
    from dateutil.rrule import rrulestr

    # Recurrences are of the wall clock: reckoned without a zone, they stay at their hour when the clock is changed.
    rule = rrulestr(schedule, dtstart=_RECURRENCE_START, ignoretz=True)
    found = rule.after(after.astimezone(zone).replace(tzinfo=None))
    return None if found is None else found.replace(tzinfo=zone).astimezone(UTC)


def check_timezone(name: str) -> str:
    """Return the name of a time zone as it is, if there is one.

    Examples
    --------
    >>> check_timezone("Europe/Zurich")
    'Europe/Zurich'
    >>> check_timezone("Europe/Zürich")
    Traceback (most recent call last):
    ValueError: expected a time zone such as 'UTC' or 'Europe/Zurich'; did you mean 'Europe/Zurich'?
    """
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError) as error:
        raise ValueError(
            f"expected a time zone such as 'UTC' or 'Europe/Zurich'{nearest(name, available_timezones())}"
        ) from error
    return name


def _parse_field(text: str, field: _Field, schedule: str) -> set[int]:
    values: set[int] = set()
    for item in text.split(","):
        found = _ITEM.fullmatch(item.lower())
        ends = _parse_ends(found, field) if found else None
        if found is None or ends is None or int(found["step"] or 1) == 0:
            raise ValueError(
                f"expected a {field.name} from {field.least} to {field.most}, got {item!r} in {schedule!r}"
            )
        first, last = ends
        # 22-2 goes over midnight.
        span = (
            range(first, last + 1) if first <= last else [*range(first, field.most + 1), *range(field.least, last + 1)]
        )
        values |= set(span[:: int(found["step"] or 1)])
    return values


def _parse_ends(found: re.Match[str], field: _Field) -> tuple[int, int] | None:
    if found["first"] == "*":
        return (field.least, field.most) if found["last"] is None else None
    first = _parse_value(found["first"], field)
    if found["last"] is not None:
        last = _parse_value(found["last"], field)
    else:
        last = field.most if found["step"] else first
    return None if first is None or last is None else (first, last)


def _parse_value(text: str, field: _Field) -> int | None:
    if text in field.names:
        return field.names.index(text) + field.least
    if not text.isdecimal() or len(text) > 2:
        return None
    value = int(text)
    return value if field.least <= value <= field.most else None
