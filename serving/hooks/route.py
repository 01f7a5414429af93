"""The address for hooks: who sent it, what it wishes for, and what the arbiter says; off the event loop."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cached_property, partial
from hashlib import sha256
from typing import TYPE_CHECKING, Any

import orjson

from base.documents import as_document
from base.errors import ArgumentError, Fault, nearest
from base.json_values import cut_text
from base.settings import Settings
from base.times import utc_now
from registry.store import Registry
from serving.hooks.desk import Desk, Filed
from serving.hooks.signature import BAD, STALE
from serving.identifiers import new_ids
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.operation.tallies import Tallies
from serving.web.bodies import read_body
from serving.web.predict_route import send_body, send_problem
from serving.web.problems import BodyRefused, FaultsFound

if TYPE_CHECKING:
    from serving.hooks.gate import Author, HookGate
    from serving.hooks.message import Message

_log = logging.getLogger(__name__)

_PREFIX = "/v1/hooks/"
_JSON = (b"content-type", b"application/json")
_REPEAT_KEY = "idempotency-key"
# Of these a message has one each; a second one would let two readers of it see two messages.
_ONCE = ("webhook-", "ce-", "content-type", _REPEAT_KEY)

# Writers take turns in the registry, so more threads would only wait there.
_THREADS = 4
# Senders wait 15 to 30 seconds for an answer; what comes of the hook later, they hear when they send it again.
_PATIENCE_SECONDS = 12.0
_LARGEST_PAYLOAD = 32 << 10
_LONGEST_KEY = 200
# A moment to train as of that lies ahead would keep every later training from being newer.
_AHEAD = timedelta(minutes=5)

ACCEPTED, DUPLICATE, NOTHING = "accepted", "duplicate", "nothing"
INVALID, REFUSED, UNAVAILABLE, FAILED = "invalid", "refused", "unavailable", "failed"


class RegistryAway(BodyRefused):
    """What has come can be kept nowhere now: it is to be sent again."""

    def __init__(self, why: str) -> None:
        super().__init__(503, f"{why}; nothing is lost: send the same again when Retry-After says", reason=UNAVAILABLE)


def pipeline_of(path: str) -> str | None:
    """Return the pipeline that a hook's path names.

    Examples
    --------
    >>> pipeline_of("/v1/hooks/trips"), pipeline_of("/v1/hooks/"), pipeline_of("/v1/hooks/a/b")
    ('trips', None, None)
    """
    name = path[len(_PREFIX) :]
    return name if path.startswith(_PREFIX) and name and "/" not in name else None


class HookRoute:
    """Answers ``POST /v1/hooks/PIPELINE``.

    Parameters
    ----------
    desk : str or None
        Name of the function that takes a wish, such as ``monitoring.desk:take``; None: this service takes none.
    clock : callable
        Tells the present moment, in UTC.
    """

    def __init__(
        self,
        settings: Settings,
        registry: Registry,
        tallies: Tallies,
        *,
        desk: str | None,
        clock: Callable[[], datetime] = utc_now,
    ) -> None:
        self._registry = registry
        self._tallies = tallies
        self._most_bytes = settings.max_hook_bytes
        self._settings = settings
        self._desk = None if desk is None else Desk(desk)
        self._clock = clock
        self._threads: ThreadPoolExecutor | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send, pipeline: str) -> None:
        """Take a hook; the answer says what the arbiter has made of it."""
        exchange = exchange_of(scope)
        token = "" if exchange is None else exchange.token
        try:
            body = await self._read_body(scope, receive)
            headers = _read_headers(scope)
            outcome, answer = await self._in_thread(partial(self._take, pipeline, headers, body, token))
        except Exception as error:
            outcome = _outcome_of(error)
            self._tallies.count_hook(outcome)
            if exchange is not None:
                exchange.refused = error.reason if isinstance(error, BodyRefused) else outcome
            await send_problem(scope, send, error)
            return
        self._tallies.count_hook(outcome)
        if exchange is not None:
            exchange.model, exchange.path = pipeline, ""
        await send_body(send, 202, orjson.dumps(answer), _JSON)

    @cached_property
    def _gate(self) -> HookGate:
        # As the forms below: a service that hears of no hook pays for none of it.
        from serving.hooks.gate import HookGate

        return HookGate(self._settings)

    async def _read_body(self, scope: Scope, receive: Receive) -> bytes:
        try:
            return await read_body(scope, receive, most_bytes=self._most_bytes)
        except BodyRefused as error:
            if error.status != 413:
                raise
            most = f"{self._most_bytes:,} bytes (EVERFIT_MAX_HOOK_BYTES)"
            raise BodyRefused(413, f"the hook is larger than {most}; send a summary", reason="too_large") from error

    async def _in_thread(self, take: Callable[[], tuple[str, dict[str, Any]]]) -> tuple[str, dict[str, Any]]:
        if self._threads is None:
            self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="everfit-hooks")
        taking = asyncio.get_running_loop().run_in_executor(self._threads, take)
        done, _ = await asyncio.wait({taking}, timeout=_PATIENCE_SECONDS)
        if not done:
            # What waits is taken back; what has begun may still be filed, and the same key again hears what came of it.
            taking.cancel()
            raise RegistryAway(f"the registry has not answered within {_PATIENCE_SECONDS:.0f} seconds")
        return taking.result()

    def _take(self, pipeline: str, headers: Mapping[str, str], body: bytes, token: str) -> tuple[str, dict[str, Any]]:
        now = self._clock()
        author = self._admit(headers, body, pipeline, token, now)
        if self._desk is None:
            raise BodyRefused(
                503, "this service takes no hooks: start it with `everfit serve` or `everfit up`", reason=UNAVAILABLE
            )
        self._check_pipeline(pipeline)
        from serving.hooks.message import read_message

        message = read_message(headers, body, pipeline=pipeline)
        wish = message.wish
        if wish.as_of is not None and wish.as_of > now + _AHEAD:
            raise FaultsFound([Fault("as_of", f"{wish.as_of:%Y-%m-%d %H:%M} UTC", "a moment that has come")])
        if not wish.asks:
            return NOTHING, {"trigger": None, "outcome": "none", "reason": wish.reason, "launch": None}
        filed = Filed(
            pipeline=pipeline,
            key=_key(author, message, headers),
            actor=author.name,
            wish=wish,
            occurred_at=wish.occurred_at or _moment(author, now),
            payload=_payload(message, body),
        )
        try:
            taken = self._desk.take(self._registry, filed, now=now)
        except ArgumentError as error:
            raise BodyRefused(422, str(error), reason=INVALID) from error
        except Exception as error:
            raise _explain(error) from error
        answer = {
            "trigger": taken.trigger_id,
            "outcome": taken.outcome,
            "reason": taken.reason,
            "launch": taken.launch_id,
        }
        return ACCEPTED if taken.is_new else DUPLICATE, answer

    def _admit(self, headers: Mapping[str, str], body: bytes, pipeline: str, token: str, now: datetime) -> Author:
        try:
            return self._gate.admit(headers, body, pipeline=pipeline, token=token, now=now)
        except (ArgumentError, OSError) as error:
            # Where the secrets lie is for this service's own log.
            _log.error("the secrets of hooks cannot be read: %s", error)
            raise RegistryAway("the secrets of hooks cannot be read") from error

    def _check_pipeline(self, pipeline: str) -> None:
        from registry.pipelines import list_pipelines

        try:
            with self._registry.database.read() as session:
                known = list_pipelines(session)
        except Exception as error:
            raise _explain(error) from error
        if pipeline not in known:
            shown = f"there is no pipeline {cut_text(pipeline)!r}; registered are {', '.join(known) or 'none'}"
            raise BodyRefused(404, f"{shown}{nearest(pipeline, known)}", reason="unknown_pipeline")


def _explain(error: Exception) -> Exception:
    """Tell a registry that is away from everything else that may fail."""
    from sqlalchemy.exc import DBAPIError
    from sqlalchemy.exc import TimeoutError as PoolTimeout

    from base.database import DatabaseBusy, DatabaseUnavailable

    if isinstance(error, DatabaseBusy | DatabaseUnavailable | DBAPIError | PoolTimeout | OSError):
        _log.warning("a hook cannot be filed: %s: %s", type(error).__name__, error)
        return RegistryAway("the registry is away")
    return error


def _key(author: Author, message: Message, headers: Mapping[str, str]) -> str:
    if author.key is not None:
        return f"webhook:{author.key}"
    if message.event is not None:
        return f"event:{message.event.key}"
    given = headers.get(_REPEAT_KEY)
    if given is None:
        # Nothing tells it from another one: each is a wish of its own.
        return f"hook:{new_ids(1)[0]}"
    if not 0 < len(given) <= _LONGEST_KEY:
        raise BodyRefused(400, f"the Idempotency-Key has {len(given)} characters, expected 1 to {_LONGEST_KEY}")
    return f"key:{author.name} {given}"


def _moment(author: Author, now: datetime) -> datetime:
    return now if author.sent_at is None else datetime.fromtimestamp(author.sent_at, UTC)


def _payload(message: Message, body: bytes) -> dict[str, Any]:
    told: dict[str, Any] = {"form": message.wish.form, "bytes": len(body), "sha256": sha256(body).hexdigest()}
    facts = as_document(message.wish.facts)
    size = len(json.dumps(facts, ensure_ascii=False).encode())
    # The inbox keeps what a decision was founded on; a sender's whole report is the sender's to keep.
    return {**told, **(facts if size <= _LARGEST_PAYLOAD else {"cut": f"{size:,} bytes were not kept"})}


def _read_headers(scope: Scope) -> dict[str, str]:
    headers: dict[str, str] = {}
    for raw, value in scope["headers"]:
        name = raw.decode("latin-1").lower()
        if name in headers and name.startswith(_ONCE):
            raise BodyRefused(400, f"the header {cut_text(name)!r} came twice")
        headers[name] = value.decode("latin-1").strip()
    return headers


def _outcome_of(error: Exception) -> str:
    if not isinstance(error, BodyRefused):
        return FAILED
    if error.reason in (BAD, STALE, UNAVAILABLE):
        return error.reason
    return REFUSED if error.status in (401, 404) else INVALID
