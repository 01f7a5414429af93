"""Predictions in bulk: Arrow streams in and out at the address of the service's own protocol."""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import time
from collections.abc import Mapping
from functools import partial
from typing import Any

from base.errors import EverfitError, Fault
from base.json_values import cut_text
from serving.answers import Answers
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.protocols.arrow_answer import AnswerStream
from serving.protocols.arrow_rows import RowStream
from serving.protocols.documents import refuse_too_many
from serving.protocols.mlflow_body import JSON_TYPES
from serving.protocols.requests import count_refused, headers_of, media_type_of, refuse_encoded, request_key_of
from serving.protocols.spool import Spool
from serving.service import Service
from serving.web.bodies import read_body
from serving.web.explained import wants_explanations
from serving.web.judged_rows import Row
from serving.web.payloads import read_rows, reread_rows
from serving.web.predict_route import PredictRoute, send_body, send_problem, write_answers
from serving.web.problems import BodyRefused, FaultsFound, describe_problem

_log = logging.getLogger(__name__)

ARROW = "application/vnd.apache.arrow.stream"
_ARROW_HEADER = (b"content-type", ARROW.encode())
_JSON_HEADER = (b"content-type", b"application/json")
# The last is what curl says of any body that it is told nothing about.
_PLAIN = (None, b"application/json", b"application/x-www-form-urlencoded")
_CHUNK_ROWS = 8192


def is_plain(headers: Mapping[bytes, bytes]) -> bool:
    """Tell whether a request is JSON both ways, as nearly all are.

    Examples
    --------
    >>> is_plain({}), is_plain({b"content-type": b"text/csv"})
    (True, False)
    """
    return (
        headers.get(b"content-type") in _PLAIN
        and b"arrow" not in headers.get(b"accept", b"")
        and b"content-encoding" not in headers
    )


class BulkRoute:
    """Answers ``POST /v1/models/NAME/predict`` where the body or the answer is not JSON."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._settings = service.settings
        self._plain = PredictRoute(service)
        self._chunk = min(_CHUNK_ROWS, service.settings.max_rows)

    async def __call__(self, scope: Scope, receive: Receive, send: Send, name: str) -> None:
        """Predict the rows of a stream, batch by batch; every answer is in the log before it is given."""
        began = time.perf_counter()
        try:
            self._service.find(name)
            headers = headers_of(scope)
            media_type = media_type_of(headers)
            refuse_encoded(headers)
            wants_arrow = _wants_arrow(headers, media_type)
            if (wants_arrow or media_type == ARROW) and wants_explanations(scope["query_string"]) is not None:
                raise FaultsFound([Fault("explain", f"explanations beside {ARROW}", "JSON in and out")])
            if media_type == ARROW:
                await self._answer_stream(scope, receive, send, name, wants_arrow, began)
                return
            if media_type not in JSON_TYPES:
                raise BodyRefused(415, f"the body is {cut_text(media_type)!r}, expected application/json or {ARROW}")
            if not wants_arrow:
                # JSON after all, only said in more words than usual.
                await self._plain(scope, receive, send, name)
                return
            body = await read_body(scope, receive, most_bytes=self._settings.max_body_bytes)
            rows = read_rows(body, most_rows=self._settings.max_rows)
            answers = await self._predict(scope, name, rows, began, reread=partial(reread_rows, body))
            await send_body(send, 200, await self._service.run_in_thread(partial(_write, answers)), _ARROW_HEADER)
        except Exception as error:
            count_refused(self._service, name, error)
            await send_problem(scope, send, error)

    async def _answer_stream(
        self, scope: Scope, receive: Receive, send: Send, name: str, wants_arrow: bool, began: float
    ) -> None:
        settings, service = self._settings, self._service
        async with Spool(settings.home, most_bytes=settings.max_stream_bytes) as spool:
            data = await spool.receive(receive)
            manifest = service.find(name).manifest
            open_rows = partial(RowStream, data, manifest.contract.columns, most_chunk_bytes=settings.max_body_bytes)
            stream = await service.run_in_thread(open_rows)
            if not wants_arrow:
                refuse_too_many(stream.n_rows, settings.max_rows)
                rows = await service.run_in_thread(partial(stream.read, settings.max_rows))
                answers = await self._predict(scope, name, rows, began)
                await send_body(
                    send, 200, await service.run_in_thread(partial(write_answers, name, answers)), _JSON_HEADER
                )
                return
            if stream.n_rows > settings.max_stream_rows:
                raise BodyRefused(
                    413,
                    f"the stream holds {stream.n_rows:,} rows, expected at most {settings.max_stream_rows:,} "
                    "(EVERFIT_MAX_STREAM_ROWS); send them in parts",
                    reason="too_many",
                )
            writer = AnswerStream(manifest)
            part = await self._answer_chunk(scope, name, stream, writer, 0, began)
            await send({"type": "http.response.start", "status": 200, "headers": [_ARROW_HEADER]})
            await self._send_rest(scope, receive, send, name, stream, writer, part)

    async def _send_rest(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
        name: str,
        stream: RowStream,
        writer: AnswerStream,
        part: bytes,
    ) -> None:
        gone = asyncio.ensure_future(receive())
        n_rows = self._chunk
        try:
            while part:
                await send({"type": "http.response.body", "body": part, "more_body": True})
                if gone.done():
                    return
                try:
                    part = await self._answer_chunk(scope, name, stream, writer, n_rows, time.perf_counter())
                except Exception as error:
                    count_refused(self._service, name, error)
                    if not isinstance(error, EverfitError):
                        _log.error("a stream of model %r was cut", name, exc_info=error)
                    exchange = exchange_of(scope)
                    instance = None if exchange is None else exchange.request_id.decode()
                    last = writer.write_problem(describe_problem(error, instance=instance))
                    # Without its end, the answer cannot be taken for a whole one: the server cuts the connection.
                    await send({"type": "http.response.body", "body": last, "more_body": True})
                    return
                n_rows += self._chunk
            await send({"type": "http.response.body", "body": writer.finish()})
        finally:
            gone.cancel()

    async def _answer_chunk(
        self, scope: Scope, name: str, stream: RowStream, writer: AnswerStream, first_row: int, began: float
    ) -> bytes:
        rows = await self._service.run_in_thread(partial(stream.read, self._chunk))
        if not rows:
            return b""
        try:
            answers = await self._predict(scope, name, rows, began)
        except FaultsFound as error:
            raise _moved(error, first_row) from error
        if first_row:
            answers = Answers(answers.n_rows, answers.parts, [_move(fault, first_row) for fault in answers.warnings])
        return await self._service.run_in_thread(partial(writer.write, answers))

    async def _predict(self, scope: Scope, name: str, rows: list[Row], began: float, **more: Any) -> Answers:
        key = request_key_of(headers_of(scope))
        answers = await self._service.predict(name, rows, request_key=key, began=began, **more)
        exchange = exchange_of(scope)
        if exchange is not None:
            exchange.model, exchange.version = name, answers.served.number
            exchange.n_rows += answers.n_rows
            exchange.path = answers.served.scorer.path
        return answers


def _write(answers: Answers) -> bytes:
    writer = AnswerStream(answers.served.manifest)
    return writer.write(answers) + writer.finish()


def _wants_arrow(headers: Mapping[bytes, bytes], media_type: str) -> bool:
    accepted = [
        part.partition(";")[0].strip() for part in headers.get(b"accept", b"").decode("latin-1").lower().split(",")
    ]
    if ARROW in accepted:
        return True
    return media_type == ARROW and "application/json" not in accepted


def _moved(error: FaultsFound, first_row: int) -> FaultsFound:
    return FaultsFound([_move(fault, first_row) for fault in error.faults]) if first_row else error


def _move(fault: Any, first_row: int) -> Any:
    return fault if fault.row is None else dataclasses.replace(fault, row=fault.row + first_row)
