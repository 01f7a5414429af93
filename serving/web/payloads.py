"""Bodies of requests: JSON in, rows out, or every fault that they have."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

from base.errors import Fault
from serving.web.problems import BodyRefused, FaultsFound

# orjson turns an integer beyond 64 bits into a float without a word; nobody who means a number writes 19 digits.
_LONG_NUMBER = re.compile(rb"\d{19}")


def read_rows(body: bytes, *, most_rows: int) -> list[dict[str, Any]]:
    """Read the rows of ``{"rows": [...]}``; a single record stands for a list of one.

    Raises
    ------
    BodyRefused
        400 when the body is no JSON, 413 when it holds too many rows, 422 when it has another shape.
    """
    rows = _read_list(parse_json(body), "rows", most=most_rows, setting="EVERFIT_MAX_ROWS")
    _refuse_others_than_objects(rows)
    return rows


def reread_rows(body: bytes) -> list[dict[str, Any]] | None:
    """Read rows digit by digit where :func:`read_rows` may have lost some; None where it has not."""
    if _LONG_NUMBER.search(body) is None:
        return None
    rows = parse_exactly(body)["rows"]
    return [rows] if isinstance(rows, dict) else rows


def _read_list(document: Any, key: str, *, most: int, setting: str) -> list[Any]:
    if not isinstance(document, dict) or key not in document:
        raise FaultsFound([Fault(None, _name(document), f'an object such as {{"{key}": [...]}}')])
    if unknown := [name for name in document if name != key]:
        raise FaultsFound([Fault(None, f"the key {_cut(repr(name))}", f"only {key!r}") for name in unknown])
    entries = document[key]
    if isinstance(entries, dict):
        entries = [entries]
    if not isinstance(entries, list) or not entries:
        found = "an empty list" if entries == [] else _name(entries)
        raise FaultsFound([Fault(None, f"{found} in {key!r}", "a list of at least one object")])
    if len(entries) > most:
        raise BodyRefused(
            413,
            f"the request holds {len(entries):,} {key}, expected at most {most:,} ({setting}); send them in parts",
            reason="too_many",
        )
    return entries


def _refuse_others_than_objects(entries: list[Any]) -> None:
    if all(type(entry) is dict for entry in entries):
        return
    if faults := [
        Fault(None, _name(entry), "an object", row=row)
        for row, entry in enumerate(entries)
        if not isinstance(entry, dict)
    ]:
        raise FaultsFound(faults)


def parse_json(body: bytes) -> Any:
    """Parse a body; an integer of more than 64 bits becomes a float.

    Raises
    ------
    BodyRefused
        400 when it is no JSON.
    """
    try:
        return orjson.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, f"the body is no JSON: {_cut(str(error), 200)}") from error


def parse_exactly(body: bytes) -> Any:
    """Parse a body that :func:`parse_json` has parsed, digit by digit.

    Raises
    ------
    BodyRefused
        400 for an integer of thousands of digits or a thousand brackets in each other, which only orjson reads.
    """
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, f"the body holds numbers or brackets beyond measure: {type(error).__name__}") from error


def _name(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else _cut(repr(value))


def _cut(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
