"""The address that is asked most, straight on the server's interface: what a framework costs is saved."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from functools import partial

import orjson

from base.errors import EverfitError
from serving.answers import Answers
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.service import Service
from serving.web.bodies import read_body
from serving.web.explained import wants_explanations, write_explained
from serving.web.payloads import read_rows, reread_rows
from serving.web.problems import describe_faults, write_problem

_log = logging.getLogger(__name__)

_PREFIX, _SUFFIX = "/v1/models/", "/predict"
# Up to so many rows, writing them takes less time than handing them to a thread.
_FEW_ROWS = 64
_KEY_HEADER = b"everfit-key"


def model_of(path: str) -> str | None:
    """Return the model that a request for predictions names in its path.

    Examples
    --------
    >>> model_of("/v1/models/trips/predict"), model_of("/v1/models/trips"), model_of("/v1/models/a/b/predict")
    ('trips', None, None)
    """
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    name = path[len(_PREFIX) : -len(_SUFFIX)]
    return name if name and "/" not in name else None


class PredictRoute:
    """Answers ``POST /v1/models/NAME/predict``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most_bytes = service.settings.max_body_bytes
        self._most_rows = service.settings.max_rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """Predict rows; every answer is in the log before it is given."""
        began = time.perf_counter()
        try:
            self._service.find(name)
            explain = wants_explanations(scope["query_string"])
            body = await read_body(scope, receive, most_bytes=self._most_bytes)
            rows = read_rows(body, most_rows=self._most_rows)
            answers = await self._service.predict(
                name, rows, reread=partial(reread_rows, body), request_key=_request_key(scope), began=began
            )
            if explain is not None:
                written = await write_explained(self._service, name, rows, answers, explain)
            elif len(rows) <= _FEW_ROWS:
                written = write_answers(name, answers)
            else:
                written = await self._service.run_in_thread(partial(write_answers, name, answers))
        except Exception as error:
            await send_problem(scope, send, error)
            return
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.model, exchange.n_rows, exchange.version = name, len(rows), answers.served.number
            exchange.path = answers.served.scorer.path
        await send_body(send, 200, written, _JSON)


_JSON = (b"content-type", b"application/json")


async def send_body(send: Send, status: int, body: bytes, kind: tuple[bytes, bytes]) -> None:
    """Send an answer whole."""
    headers = [kind, (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


async def send_problem(
    scope: Scope, send: Send, error: Exception, *, headers: Sequence[tuple[bytes, bytes]] = ()
) -> None:
    """Answer with what kept a request from its answer; a defect goes to the log with its trace."""
    if not isinstance(error, EverfitError):
        _log.error("%s %s failed", scope.get("method"), scope.get("path"), exc_info=error)
    exchange = exchange_of(scope)
    instance = None if exchange is None else exchange.request_id.decode()
    status, written, body = write_problem(error, instance=instance, path=scope.get("path", ""))
    await send({"type": "http.response.start", "status": status, "headers": [*written, *headers]})
    await send({"type": "http.response.body", "body": body})


def _request_key(scope: Scope) -> str | None:
    for name, value in scope["headers"]:
        if name == _KEY_HEADER:
            return str(value.decode("latin-1"))
    return None


def write_answers(name: str, answers: Answers) -> bytes:
    """Write answers as the service's own protocol has them."""
    document = {"model": name, "version": answers.version, "predictions": answers.documents()}
    return orjson.dumps(document | ({"warnings": describe_faults(answers.warnings)} if answers.warnings else {}))
