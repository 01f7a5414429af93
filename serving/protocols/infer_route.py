"""Predictions by the Open Inference Protocol, straight on the server's interface as the service's own."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial

from base.json_values import cut_text
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.protocols.infer_answer import check_outputs, write_infer_answer
from serving.protocols.infer_body import read_infer_body
from serving.protocols.requests import count_refused, headers_of, refuse_encoded, request_key_of, version_of
from serving.service import Service
from serving.web.bodies import read_body
from serving.web.predict_route import send_problem
from serving.web.problems import BodyRefused

_PREFIX, _SUFFIX = "/v2/models/", "/infer"
_HEADER_LENGTH = b"inference-header-content-length"
# Up to so many rows, reading and writing them takes less time than handing them to a thread.
_FEW_ROWS = 64
_FEW_BYTES = 1 << 16


def infer_target(path: str) -> tuple[str, str | None] | None:
    """Return the model and the version that a request for predictions names in its path.

    Examples
    --------
    >>> infer_target("/v2/models/trips/infer"), infer_target("/v2/models/trips/versions/3/infer")
    (('trips', None), ('trips', '3'))
    >>> infer_target("/v2/models/trips/ready") is None
    True
    """
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    parts = path[len(_PREFIX) : -len(_SUFFIX)].split("/")
    if len(parts) == 1 and parts[0]:
        return parts[0], None
    if len(parts) == 3 and parts[0] and parts[1] == "versions":
        return parts[0], parts[2]
    return None


class InferRoute:
    """Answers ``POST /v2/models/NAME[/versions/VERSION]/infer``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most_bytes = service.settings.max_body_bytes
        self._most_rows = service.settings.max_rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str, version: str | None = None) -> None:
        """Predict the rows of tensors; every answer is in the log before it is given."""
        began = time.perf_counter()
        service = self._service
        try:
            number = version_of(service, name, version)
            manifest = service.find(name).manifest
            headers = headers_of(scope)
            refuse_encoded(headers)
            length = _header_length(headers)
            body = await read_body(scope, receive, most_bytes=self._most_bytes)
            columns = manifest.contract.columns
            read = partial(read_infer_body, body, header_length=length, columns=columns, most_rows=self._most_rows)
            request = read() if len(body) <= _FEW_BYTES else await service.run_in_thread(read)
            check_outputs(request, manifest)
            answers = await service.predict(
                name, request.rows, version=number, request_key=request_key_of(headers), began=began
            )
            write = partial(write_infer_answer, name, request, answers)
            written, head = write() if answers.n_rows <= _FEW_ROWS else await service.run_in_thread(write)
        except Exception as error:
            count_refused(service, name, error)
            await send_problem(scope, send, error)
            return
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.model, exchange.n_rows, exchange.version = name, answers.n_rows, answers.served.number
            exchange.path = answers.served.scorer.path
        sent = [(b"content-type", b"application/json" if head is None else b"application/octet-stream")]
        if head is not None:
            sent.append((_HEADER_LENGTH, b"%d" % head))
        sent.append((b"content-length", b"%d" % len(written)))
        await send({"type": "http.response.start", "status": 200, "headers": sent})
        await send({"type": "http.response.body", "body": written})


def _header_length(headers: Mapping[bytes, bytes]) -> int | None:
    length = headers.get(_HEADER_LENGTH)
    if length is None:
        return None
    if not length.isdigit() or len(length) > 15:
        found = cut_text(length.decode("latin-1"))
        raise BodyRefused(400, f"Inference-Header-Content-Length is {found!r}, expected a number of bytes")
    return int(length)
