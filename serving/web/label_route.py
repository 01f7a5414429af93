"""Labels over HTTP: what came true for earlier predictions."""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from typing import TYPE_CHECKING

from starlette.requests import Request
from starlette.responses import Response

from base.errors import Fault
from base.json_values import cut_text
from base.times import parse_duration, utc_now
from serving.labels.body import CONTENT_TYPES, read_label_body
from serving.labels.label import LabelBatch
from serving.loading.served import Served
from serving.scoring.asked import PredictionNotLogged
from serving.service import Service
from serving.web.bodies import read_body
from serving.web.model_routes import json_response
from serving.web.problems import BodyRefused, FaultsFound, describe_faults

if TYPE_CHECKING:
    from serving.labels.intake import Counts

_LONGEST_NAME = 200
_FLAGS = {"true": True, "false": False, "": None}


class LabelRoute:
    """Answers ``POST /v1/models/NAME/labels``."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def add_labels(self, name: str, request: Request, within: str = "", partial: str = "") -> Response:
        """Take what came true for earlier predictions, by their ids or by key and time.

        ``within`` is how much older than its time the prediction of a key may be; ``partial`` takes what is right of a
        JSON body and tells what is not, as of all other bodies. With an ``Idempotency-Key``, a body that is sent again
        is not taken again.
        """
        settings = self._service.settings
        self._service.find(name)
        tolerance, takes_part = _read_within(within), _read_flag(partial)
        key = request.headers.get("idempotency-key")
        if key is not None and not 0 < len(key) <= _LONGEST_NAME:
            raise BodyRefused(400, f"the Idempotency-Key has {len(key)} characters, expected 1 to {_LONGEST_NAME}")
        body = await read_body(request.scope, request.receive, most_bytes=settings.max_body_bytes)
        kind = request.headers.get("content-type", "")
        # Not in the threads that score: a file of labels takes seconds, an answer milliseconds.
        counts, batch = await asyncio.to_thread(
            self._take, self._service.find(name), body, kind, tolerance, takes_part, key
        )
        document = {"model": name, **counts.as_json()}
        return json_response(document | ({"errors": describe_faults(batch.faults)} if batch.faults else {}))

    def _take(
        self, served: Served, body: bytes, kind: str, within: timedelta, takes_part: bool | None, key: str | None
    ) -> tuple[Counts, LabelBatch]:
        manifest = served.manifest
        batch = read_label_body(
            body,
            kind,
            manifest,
            self._service.settings.max_labels,
            now=utc_now(),
            within=within,
            personal_key=served.scorer.personal_key,
            partial=takes_part,
        )
        from serving.labels.intake import BatchNameTaken

        digest = "" if key is None else hashlib.sha256(body).hexdigest()
        try:
            return self._service.labels.take(manifest.model, manifest, batch, name=key, digest=digest), batch
        except BatchNameTaken as error:
            raise BodyRefused(422, str(error)) from error
        except OSError as error:
            raise PredictionNotLogged(
                f"the labels could not be kept ({error.strerror}); free the disk and send them again"
            ) from error


def describe_label_body() -> dict[str, object]:
    """Describe for OpenAPI what a request with labels holds and answers."""
    moment = {"type": "string", "format": "date-time"}
    label = {
        "type": "object",
        "required": ["value"],
        "properties": {
            "id": {"type": "string", "description": "Of the prediction; or else key and time."},
            "key": {"type": "object", "description": "The columns of serve.key, as the rows had them."},
            "time": moment,
            "within": {"type": "string", "description": "A duration such as '2 hours'."},
            "value": {"type": ["string", "number", "boolean"]},
            "observed_at": moment,
        },
    }
    labels = {"oneOf": [label, {"type": "array", "items": label, "minItems": 1}]}
    content: dict[str, object] = {kind: {} for kind in CONTENT_TYPES}
    content["application/json"] = {
        "schema": {"type": "object", "required": ["labels"], "properties": {"labels": labels}}
    }
    return {"requestBody": {"required": True, "content": content}}


def _read_within(text: str) -> timedelta:
    try:
        found = parse_duration(text) if text else timedelta(0)
    except ValueError:
        found = None
    if not isinstance(found, timedelta):
        raise FaultsFound([Fault("within", repr(cut_text(text)), "a duration such as '2 hours'")])
    return found


def _read_flag(text: str) -> bool | None:
    if text not in _FLAGS:
        raise FaultsFound([Fault("partial", repr(cut_text(text)), "true or false")])
    return _FLAGS[text]
