"""Moments and durations: everything is UTC, every duration is written the way people say it."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_UNITS = {
    "second": timedelta(seconds=1),
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": timedelta(days=1),
    "week": timedelta(weeks=1),
}
_MICROSECOND = timedelta(microseconds=1)
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(second|minute|hour|day|week)s?")


def utc_now() -> datetime:
    """Return the present moment, in UTC."""
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """Return *moment* in UTC; a moment without a zone is taken as UTC already."""
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def parse_duration(value: object) -> object:
    """Read a duration such as ``7 days``; anything else but a number is left to pydantic to judge.

    A bare number is refused, since only its writer knows the unit.

    Examples
    --------
    >>> parse_duration("7 days")
    datetime.timedelta(days=7)
    >>> parse_duration("1.5 hours")
    datetime.timedelta(seconds=5400)
    >>> parse_duration("soon")
    Traceback (most recent call last):
    ValueError: expected a duration such as '7 days' or '12 hours', got 'soon'
    """
    if not isinstance(value, str | int | float):
        return value
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise ValueError(f"expected a duration such as '7 days' or '12 hours', got {value!r}")
    try:
        return round(Fraction(match[1]) * (_UNITS[match[2]] // _MICROSECOND)) * _MICROSECOND
    except OverflowError as error:
        raise ValueError(f"expected at most {timedelta.max.days:,} days, got {value!r}") from error


def describe_duration(duration: timedelta) -> str:
    """Write a duration as people say it, in the largest unit that keeps it whole; it reads back equal.

    Examples
    --------
    >>> describe_duration(timedelta(days=14))
    '2 weeks'
    >>> describe_duration(timedelta(hours=36))
    '36 hours'
    """
    for name, unit in reversed(_UNITS.items()):
        count, rest = divmod(duration, unit)
        if duration and not rest:
            return f"{count} {name}{'' if count == 1 else 's'}"
    seconds, rest = divmod(duration, timedelta(seconds=1))
    return f"{seconds}.{rest.microseconds:06}".rstrip("0").rstrip(".") + " seconds"


def parse_moment(value: object) -> datetime:
    """Read an ISO 8601 date or moment as UTC.

    Examples
    --------
    >>> parse_moment("2013-04-01")
    datetime.datetime(2013, 4, 1, 0, 0, tzinfo=datetime.timezone.utc)
    """
    try:
        return as_utc(value if isinstance(value, datetime) else datetime.fromisoformat(str(value)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f"expected a moment such as '2013-04-01' or '2013-04-01T06:00Z', got {value!r}") from error


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(describe_duration, return_type=str, when_used="json"),
]
"""A pydantic field that reads and writes durations as words."""
