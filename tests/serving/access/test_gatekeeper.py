"""Claims about the gate: who is let in, what a refusal says, and that it never says too much."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from registry.store import Registry
from registry.tokens import create_token, revoke_token
from serving.access.gatekeeper import Gatekeeper
from serving.access.keyring import Keyring
from serving.access.rates import RateLimiter
from serving.access.routes import Routes
from serving.operation.exchange import Receive, Scope, Send, exchange_of
from serving.operation.request_scope import RequestScope
from serving.operation.tallies import Tallies

NOW = datetime.now(UTC)
PREDICT, LABELS, MODELS = "/v1/models/trips/predict", "/v1/models/trips/labels", "/v1/models"

Answered = tuple[int, dict[str, str], bytes]


async def _echo(scope: Scope, _receive: Receive, send: Send) -> None:
    exchange = exchange_of(scope)
    assert exchange is not None
    body = exchange.token.encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": body})


async def _fail(_scope: Scope, _receive: Receive, _send: Send) -> None:
    raise ValueError("the secret place is /etc/everfit")


def _make(*, keyring: Keyring | None = None, app: Any = _echo, **limits: Any) -> RequestScope:
    tallies = Tallies()
    gate = Gatekeeper(app, tallies=tallies, keyring=keyring, **limits)
    return RequestScope(gate, tallies=tallies, routes=Routes(tallies))


def _ask(
    app: RequestScope, path: str = PREDICT, *, method: str = "POST", client: str = "192.0.2.1", **headers: str
) -> Answered:
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    given: Sequence[tuple[bytes, bytes]] = [
        (name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()
    ]
    scope = {"type": "http", "method": method, "path": path, "headers": given, "client": (client, 1)}
    asyncio.run(app(scope, receive, send))
    told = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], told, sent[-1]["body"]


def _token(registry: Registry, *roles: str, name: str = "shop", **given: Any) -> str:
    with registry.database.write() as session:
        options: dict[str, Any] = {"actor": "ann", "now": NOW} | given
        return f"Bearer {create_token(session, name, roles=roles, **options).secret}"


@pytest.fixture
def keyring() -> Keyring:
    return Keyring()


@pytest.mark.parametrize(
    ("role", "method", "path"),
    [
        ("predict", "POST", PREDICT),
        ("predict", "POST", "/v2/models/trips/infer"),
        ("predict", "POST", "/v2/models/trips/versions/3/infer"),
        ("predict", "POST", "/invocations"),
        ("label", "POST", LABELS),
        ("view", "GET", MODELS),
        ("view", "GET", "/v1/models/trips/versions/1/report"),
        ("view", "GET", "/metrics"),
        ("view", "GET", "/openapi.json"),
        ("operate", "POST", "/v1/models/trips/rollout"),
        ("approve", "POST", "/v1/approvals/17"),
        ("admin", "POST", "/what/nobody/listed"),
        ("admin", "DELETE", "/v1/models/trips"),
    ],
)
def test_an_address_asks_for_its_role_and_admin_has_all(
    registry: Registry, keyring: Keyring, role: str, method: str, path: str
) -> None:
    others = [one for one in ("predict", "label", "view", "operate", "approve") if one != role]
    right = _token(registry, role, name="right")
    wrong = _token(registry, *others, name="wrong")
    admin = _token(registry, "admin", name="admin")
    keyring.refresh(registry)
    app = _make(keyring=keyring)

    statuses = [_ask(app, path, method=method, authorization=token)[0] for token in (right, wrong, admin)]

    assert statuses == [200, 403, 200]
    assert repr(role) in json.loads(_ask(app, path, method=method, authorization=wrong)[2])["detail"]


@pytest.mark.parametrize("header", [None, "Basic YTpi", "Bearer ", "Bearer everfit_", "Bearer x", "Bearer é"])
def test_without_a_good_token_a_request_is_answered_with_how_to_send_one(
    registry: Registry, keyring: Keyring, header: str | None
) -> None:
    _token(registry, "predict")
    keyring.refresh(registry)

    status, headers, body = _ask(_make(keyring=keyring), **({} if header is None else {"authorization": header}))

    assert (status, headers["www-authenticate"]) == (401, 'Bearer realm="everfit"')
    assert headers["content-type"] == "application/problem+json"
    assert json.loads(body)["instance"] == headers["x-request-id"]


def test_one_wrong_letter_is_a_wrong_token_and_no_refusal_repeats_it(
    registry: Registry, keyring: Keyring, caplog: pytest.LogCaptureFixture
) -> None:
    token = _token(registry, "predict")
    keyring.refresh(registry)
    wrong = token[:-1] + ("A" if token[-1] != "A" else "B")

    with caplog.at_level("INFO"):
        status, _, body = _ask(_make(keyring=keyring), authorization=wrong)

    assert status == 401
    assert wrong[-20:-1] not in body.decode() + "".join(str(vars(record)) for record in caplog.records)


def test_health_is_told_to_everybody(keyring: Keyring) -> None:
    app = _make(keyring=keyring)

    assert [_ask(app, path, method="GET")[0] for path in ("/healthz", "/readyz", "/v2/health/live")] == [200] * 3


def test_a_token_for_some_models_asks_those_alone(registry: Registry, keyring: Keyring) -> None:
    token = _token(registry, "predict", "view", models=["trips"])
    keyring.refresh(registry)
    app = _make(keyring=keyring)

    assert [_ask(app, path, authorization=token)[0] for path in (PREDICT, "/v1/models/bike/predict")] == [200, 403]
    assert _ask(app, "/invocations", authorization=token)[0] == 403
    assert _ask(app, MODELS, method="GET", authorization=token)[0] == 200


def test_a_token_ends_when_it_expires_without_the_registry_being_asked(registry: Registry, keyring: Keyring) -> None:
    token = _token(registry, "predict", now=NOW - timedelta(hours=2), expires=timedelta(hours=1))
    keyring.refresh(registry)

    status, _, body = _ask(_make(keyring=keyring), authorization=token)

    assert status == 401
    assert "'shop' has expired" in json.loads(body)["detail"]


def test_a_revoked_token_is_refused_after_the_next_look_and_a_lost_registry_changes_nothing(
    registry: Registry, keyring: Keyring, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = _token(registry, "predict")
    keyring.refresh(registry)
    app = _make(keyring=keyring)
    assert _ask(app, authorization=token)[0] == 200

    with monkeypatch.context() as patched:
        patched.setattr("serving.access.keyring.list_tokens", _raise)
        with pytest.raises(ConnectionError):
            keyring.refresh(registry)
    assert _ask(app, authorization=token)[0] == 200

    with registry.database.write() as session:
        revoke_token(session, "shop", actor="ann", reason="", now=NOW)
    keyring.refresh(registry)
    assert _ask(app, authorization=token)[0] == 401


def _raise(*_: object) -> None:
    raise ConnectionError("away")


def test_who_asks_too_often_is_told_when_to_come_back_and_others_are_not_hindered() -> None:
    app = _make(limiter=RateLimiter(per_second=0.1, burst=2))

    answers = [_ask(app, client="192.0.2.1") for _ in range(3)]

    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert 9 <= int(answers[-1][1]["retry-after"]) <= 10
    assert _ask(app, client="192.0.2.2")[0] == 200
    assert app.tallies.refusals == {"rate": 1}


def test_more_requests_than_may_wait_are_answered_at_once_with_503() -> None:
    app = _make(most_in_flight=1)
    app.tallies.in_flight = 1

    status, headers, _ = _ask(app)

    assert (status, headers["retry-after"]) == (503, "1")
    assert _ask(app, "/healthz", method="GET")[0] == 200


@pytest.mark.parametrize(("length", "status"), [("1000", 200), ("1001", 413), ("9" * 4000, 413)])
def test_a_body_that_says_it_is_too_large_is_not_read(length: str, status: int) -> None:
    assert _ask(_make(most_body_bytes=1000), content_length=length)[0] == status


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("null", 403),
        ("http://localhost:3000", 200),
        ("http://localhost.evil.example", 403),
    ],
)
def test_a_service_that_asks_nobody_for_a_token_is_not_for_web_pages_of_other_places(origin: str, status: int) -> None:
    assert _ask(_make(), origin=origin)[0] == status


@pytest.mark.parametrize(("given", "is_kept"), [("a-1", True), ("x" * 128, True), ("x" * 129, False), ("a b", False)])
def test_a_sane_request_id_comes_back_and_another_is_replaced(given: str, is_kept: bool) -> None:
    told = _ask(_make(), x_request_id=given)[1]["x-request-id"]

    assert (told == given) is is_kept
    assert told


def test_a_defect_is_logged_with_its_stack_and_told_without(caplog: pytest.LogCaptureFixture) -> None:
    app = _make(app=_fail)

    status, headers, body = _ask(app)

    assert status == 500
    assert b"/etc/everfit" not in body
    assert headers["x-request-id"] in caplog.text
    assert "the secret place" in caplog.text
    assert app.tallies.by_template["/v1/models/{name}/predict"].statuses == {500: 1}
    assert app.tallies.in_flight == 0
