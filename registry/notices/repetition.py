"""When the same is not said again: once, until it changes or has been quiet for long enough."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta


@dataclass(frozen=True)
class Told:
    """What was told last of a topic, and when it had happened."""

    sign: str
    at: datetime


def is_repetition(sign: str, at: datetime, last: Told | None, *, quiet: timedelta) -> bool:
    """Tell whether something of a topic need not be told, since the last thing told of it was the same.

    Parameters
    ----------
    sign : str
        What it says; another sign is news, whenever it comes.
    at : datetime
        When it happened.
    quiet : timedelta
        For so long the same is not told again. A clock that was set back does not make it longer.

    Examples
    --------
    >>> monday = datetime(2026, 3, 2)
    >>> last, day = Told("drift of age", monday), timedelta(days=1)
    >>> is_repetition("drift of age", monday + timedelta(hours=1), last, quiet=day)
    True
    >>> is_repetition("drift of age and fare", monday + timedelta(hours=1), last, quiet=day)
    False
    >>> is_repetition("drift of age", monday + timedelta(hours=25), last, quiet=day)
    False
    """
    return last is not None and sign == last.sign and abs(at - last.at) < quiet
