"""Cron schedules and time zones: judged when the definition is read, not when the clock strikes."""

from __future__ import annotations

import re
from dataclasses import dataclass
from zoneinfo import ZoneInfo, available_timezones

from base.errors import nearest

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_WEEKDAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_MOST_DAYS = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
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
