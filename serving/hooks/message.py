"""A hook's body by its media type: which CloudEvent or document it is, and what it wishes for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import orjson

from base.errors import Fault
from base.json_values import cut_text, show_value
from serving.hooks.cloud_event import PREFIX, STRUCTURED, CloudEvent, read_binary, read_structured
from serving.hooks.forms.forms import read_known, read_wish
from serving.hooks.forms.plain import EVENT_TYPE, read_plain
from serving.hooks.wish import Wish, cut_reason
from serving.web.problems import BodyRefused, FaultsFound

JSON = "application/json"
_EVENTS = "application/cloudevents"
_BATCH = "application/cloudevents-batch"
_CAUSE = "causedby"
_LONGEST_RUN = 100
_DEEPEST = 100
_LONG_NUMBER = 19


@dataclass(frozen=True)
class Message:
    """What came: what it wishes for, and the event that brought it, if it was one."""

    wish: Wish
    event: CloudEvent | None


def read_message(headers: Mapping[str, str], body: bytes, *, pipeline: str) -> Message:
    """Read a body.

    Parameters
    ----------
    headers : mapping
        By lower-case name.

    Raises
    ------
    BodyRefused
        400 when it is no JSON, 415 when it is of another kind.
    FaultsFound
        422, with every fault.
    """
    content_type = headers.get("content-type", "")
    kind = content_type.partition(";")[0].strip().lower()
    if kind.startswith(_BATCH):
        raise _refuse_kind(kind, "batches of events are not taken; send each event by itself")
    if kind.startswith(_EVENTS):
        if kind != STRUCTURED:
            raise _refuse_kind(kind, f"of CloudEvents, {STRUCTURED} is taken, and binary mode")
        event = read_structured(_parse(body))
        return Message(_read_event(event, pipeline), event)
    if any(name.startswith(PREFIX) for name in headers):
        data = _parse(body) if body.strip() and _is_json(kind) else body or None
        event = read_binary(headers, content_type=content_type, data=data)
        return Message(_read_event(event, pipeline), event)
    if not _is_json(kind):
        raise _refuse_kind(kind, f"{JSON} and {STRUCTURED} are taken, and CloudEvents in binary mode")
    return Message(read_wish(_parse(body), pipeline=pipeline), None)


def _read_event(event: CloudEvent, pipeline: str) -> Wish:
    known = read_known(event.data, pipeline=pipeline)
    if event.type == EVENT_TYPE:
        wish = read_plain(event.data)
    elif known is not None:
        wish = known
    else:
        about = f" about {event.subject}" if event.subject else ""
        wish = Wish(form="event", reason=cut_reason(f"{event.type} from {event.source}{about}"))
    cause = event.extensions.get(_CAUSE)
    if cause is not None and not (isinstance(cause, str) and 0 < len(cause) <= _LONGEST_RUN):
        raise FaultsFound([Fault(_CAUSE, show_value(cause), f"the id of a run, {_LONGEST_RUN} characters at most")])
    return replace(
        wish,
        occurred_at=wish.occurred_at or event.time,
        caused_by=wish.caused_by or cause,
        facts={**wish.facts, "event": event.facts},
    )


def _is_json(kind: str) -> bool:
    return kind in ("", JSON, "text/json") or kind.endswith("+json")


def _parse(body: bytes) -> Any:
    try:
        document = orjson.loads(body)
    except ValueError:
        document = _parse_leniently(body)
    if _is_deeper(document, _DEEPEST):
        raise BodyRefused(400, f"the body holds more than {_DEEPEST} brackets in each other")
    return document


def _parse_leniently(body: bytes) -> Any:
    # Python's json writes NaN, which JSON does not have, and so do the libraries that write their reports by it.
    try:
        document = json.loads(body, parse_constant=lambda _: None, parse_int=_read_integer)
        # Half a character can be escaped, but neither kept nor answered.
        json.dumps(document, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BodyRefused(400, f"the body is no JSON: {type(error).__name__}") from error
    return document


def _read_integer(digits: str) -> int | float:
    # As orjson does.
    return int(digits) if len(digits) < _LONG_NUMBER else float(digits)


def _is_deeper(document: Any, most: int) -> bool:
    level = [document]
    for _ in range(most):
        level = [
            inner
            for outer in level
            if isinstance(outer, dict | list)
            for inner in (outer.values() if isinstance(outer, dict) else outer)
        ]
        if not level:
            return False
    return True


def _refuse_kind(kind: str, expected: str) -> BodyRefused:
    return BodyRefused(415, f"the body is {cut_text(kind)!r}; {expected}", reason="media_type")
