"""Hooks as senders send them, signed by the specification's own library, and a service that is only their address."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import standardwebhooks
from sqlmodel import Session, select

from base.errors import ArgumentError
from base.settings import Settings
from base.webhooks import draw_secret
from registry.store import Registry
from registry.tables import TriggerRow
from serving.access.gatekeeper import Gatekeeper
from serving.access.keyring import Keyring
from serving.access.mode import is_access_on
from serving.access.routes import Routes
from serving.hooks.route import HookRoute, pipeline_of
from serving.operation.exchange import Receive, Scope, Send
from serving.operation.request_scope import RequestScope
from serving.operation.tallies import Tallies

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
SECRET, OTHER_SECRET = draw_secret(), draw_secret()
JSON, EVENTS = "application/json", "application/cloudevents+json"


@dataclass(frozen=True)
class Heard:
    """What was answered."""

    status: int
    headers: Mapping[str, str]
    document: Any


@dataclass
class Doorstep:
    """The address for hooks behind the real gate, at a moment that a test says."""

    settings: Settings
    registry: Registry
    desk: str | None = "monitoring.desk:take"
    now: datetime = NOW
    tallies: Tallies = field(default_factory=Tallies)

    def __post_init__(self) -> None:
        route = HookRoute(self.settings, self.registry, self.tallies, desk=self.desk, clock=lambda: self.now)

        async def answer(scope: Scope, receive: Receive, send: Send) -> None:
            pipeline = pipeline_of(scope["path"])
            assert pipeline is not None
            await route(scope, receive, send, pipeline)

        keyring = None
        if is_access_on(self.settings):
            keyring = Keyring()
            keyring.refresh(self.registry)
        gate = Gatekeeper(answer, tallies=self.tallies, keyring=keyring)
        self._app = RequestScope(gate, tallies=self.tallies, routes=Routes(self.tallies))

    def post(
        self,
        body: bytes,
        headers: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        pipeline: str = "trips",
        kind: str | None = JSON,
    ) -> Heard:
        """Send a hook."""
        given = list(headers.items() if isinstance(headers, Mapping) else headers)
        if kind is not None:
            given.append(("content-type", kind))
        raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in given]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {
            "type": "http",
            "method": "POST",
            "path": f"/v1/hooks/{pipeline}",
            "query_string": b"",
            "headers": raw,
            "client": ("192.0.2.7", 1),
        }
        asyncio.run(self._app(scope, receive, send))
        start, *rest = sent
        found = {name.decode().lower(): value.decode() for name, value in start["headers"]}
        return Heard(start["status"], found, json.loads(b"".join(part["body"] for part in rest)))

    def post_json(self, document: Any, headers: Mapping[str, str] = {}, **more: Any) -> Heard:
        """Send a document, unsigned."""
        return self.post(json.dumps(document).encode(), headers, **more)

    def post_signed(
        self, document: Any, *, message_id: str = "msg_1", secret: str = SECRET, at: datetime | None = None, **more: Any
    ) -> Heard:
        """Send a document, signed."""
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return self.post(body, sign(body, message_id=message_id, secret=secret, at=at or self.now), **more)

    def triggers(self) -> list[TriggerRow]:
        """What lies in the inbox."""
        with self.registry.database.read() as session:
            return list(_read(session))


def sign(body: bytes, *, message_id: str = "msg_1", secret: str = SECRET, at: datetime = NOW) -> dict[str, str]:
    """Sign a body as the specification's own library does."""
    signature = standardwebhooks.Webhook(secret).sign(message_id, at, body.decode())
    return {
        "webhook-id": message_id,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": signature,
    }


def _read(session: Session) -> Sequence[TriggerRow]:
    return session.exec(select(TriggerRow).order_by(TriggerRow.received_at)).all()  # type: ignore[arg-type]


def take_slowly(_registry: Registry, _request: Any, *, now: datetime) -> Any:
    """Be a desk that does not answer in time."""
    import time

    time.sleep(0.4)


def refuse(_registry: Registry, _request: Any, *, now: datetime) -> Any:
    """Be a desk that finds something wrong with what was asked."""
    raise ArgumentError(f"nothing can be trained as of {now:%Y}")


def fail(_registry: Registry, _request: Any, *, now: datetime) -> Any:
    """Be a desk with a defect."""
    raise ZeroDivisionError("the secret place")


class TriggerRequest:
    """Stands for the class of requests, beside these desks."""

    def __init__(self, **given: Any) -> None:
        self.given = given


TOLERANCE = timedelta(minutes=5)
