"""CloudEvents 1.0 over HTTP, structured as JSON or binary, read as the specification has them.

Sources: https://github.com/cloudevents/spec/blob/v1.0.2/cloudevents/spec.md, its JSON format and its HTTP binding.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any
from urllib.parse import unquote_to_bytes

from base.errors import Fault
from base.json_values import cut_text, name_type, show_value
from base.times import as_utc
from serving.web.problems import FaultsFound

STRUCTURED = "application/cloudevents+json"
PREFIX = "ce-"

_REQUIRED = ("id", "source", "specversion", "type")
_TEXTS = (*_REQUIRED, "datacontenttype", "dataschema", "subject")
_NAME = re.compile(r"[a-z0-9]+")
# RFC 3339, which datetime reads with more liberty: a date alone, no zone, weeks.
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')
_ESCAPED = re.compile(r"\\(.)")
_LARGEST_INTEGER = 2**31
_LONGEST_KEY = 200


@dataclass(frozen=True, kw_only=True)
class CloudEvent:
    """One event: what the specification asks for, what it allows, and the extensions; data as they came."""

    id: str
    source: str
    type: str
    subject: str = ""
    time: datetime | None = None
    datacontenttype: str = ""
    extensions: Mapping[str, str | int | bool] = field(default_factory=dict)
    data: Any = None

    @property
    def key(self) -> str:
        """What tells it from any other: source and id, which are unique together."""
        key = f"{self.source} {self.id}"
        return key if len(key) <= _LONGEST_KEY else f"sha256:{sha256(key.encode()).hexdigest()}"

    @property
    def facts(self) -> dict[str, Any]:
        """What it says of itself, without its data."""
        told = {"id": self.id, "source": self.source, "type": self.type, "subject": self.subject, "time": self.time}
        return {name: value for name, value in {**told, **self.extensions}.items() if value not in ("", None)}


def read_structured(document: Any) -> CloudEvent:
    """Read an event that is a JSON document.

    Raises
    ------
    FaultsFound
        422, with every attribute that is missing or not what the specification has.

    Examples
    --------
    >>> event = read_structured({"specversion": "1.0", "id": "7", "source": "/shop", "type": "prices.changed"})
    >>> event.key
    '/shop 7'
    """
    if not isinstance(document, dict):
        raise FaultsFound([Fault(None, name_type(document), "a CloudEvent, as an object")])
    # A null means that the attribute is not there.
    given = {name: value for name, value in document.items() if value is not None}
    data, encoded = given.pop("data", None), given.pop("data_base64", None)
    faults = []
    if encoded is not None:
        if data is not None:
            faults.append(Fault("data_base64", "data beside it", "one of both"))
        try:
            if not isinstance(encoded, str):
                raise ValueError
            data = base64.b64decode(encoded, validate=True)
        except (binascii.Error, ValueError):
            faults.append(Fault("data_base64", show_value(encoded), "base64"))
    return _make(given, data, faults)


def read_binary(headers: Mapping[str, str], *, content_type: str, data: Any) -> CloudEvent:
    """Read an event whose attributes are headers ``ce-…`` and whose data is the body.

    Parameters
    ----------
    headers : mapping
        By lower-case name, as Latin-1 has them.

    Raises
    ------
    FaultsFound
        422, with every attribute that is missing or not what the specification has.
    """
    given: dict[str, Any] = {}
    faults = []
    for name, value in headers.items():
        if not name.startswith(PREFIX):
            continue
        try:
            given[name.removeprefix(PREFIX)] = decode_header(value)
        except ValueError:
            faults.append(Fault(name, show_value(value), "percent-encoded UTF-8"))
    if "datacontenttype" in given:
        faults.append(Fault("ce-datacontenttype", show_value(given.pop("datacontenttype")), "Content-Type instead"))
    if content_type:
        given["datacontenttype"] = content_type
    return _make(given, data, faults)


def decode_header(value: str) -> str:
    """Decode the value of a header: what stands in double quotes first, then percents, once.

    Raises
    ------
    ValueError
        If that is no UTF-8.

    Examples
    --------
    >>> decode_header("Euro%20%E2%82%AC"), decode_header('"a \\\\" quote"')
    ('Euro €', 'a " quote')
    """
    unquoted = _QUOTED.sub(lambda found: _ESCAPED.sub(r"\1", found[1]), value)
    return unquote_to_bytes(unquoted.encode("latin-1")).decode("utf-8")


def _make(given: dict[str, Any], data: Any, faults: list[Fault]) -> CloudEvent:
    for name in _REQUIRED:
        if name not in given:
            faults.append(Fault(name, "nothing", "an attribute that every CloudEvent has"))
    for name, value in given.items():
        expected = _judge(name, value)
        if expected is not None:
            faults.append(Fault(cut_text(name), show_value(value), expected))
    if faults:
        raise FaultsFound(faults)
    return CloudEvent(
        id=given["id"],
        source=given["source"],
        type=given["type"],
        subject=given.get("subject", ""),
        time=_read_moment(given.get("time")),
        datacontenttype=given.get("datacontenttype", ""),
        extensions={name: value for name, value in given.items() if name not in (*_TEXTS, "time")},
        data=data,
    )


def _judge(name: str, value: Any) -> str | None:
    """Say what was expected of an attribute; None if it is that."""
    if not _NAME.fullmatch(name):
        return "a name of lower-case letters and digits"
    if isinstance(value, str) and _CONTROL.search(value):
        return "no control characters"
    if name == "specversion":
        return None if value == "1.0" else "'1.0'"
    if name in _TEXTS:
        return None if isinstance(value, str) and value else "text that is not empty"
    if name == "time":
        return None if _read_moment(value) is not None else "a moment such as '2013-04-01T06:00:00Z'"
    if not isinstance(value, str | bool | int):
        return "text, a boolean or an integer"
    if not isinstance(value, str) and not -_LARGEST_INTEGER <= value < _LARGEST_INTEGER:
        return "an integer of 32 bits"
    return None


def _read_moment(value: Any) -> datetime | None:
    if not isinstance(value, str) or not _MOMENT.fullmatch(value):
        return None
    try:
        return as_utc(datetime.fromisoformat(value.upper()))
    except (ValueError, OverflowError):
        return None
