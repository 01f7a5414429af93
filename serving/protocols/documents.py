"""JSON as other protocols' clients write it: NaN stands for what is missing, and no digit is lost."""

from __future__ import annotations

import re
from typing import Any

import orjson

from base.errors import Fault
from base.json_values import show_value
from serving.web.payloads import parse_exactly, parse_json
from serving.web.problems import BodyRefused, FaultsFound

# A string as a whole (also one that never ends: else a body of quotes would be read once for each of them), or a NaN.
_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*+(?:"|\\?\Z)|\bNaN\b', re.DOTALL)
# orjson turns an integer beyond 64 bits into a float without a word.
_LONG_NUMBER = re.compile(rb"\d{19}")


def parse_document(body: bytes) -> Any:
    """Parse JSON in which NaN, as Python's and Triton's clients write it, stands for null.

    Raises
    ------
    BodyRefused
        400 when it is no JSON even so.

    Examples
    --------
    >>> parse_document(b'[NaN, "NaN", 1]'), parse_document(b"[12345678901234567890123]")
    ([None, 'NaN', 1], [12345678901234567890123])
    """
    try:
        document = parse_json(body)
    except BodyRefused:
        if b"NaN" not in body:
            raise
        body = _STRING_OR_NAN.sub(lambda found: b"null" if found[0] == b"NaN" else found[0], body)
        document = parse_json(body)
    return document if _LONG_NUMBER.search(body) is None else parse_exactly(body)


def expect_object(value: Any, what: str, example: str) -> dict[str, Any]:
    """Return an object, or say what was found instead.

    Raises
    ------
    FaultsFound
    """
    if not isinstance(value, dict):
        raise FaultsFound([Fault(None, f"{name_value(value)} as {what}", f"an object such as {example}")])
    return value


def name_value(value: object) -> str:
    """Name a value for a message."""
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else show_value(value)


def refuse_too_many(n_rows: int, most_rows: int) -> None:
    """Refuse a request with more rows than one may hold.

    Raises
    ------
    BodyRefused
        413
    """
    if n_rows > most_rows:
        raise BodyRefused(
            413,
            f"the request holds {n_rows:,} rows, expected at most {most_rows:,} (EVERFIT_MAX_ROWS); send them in parts",
            reason="too_many",
        )


def dump(document: object) -> bytes:
    """Write JSON; numbers that JSON does not have become null."""
    return orjson.dumps(document, option=orjson.OPT_SERIALIZE_NUMPY)
