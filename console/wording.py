"""Figures, moments and lists as they stand in a sentence."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

_MOST_LISTED = 6


def tell_counts(counts: Mapping[str, int]) -> str:
    """Say how many of what.

    Examples
    --------
    >>> tell_counts({"rows without a target": 1200, "negative distances": 3})
    '1,200 rows without a target; 3 negative distances'
    """
    listed = [f"{count:,} {what}" for what, count in list(counts.items())[:_MOST_LISTED]]
    more = len(counts) - len(listed)
    return "; ".join(listed) + (f"; and {more} more reasons" if more > 0 else "")


def tell_names(names: Sequence[str]) -> str:
    """Join names as a sentence does.

    Examples
    --------
    >>> tell_names(["hour", "origin", "distance"])
    'hour, origin and distance'
    """
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def tell_figure(value: float) -> str:
    """Write a figure with four digits that count."""
    return f"{value:.4g}"


def tell_moment(moment: datetime) -> str:
    """Write a moment, to the minute."""
    return f"{moment.day} {moment:%B %Y, %H:%M} UTC"


def tell_day(moment: datetime | str) -> str:
    """Write the day of a moment, which may be written in ISO 8601.

    Examples
    --------
    >>> tell_day("2013-05-03T06:00:00+00:00")
    '3 May 2013'
    """
    moment = datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{moment.day} {moment:%B %Y}"


def as_sentence(text: str) -> str:
    """Begin with a capital."""
    return text[:1].upper() + text[1:]
