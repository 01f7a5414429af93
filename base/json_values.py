"""Judge JSON values: whether one has a column's type, and how to show one that has not."""

from __future__ import annotations

import math
from datetime import datetime
from reprlib import Repr
from typing import Literal

from base.times import parse_moment

ColumnType = Literal["number", "integer", "text", "boolean", "time"]

# JavaScript's and JSON's integers are doubles beyond this; a larger one would change silently on its way.
_LARGEST_EXACT_INTEGER = 2**53
_LONGEST_SHOWN = 40
_LARGEST_SHOWN = 10**_LONGEST_SHOWN
_SHORT = Repr()
_SHORT.maxlevel = 2
_SHORT.maxlist = _SHORT.maxdict = _SHORT.maxtuple = 3


def has_type(value: object, expected: ColumnType) -> bool:
    """Tell whether a JSON value is one of a column's type.

    Examples
    --------
    >>> has_type(3, "number"), has_type(True, "number"), has_type("2013-01-01", "time")
    (True, False, True)
    """
    if isinstance(value, bool):
        return expected == "boolean"
    if isinstance(value, int):
        return expected in ("number", "integer") and abs(value) <= _LARGEST_EXACT_INTEGER
    if isinstance(value, float):
        if expected == "integer":
            return value.is_integer() and abs(value) <= _LARGEST_EXACT_INTEGER
        return math.isfinite(value) and expected == "number"
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            return False  # half a character: JSON can escape one, no file or database can hold it
        return expected == "text" or (expected == "time" and _is_moment(value))
    return isinstance(value, datetime) and expected == "time"


def name_type(value: object) -> str:
    """Name the JSON type of a value in the words of a contract."""
    names: dict[type, str] = {
        bool: "boolean",
        int: "integer",
        float: "number",
        str: "text",
        list: "list",
        dict: "object",
    }
    return names.get(type(value), type(value).__name__)


def show_value(value: object) -> str:
    """Write a value shortly, however large it is."""
    # repr() of a whole request could take longer than answering it, and Python refuses it for huge integers.
    if isinstance(value, int) and abs(value) > _LARGEST_SHOWN:
        return f"an integer of {value.bit_length()} bits"
    return cut_text(repr(cut_text(value)) if isinstance(value, str) else _SHORT.repr(value))


def cut_text(text: str) -> str:
    """Cut a text to what a message may hold."""
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"


def _is_moment(text: str) -> bool:
    try:
        parse_moment(text)
    except ValueError:
        return False
    return True
