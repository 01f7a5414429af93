"""What a hook wishes for, whichever system has sent it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

LONGEST_REASON = 500


@dataclass(frozen=True, kw_only=True)
class Wish:
    """A training that is wished for, or why none is.

    Attributes
    ----------
    form : str
        Which form of body it was read from, such as ``alertmanager``.
    reason : str
        Why, in one line.
    asks : bool
        Whether it asks for anything: an alert that is over does not, and nothing is filed.
    blocked : str
        Why no training may come of it, though it is worth a record: the data are broken, or a training itself has
        caused it. Empty: none of these.
    as_of : datetime or None
        Train as of this moment; None: on what there is.
    caused_by : str or None
        The run that it came of.
    facts : mapping
        What it is founded on, as a small JSON document.
    """

    form: str
    reason: str
    asks: bool = True
    blocked: str = ""
    as_of: datetime | None = None
    occurred_at: datetime | None = None
    priority: int | None = None
    caused_by: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


def cut_reason(text: str) -> str:
    """Make one line of a text, and no more than anybody reads.

    Examples
    --------
    >>> cut_reason("two\\n lines")
    'two lines'
    """
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_REASON else f"{line[: LONGEST_REASON - 1]}…"


def join_some(names: list[str], *, most: int = 5) -> str:
    """Name some of many.

    Examples
    --------
    >>> join_some(["a", "b", "c"], most=2)
    'a, b and 1 more'
    """
    more = len(names) - most
    return ", ".join(names[:most]) + (f" and {more} more" if more > 0 else "")
