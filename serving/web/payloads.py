"""Bodies of requests: JSON in, rows or labels out, or every fault that they have."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson

from base.errors import EverfitError, Fault
from base.times import parse_moment, utc_now
from registry.manifest import ModelManifest
from serving.log.prediction_log import Label

MOST_FAULTS = 10_000
"""A body can hold more faults than anybody reads; what is beyond is cut off, and the answer says so."""

# orjson turns an integer beyond 64 bits into a float without a word; nobody who means a number writes 19 digits.
_LONG_NUMBER = re.compile(rb"\d{19}")
_LONGEST_ID = 200
# As in the contract: no measured value and no code of a class is beyond what a double holds exactly, or float32.
_LARGEST_LABEL = 2**53


class BodyRefused(EverfitError):
    """A request that is not answered, with the HTTP status and what to tell the client."""

    def __init__(self, status: int, detail: str | list[dict[str, Any]]) -> None:
        super().__init__(detail if isinstance(detail, str) else f"{len(detail)} faults, such as {detail[:1]}")
        self.status = status
        self.detail = detail


class FaultsFound(BodyRefused):
    """A body that breaks the signature: 422, with every fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        super().__init__(422, describe_faults(faults[:MOST_FAULTS]))
        self.is_cut = len(faults) > MOST_FAULTS


def describe_faults(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Write faults as a client reads them."""
    return [
        {"row": fault.row, "column": fault.column, "found": fault.found, "expected": fault.expected} for fault in faults
    ]


def read_rows(body: bytes, *, most_rows: int) -> list[dict[str, Any]]:
    """Read the rows of ``{"rows": [...]}``; a single record stands for a list of one.

    Raises
    ------
    BodyRefused
        400 when the body is no JSON, 413 when it holds too many rows, 422 when it has another shape.
    """
    rows = _read_list(body, "rows", most=most_rows, setting="EVERFIT_MAX_ROWS")
    _refuse_others_than_objects(rows)
    return rows


def read_labels_of(body: bytes, manifest: ModelManifest, *, most_labels: int) -> list[Label]:
    """Read the labels of ``{"labels": [{"id", "value", "observed_at"?}, ...]}``.

    A class that the model has never seen is taken, since the world may have got a new one; a value of another
    type than the model's classes, or no number for a regression, is a fault.

    Raises
    ------
    BodyRefused
        400 when the body is no JSON, 413 when it holds too many labels, 422 when labels are wrong.
    """
    entries = _read_list(body, "labels", most=most_labels, setting="EVERFIT_MAX_ROWS")
    _refuse_others_than_objects(entries)
    now = utc_now()
    labels: list[Label] = []
    faults: list[Fault] = []
    for row, entry in enumerate(entries):
        found = len(faults)
        if not isinstance(entry.get("id"), str) or not 0 < len(entry["id"]) <= _LONGEST_ID:
            faults.append(Fault("id", _show(entry, "id"), "the id of a prediction, a text", row=row))
        if not _is_value(entry.get("value"), manifest):
            faults.append(Fault("value", _show(entry, "value"), _expected_value(manifest), row=row))
        observed_at = now
        if entry.get("observed_at") is not None:
            try:
                observed_at = _read_moment(entry["observed_at"])
            except ValueError:
                faults.append(
                    Fault("observed_at", _show(entry, "observed_at"), "a moment such as '2013-04-01T06:00Z'", row=row)
                )
        faults.extend(
            Fault(name, "an unknown key", "id, value, observed_at", row=row)
            for name in entry
            if name not in ("id", "value", "observed_at")
        )
        if len(faults) == found:
            labels.append(Label(entry["id"], entry["value"], observed_at))
        if len(faults) > MOST_FAULTS:
            break
    if faults:
        raise FaultsFound(faults)
    return labels


def _read_list(body: bytes, key: str, *, most: int, setting: str) -> list[Any]:
    document = _parse(body)
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
            413, f"the request holds {len(entries):,} {key}, expected at most {most:,} ({setting}); send them in parts"
        )
    return entries


def _refuse_others_than_objects(entries: list[Any]) -> None:
    if faults := [
        Fault(None, _name(entry), "an object", row=row)
        for row, entry in enumerate(entries)
        if not isinstance(entry, dict)
    ]:
        raise FaultsFound(faults)


def _parse(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
        return json.loads(body) if _LONG_NUMBER.search(body) else document
    except ValueError as error:
        raise BodyRefused(400, f"the body is no JSON: {_cut(str(error), 200)}") from error


def _is_value(value: object, manifest: ModelManifest) -> bool:
    if isinstance(value, int | float) and abs(value) > _LARGEST_LABEL:
        return False
    if manifest.classes is None:
        return _kind(value) == "number"
    return any(_kind(value) == _kind(known) for known in manifest.classes)


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "boolean"
    return "number" if isinstance(value, int | float) else type(value).__name__


def _expected_value(manifest: ModelManifest) -> str:
    if manifest.classes is None:
        return "a number"
    return f"a class such as {', '.join(repr(known) for known in manifest.classes[:5])}"


def _read_moment(value: object) -> datetime:
    if not isinstance(value, str):
        raise ValueError("expected a text")
    return parse_moment(value)


def _show(entry: dict[str, Any], key: str) -> str:
    return _cut(repr(entry[key])) if key in entry else "nothing"


def _name(value: object) -> str:
    if isinstance(value, list | dict):
        return "a list" if isinstance(value, list) else "an object"
    return "null" if value is None else _cut(repr(value))


def _cut(text: str, longest: int = 40) -> str:
    return text if len(text) <= longest else f"{text[:longest]}…"
