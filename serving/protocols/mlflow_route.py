"""Predictions by MLflow's scoring protocol, for clients that know nothing else."""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import partial
from urllib.parse import parse_qs

from starlette.responses import Response

from base.errors import Fault
from registry.manifest import ModelManifest
from serving.answers import Answers
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.protocols.answer_columns import columns_of
from serving.protocols.documents import dump
from serving.protocols.inference_routes import server_version
from serving.protocols.mlflow_body import Invocation, Method, read_invocation
from serving.protocols.requests import headers_of, media_type_of, refuse_encoded, request_key_of
from serving.service import Service
from serving.web.bodies import read_body
from serving.web.model_routes import json_response
from serving.web.predict_route import send_body, send_problem
from serving.web.problems import BodyRefused, FaultsFound, describe_faults

PATH = "/invocations"
_PREFIX, _SUFFIX = "/v1/models/", "/invocations"
_MODEL_HEADER = b"everfit-model"
_FEW_ROWS = 64
_FEW_BYTES = 1 << 16


def invocation_target(path: str) -> str | None:
    """Return the model that a request names in its path; empty where the address is for whichever serves.

    Examples
    --------
    >>> invocation_target("/invocations"), invocation_target("/v1/models/trips/invocations")
    ('', 'trips')
    >>> invocation_target("/v1/models/trips/predict") is None
    True
    """
    if path == PATH:
        return ""
    if not path.startswith(_PREFIX) or not path.endswith(_SUFFIX):
        return None
    name = path[len(_PREFIX) : -len(_SUFFIX)]
    return name if name and "/" not in name else None


class InvocationRoute:
    """Answers ``POST [/v1/models/NAME]/invocations`` and ``GET /ping``, ``/health``, ``/version``."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._most_bytes = service.settings.max_body_bytes
        self._most_rows = service.settings.max_rows

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str = "") -> None:
        """Predict the rows of a frame; every answer is in the log before it is given."""
        began = time.perf_counter()
        service = self._service
        try:
            headers = headers_of(scope)
            model = name or self._choose(scope, headers)
            manifest = service.find(model).manifest
            refuse_encoded(headers)
            media_type = media_type_of(headers)
            body = await read_body(scope, receive, most_bytes=self._most_bytes)
            read = partial(
                read_invocation, body, media_type, columns=manifest.contract.columns, most_rows=self._most_rows
            )
            asked: Invocation = read() if len(body) <= _FEW_BYTES else await service.run_in_thread(read)
            _check_method(asked.method, manifest)
            answers = await service.predict(model, asked.rows, request_key=request_key_of(headers), began=began)
            write = partial(_write, asked.method, answers)
            written = write() if answers.n_rows <= _FEW_ROWS else await service.run_in_thread(write)
        except Exception as error:
            await send_problem(scope, send, error)
            return
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.model, exchange.n_rows, exchange.version = model, answers.n_rows, answers.served.number
            exchange.path = answers.served.scorer.path
        await send_body(send, 200, written, (b"content-type", b"application/json"))

    async def tell_ping(self) -> Response:
        """Say whether there is a model to answer with, as MLflow's own server does."""
        is_ready = bool(self._service.follower.served)
        return json_response({"ready": is_ready}, status=200 if is_ready else 503)

    async def tell_version(self) -> Response:
        """Tell the version of Everfit; MLflow's own server tells MLflow's here."""
        return Response(server_version(), media_type="text/plain")

    def _choose(self, scope: Scope, headers: Mapping[bytes, bytes]) -> str:
        """Find the model of an address that names none: the one that is asked for, else the only one in service."""
        asked = parse_qs(scope.get("query_string", b"").decode("latin-1")).get("model")
        name = asked[-1] if asked else headers.get(_MODEL_HEADER, b"").decode("latin-1")
        follower = self._service.follower
        if not name:
            served = sorted(follower.served)
            if len(served) > 1:
                raise BodyRefused(
                    400,
                    f"{len(served)} models are in service ({', '.join(served)}): say which, with ?model=NAME, "
                    "the header Everfit-Model or the address /v1/models/NAME/invocations",
                )
            name = served[0] if served else next(iter(follower.refused), "")
        exchange = exchange_of(scope)
        if exchange is not None and not exchange.may_ask(name):
            raise BodyRefused(403, f"the token is not for model {name!r}")
        return name


def _check_method(method: Method, manifest: ModelManifest) -> None:
    if method == "predict_proba" and manifest.classes is None:
        raise FaultsFound([Fault(None, "'predict_proba' of a regression", "'predict'")])


def _write(method: Method, answers: Answers) -> bytes:
    columns = columns_of(answers)
    document = {
        "predictions": columns.predictions if method == "predict" else columns.probabilities,
        # Beyond MLflow's own: by the ids, what comes true later is joined with what was predicted.
        "ids": columns.ids,
    }
    if method == "predict_proba":
        document["classes"] = columns.classes
    if answers.warnings:
        document["warnings"] = describe_faults(answers.warnings)
    return dump(document)
