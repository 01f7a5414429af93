"""Answers that refuse: problem details, as RFC 9457 says."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import orjson

from base.errors import EverfitError, Fault
from serving.scoring.asked import PredictionFailed, PredictionNotLogged

MEDIA_TYPE = "application/problem+json"

MOST_FAULTS = 10_000
"""A body can hold more faults than anybody reads; what is beyond is cut off, and the answer says so."""

CLIENT_GONE = 499
"""What logs and metrics say of a client that went away before its answer; nobody receives it."""


class BodyRefused(EverfitError):
    """A request that is not answered: the HTTP status, what the client is told, and under which reason it counts."""

    def __init__(self, status: int, detail: str, *, reason: str = "invalid") -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.reason = reason


class FaultsFound(BodyRefused):
    """A body that breaks the signature: 422, with every fault."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        first = faults[0]
        super().__init__(422, f"{len(faults):,} fault{'s' if len(faults) > 1 else ''} in the body, such as: {first}")
        self.faults = faults[:MOST_FAULTS]
        self.is_cut = len(faults) > MOST_FAULTS


def describe_faults(faults: Sequence[Fault]) -> list[dict[str, Any]]:
    """Write faults as a client reads them."""
    return [
        {"row": fault.row, "column": fault.column, "found": fault.found, "expected": fault.expected} for fault in faults
    ]


def describe_problem(error: Exception, *, instance: str | None = None) -> dict[str, Any]:
    """Write what kept a request from its answer as a problem document; a defect tells nothing of its insides."""
    more: Mapping[str, Any] = {}
    if isinstance(error, BodyRefused):
        status, detail = error.status, error.detail
        if isinstance(error, FaultsFound):
            more = {"errors": describe_faults(error.faults)} | ({"is_cut": True} if error.is_cut else {})
    elif isinstance(error, PredictionNotLogged):
        status, detail = 503, str(error)
    elif isinstance(error, PredictionFailed | EverfitError):
        status, detail = 500, str(error)
    else:
        status, detail = 500, "the service failed to answer this request; its log says more"
    title = "Client Closed Request" if status == CLIENT_GONE else HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **more}
    return document if instance is None else document | {"instance": instance}


def write_problem(
    error: Exception, *, instance: str | None = None, path: str = ""
) -> tuple[int, list[tuple[bytes, bytes]], bytes]:
    """Write a problem as status, headers and body.

    Clients of other protocols look for the detail where those have it: under *error* (Open Inference, ``/v2``), or
    under *message* (MLflow).
    """
    document = describe_problem(error, instance=instance)
    if path.startswith("/v2"):
        document["error"] = document["detail"]
    elif path.endswith("/invocations"):
        document["message"] = document["detail"]
    body = orjson.dumps(document)
    headers = [(b"content-type", MEDIA_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    if document["status"] in (429, 503):
        headers.append((b"retry-after", b"1"))
    return document["status"], headers, body
