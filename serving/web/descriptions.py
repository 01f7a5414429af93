"""What the machine-readable description (OpenAPI) says of the addresses."""

from __future__ import annotations

from typing import Any

from serving.web.problems import MEDIA_TYPE

_MEANINGS = {
    400: "The body is not what its media type says.",
    401: "No token was shown, or one that is not known.",
    403: "The token has not the role that this address asks for.",
    404: "There is no such model; the known ones are named.",
    408: "The body did not come in time.",
    413: "The body or the number of rows is over its limit.",
    415: "The body's media type is not taken here; those that are taken are named.",
    422: "What breaks the signature: row, column, what was found, what was expected.",
    429: "Too many requests; Retry-After says when to come again.",
    503: "Nothing can answer now: no model is loaded, or the log cannot be written.",
}

PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "instance": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "row": {"type": ["integer", "null"]},
                    "column": {"type": ["string", "null"]},
                    "found": {"type": "string"},
                    "expected": {"type": "string"},
                },
            },
        },
        "is_cut": {"type": "boolean"},
    },
}
"""Problem details as RFC 9457 has them, and every fault of the body."""


def describe(*statuses: int, body: str | None = None) -> dict[str, Any]:
    """Describe an address: the ways it refuses, and the JSON that it takes under the key *body*."""
    description: dict[str, Any] = {
        "responses": {
            status: {"description": _MEANINGS[status], "content": {MEDIA_TYPE: {"schema": PROBLEM}}}
            for status in statuses
        }
    }
    if body is not None:
        schema = {
            "type": "object",
            "required": [body],
            "properties": {body: {"type": "array", "items": {"type": "object"}, "minItems": 1}},
        }
        description["openapi_extra"] = {
            "requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}
        }
    return description
