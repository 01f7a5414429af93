"""Claims about the outbox: told what is committed, at least once, signed; a receiver that is down costs nobody much."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import standardwebhooks
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ArgumentError
from base.settings import Settings
from base.times import utc_now
from base.webhooks import Webhook
from registry.models import promote_version
from registry.store import Registry, open_registry
from registry.tables import WebhookDelivery
from registry.webhook_delivery import Courier, deliver_due, deliver_soon, next_wait
from registry.webhooks import announce, list_deliveries, try_again
from tests.processes import run_at_once
from tests.registry.samples import a_finished_run, a_pipeline, a_version, new_version

_SECRET = "whsec_" + "c2VjcmV0" * 4


@dataclass
class Receiver:
    """A receiver that verifies what it gets and answers as it is told to."""

    status: int = 204
    location: str | None = None
    headers: list[dict[str, str]] = field(default_factory=list)
    bodies: list[str] = field(default_factory=list)
    url: str = ""


@contextmanager
def listening(receiver: Receiver) -> Iterator[Receiver]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            receiver.bodies.append(self.rfile.read(int(self.headers["content-length"])).decode())
            receiver.headers.append({name.lower(): value for name, value in self.headers.items()})
            self.send_response(receiver.status)
            if receiver.location:
                self.send_header("location", receiver.location)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        receiver.url = f"http://127.0.0.1:{server.server_address[1]}/hooks/T0KEN"
        yield receiver
        server.shutdown()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with listening(Receiver()) as found:
        yield found


Opened = Callable[..., tuple[Registry, Settings]]


@pytest.fixture
def opened(any_settings: Settings) -> Iterator[Opened]:
    registries = []

    def open_with(url: str, **more: Any) -> tuple[Registry, Settings]:
        webhooks = {"ops": Webhook.model_validate({"url": url, "secret": _SECRET})}
        settings = any_settings.model_copy(update={"webhooks": webhooks, **more})
        registries.append(open_registry(settings))
        return registries[-1], settings

    yield open_with
    for registry in registries:
        registry.database.close()


def _announce(registry: Registry, number: int = 1) -> None:
    with registry.database.write() as session:
        announce(session, "alias.moved", {"model": "churn", "version": number})


def _deliveries(registry: Registry) -> list[WebhookDelivery]:
    with registry.database.read() as session:
        return list_deliveries(session)[::-1]


def _make_due(registry: Registry) -> None:
    with registry.database.write() as session:
        for delivery in list_deliveries(session):
            delivery.next_try_at = utc_now() - timedelta(seconds=1)


def test_what_happens_in_the_registry_is_told_signed_in_its_order(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    pipeline = a_pipeline(registry)
    with registry.database.write() as session:
        new = new_version(pipeline, a_finished_run(session, pipeline).id)
        new.verdict.update(outcome="first", promote=True, reason="nothing to compare with")
        from registry.models import register_version

        version = register_version(session, new)
        promote_version(session, "prod", version, expected_revision=0, actor="anna", reason="first")

    deliver_due(registry.database, settings)

    messages = [
        standardwebhooks.Webhook(_SECRET).verify(body, headers)
        for body, headers in zip(receiver.bodies, receiver.headers, strict=True)
    ]
    assert [message["type"] for message in messages] == ["version.registered", "verdict.given", "alias.moved"]
    assert messages[1]["data"]["outcome"] == "first"
    moved = {"model": "churn", "version": 1, "previous": None, "environment": "prod", "revision": 1, "actor": "anna"}
    assert messages[2]["data"].items() >= moved.items()
    assert {delivery.status for delivery in _deliveries(registry)} == {"delivered"}


def test_what_is_not_committed_is_not_told(opened: Opened, receiver: Receiver) -> None:
    registry, _ = opened(receiver.url)

    def fail() -> None:
        with registry.database.write() as session:
            announce(session, "alias.moved", {"model": "churn"})
            raise ArgumentError("power cut")

    with pytest.raises(ArgumentError):
        fail()
    assert _deliveries(registry) == []


def test_nothing_is_written_where_nobody_wants_to_hear(registry: Registry) -> None:
    pipeline = a_pipeline(registry)
    with registry.database.write() as session:
        a_version(session, pipeline)

    assert _deliveries(registry) == []


def test_a_receiver_hears_only_of_what_it_asked_for(any_settings: Settings) -> None:
    chosen = Webhook.model_validate({"url": "http://127.0.0.1:1/", "secret": _SECRET, "events": ["version.deleted"]})
    registry = open_registry(any_settings.model_copy(update={"webhooks": {"ops": chosen}}))
    _announce(registry)

    assert _deliveries(registry) == []
    registry.database.close()


@pytest.mark.parametrize("status", [301, 400, 500, 503])
def test_a_message_that_is_not_taken_is_sent_again_with_the_same_id(
    opened: Opened, receiver: Receiver, status: int
) -> None:
    registry, settings = opened(receiver.url)
    receiver.status, receiver.location = status, "http://127.0.0.1:1/elsewhere"
    _announce(registry)
    deliver_due(registry.database, settings)
    (delivery,) = _deliveries(registry)
    assert (delivery.status, delivery.tries, delivery.problem) == ("waiting", 1, f"answered with status {status}")
    assert delivery.next_try_at > utc_now()

    receiver.status = 200
    _make_due(registry)
    deliver_due(registry.database, settings)

    first, second = receiver.headers
    assert first["webhook-id"] == second["webhook-id"]
    assert receiver.bodies[0] == receiver.bodies[1]
    assert _deliveries(registry)[0].status == "delivered"


def test_a_receiver_that_fails_rests_with_all_its_messages(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    receiver.status = 500
    for number in range(3):
        _announce(registry, number)

    for _ in range(3):
        deliver_due(registry.database, settings)

    assert len(receiver.bodies) == 1
    assert [delivery.tries for delivery in _deliveries(registry)] == [1, 0, 0]


def test_a_message_is_given_up_after_the_tries_of_the_settings_and_can_be_sent_again_by_hand(
    opened: Opened, receiver: Receiver
) -> None:
    registry, settings = opened(receiver.url, webhook_tries=2)
    receiver.status = 500
    _announce(registry)
    for _ in range(3):
        _make_due(registry)
        deliver_due(registry.database, settings)
    assert [(delivery.status, delivery.tries) for delivery in _deliveries(registry)] == [("given up", 2)]

    receiver.status = 200
    with registry.database.write() as session:
        assert try_again(session, now=utc_now()) == 1
    deliver_due(registry.database, settings)

    assert _deliveries(registry)[0].status == "delivered"


def test_a_receiver_that_is_gone_for_good_is_not_asked_again(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    receiver.status = 410
    _announce(registry)

    deliver_due(registry.database, settings)

    assert _deliveries(registry)[0].status == "given up"


def test_a_receiver_that_is_down_is_named_without_its_address(opened: Opened) -> None:
    registry, settings = opened("http://127.0.0.1:1/hooks/T0KEN")
    _announce(registry)

    (sent,) = deliver_soon(registry.database, settings)

    assert sent.problem == "cannot be reached (ConnectionRefusedError)"
    assert "T0KEN" not in _deliveries(registry)[0].problem


def test_a_receiver_that_never_answers_holds_nobody_up(settings: Settings) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        webhooks = {"ops": Webhook.model_validate({"url": url, "secret": _SECRET})}
        settings = settings.model_copy(update={"webhooks": webhooks})
        registry = open_registry(settings)
        _announce(registry)

        began = time.monotonic()
        deliver_due(registry.database, settings, within=0.2)
        # Far below the ten seconds that an answer may take otherwise; machines are busy.
        assert time.monotonic() - began < 5


def test_a_try_whose_process_died_is_made_again(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    _announce(registry)
    with registry.database.write() as session:
        (claimed,) = list_deliveries(session)
        claimed.tries, claimed.next_try_at = 1, utc_now() + timedelta(seconds=60)

    deliver_due(registry.database, settings)
    assert receiver.bodies == []
    _make_due(registry)
    deliver_due(registry.database, settings)
    assert len(receiver.bodies) == 1


@pytest.mark.slow
def test_processes_that_deliver_at_once_send_each_message_once(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    for number in range(5):
        _announce(registry, number)

    def deliver(_number: int) -> None:
        deliver_due(open_registry(settings).database, settings)

    assert run_at_once(4, deliver) == [None] * 4
    numbers = [json.loads(body)["data"]["version"] for body in receiver.bodies]
    assert sorted(numbers) == [0, 1, 2, 3, 4]


def test_a_courier_sends_while_its_process_lives(opened: Opened, receiver: Receiver) -> None:
    registry, settings = opened(receiver.url)
    _announce(registry)

    with Courier(registry.database, settings, look_seconds=0.01):
        deadline = time.monotonic() + 30
        while not receiver.bodies and time.monotonic() < deadline:
            time.sleep(0.01)

    assert len(receiver.bodies) == 1


@given(tries=st.integers(1, 10_000), chance=st.floats(0, 1, exclude_max=True))
def test_waits_grow_threefold_up_to_six_hours_and_are_spread(tries: int, chance: float) -> None:
    wait = next_wait(tries, first_seconds=5, chance=chance)

    assert min(5 * 3 ** (tries - 1), 21_600) * 0.75 <= wait <= 21_600 * 1.25
