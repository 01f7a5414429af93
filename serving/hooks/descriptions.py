"""What the machine-readable description (OpenAPI) says of the address for hooks."""

from __future__ import annotations

from typing import Any

from serving.web.descriptions import BODY, content_of, describe

_EVENTS = "application/cloudevents+json"
_TEXT: dict[str, Any] = {"type": "string"}
_MOMENT: dict[str, Any] = {"type": "string", "format": "date-time"}
_NO_OR_MOMENT = _MOMENT | {"type": ["string", "null"]}

_PLAIN: dict[str, Any] = {
    "type": "object",
    "required": ["reason"],
    "description": "Or what Alertmanager, Evidently, Great Expectations or Everfit itself send; see the manual.",
    "properties": {
        "reason": {"type": "string", "minLength": 1, "maxLength": 500},
        "as_of": {"description": "Train on the data as of this moment; default: on all there is.", **_NO_OR_MOMENT},
        "occurred_at": _NO_OR_MOMENT,
        "priority": {"type": ["integer", "null"], "minimum": -100, "maximum": 100},
        "caused_by": {"description": "The run that this came of.", "type": ["string", "null"]},
        "data": {"description": "Kept with the trigger."},
    },
}
_EVENT: dict[str, Any] = {
    "type": "object",
    "description": "A CloudEvent 1.0; in binary mode its attributes are headers ce-….",
    "required": ["specversion", "id", "source", "type"],
    "properties": {
        "specversion": {"const": "1.0"},
        "id": _TEXT,
        "source": _TEXT,
        "type": _TEXT,
        "subject": _TEXT,
        "time": _MOMENT,
        "data": {},
    },
}
_ANSWER: dict[str, Any] = {
    "type": "object",
    "required": ["trigger", "outcome", "reason", "launch"],
    "properties": {
        "trigger": {"type": ["string", "null"]},
        "outcome": {"enum": ["start", "merge", "suppress", "none"]},
        "reason": _TEXT,
        "launch": {"type": ["string", "null"]},
    },
}
_HEADERS = {
    "webhook-id": "Of the message, the same in every try: the key by which it is known if it comes again.",
    "webhook-timestamp": "When this try was signed, in seconds since 1970.",
    "webhook-signature": "As Standard Webhooks 1.0 has it: v1, and the base64 of the HMAC-SHA256; or several of them.",
}


def describe_hooks() -> dict[str, Any]:
    """Describe the address: what is taken, and what the arbiter may say."""
    event = {"specversion": "1.0", "id": "7", "source": "/shop", "type": "prices.changed"}
    found = describe(
        *BODY,
        body=content_of(_PLAIN, example={"reason": "the prices have changed"})
        | content_of(_EVENT, media_type=_EVENTS, example=event),
    )
    found["responses"].pop(200, None)
    trigger = {"trigger": "t-20261121-213000-1f2e3d4c", "outcome": "start", "reason": "the prices have changed"}
    found["responses"][202] = {
        "description": "It was taken; outcome says what comes of it. The same message again gets the same answer.",
        "content": content_of(_ANSWER, example=trigger | {"launch": "l-20261121-213000-5a6b7c8d"}),
    }
    found["responses"][401] |= {
        "description": "It is not signed, its signature is wrong or too old, and no token helps."
    }
    # The framework would describe the first one else.
    found["status_code"] = 202
    parameters = [
        {"name": name, "in": "header", "required": False, "schema": _TEXT, "description": words}
        for name, words in _HEADERS.items()
    ]
    found["openapi_extra"]["parameters"] = parameters
    found["openapi_extra"]["security"] = [{}, {"token": []}]
    return found
