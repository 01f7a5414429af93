"""Documents: plain JSON that means the same on SQLite, on Postgres and in a digest."""

from __future__ import annotations

import math
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from datetime import date, datetime, timedelta
from enum import Enum
from pathlib import PurePath
from typing import Any, TypeAlias, cast

from pydantic import BaseModel

from base.errors import ArgumentError
from base.times import as_utc, describe_duration

Document: TypeAlias = dict[str, "Document"] | list["Document"] | str | int | float | bool | None

# Postgres keeps a number by its digits and writes 1e16 as 10000000000000000, which comes back as an integer.
# Every double from 2**53 on is a whole number, so it is one from the start, and its digest never changes.
_FIRST_WHOLE = 2**53
_REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


def as_document(value: object) -> Any:
    """Return *value* as plain JSON that any database gives back equal.

    NaN and infinity become null, since neither JSON nor Postgres knows them: a metric that could not be
    measured. Moments, durations, paths and pydantic models become what they are written as; a set becomes a
    sorted list. NUL and lone surrogates, which Postgres refuses in text, become U+FFFD.

    Raises
    ------
    ArgumentError
        If something in it is no document, such as a frame or a function.

    Examples
    --------
    >>> as_document({"auc": float("nan"), "window": timedelta(days=7), 1: (2.5, {"b", "a"})})
    {'auc': None, 'window': '1 week', '1': [2.5, ['a', 'b']]}
    >>> as_document({"model": object})
    Traceback (most recent call last):
    base.errors.ArgumentError: a document cannot hold <class 'object'> (type); give text, numbers, lists or objects
    """
    # What is plain already, which is most of it, by the shortest way.
    kind = type(value)
    if kind is str:
        return as_text(cast("str", value))
    if kind is dict:
        return {as_text(str(key)): as_document(item) for key, item in cast("dict[object, object]", value).items()}
    if value is None or kind is int:
        return value
    if isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return as_document(value.value)
    if isinstance(value, str):
        return as_text(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _as_number(value)
    return _as_container(value)


def as_text(text: str) -> str:
    """Return *text* as a database takes it: NUL and lone surrogates become U+FFFD.

    Such characters come with messages about broken files, of all things.
    """
    if text.isascii() and "\0" not in text:
        return str(text)
    return text.replace("\0", _REPLACEMENT).encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def _as_number(value: float) -> float | int | None:
    if not math.isfinite(value):
        return None
    # Adding zero turns -0.0, which Postgres does not know, into 0.0.
    return int(value) if abs(value) >= _FIRST_WHOLE else float(value) + 0.0


def _as_container(value: object) -> Any:
    if isinstance(value, Mapping):
        return {as_text(str(key)): as_document(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [as_document(item) for item in value]
    if isinstance(value, AbstractSet):
        return sorted(map(as_document, value), key=lambda item: (type(item).__name__, str(item)))
    if isinstance(value, BaseModel):
        return as_document(value.model_dump(mode="python"))
    if isinstance(value, datetime):
        # pandas' NaT is a datetime that does not equal itself.
        return as_utc(value).isoformat() if value == value else None  # noqa: PLR0124
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return describe_duration(value)
    if isinstance(value, PurePath):
        return as_text(str(value))
    if callable(convert := getattr(value, "tolist", None)):  # numpy's scalars and arrays
        return as_document(convert())
    raise ArgumentError(
        f"a document cannot hold {value!r:.80} ({type(value).__name__}); give text, numbers, lists or objects"
    )
