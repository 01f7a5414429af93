"""Claims about clients that misbehave: each gets its answer or is cut off, and the service keeps nothing of them."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from base.settings import Settings
from registry.store import Registry, open_registry
from serving.log.status import read_status
from tests.serving.conftest import wait_until
from tests.serving.faults.running import PREDICT, ROWS, Running, count_files, resident_bytes, run_service
from tests.serving.models import promote, register_model

pytestmark = pytest.mark.slow

_BODY = json.dumps({"rows": ROWS[:1]}).encode()
_MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("clients") / "home"


@pytest.fixture(scope="module")
def registry(home: Path) -> Iterator[Registry]:
    opened = open_registry(Settings(home=home))
    promote(opened, register_model(opened))
    promote(opened, register_model(opened, name="slow", function="features:take_a_while"))
    yield opened
    opened.database.close()


@pytest.fixture(scope="module")
def service(home: Path, registry: Registry) -> Iterator[Running]:
    with run_service(home, header_seconds=1, body_seconds=1, drain_seconds=0.2) as service:
        wait_until(lambda: len(service.get("/v1/models").json()["models"]) == 2, "both models")
        yield service


def _head(path: str = PREDICT, *, method: str = "POST", version: str = "1.1", **headers: object) -> bytes:
    lines = [f"{method} {path} HTTP/{version}", "host: x"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _request(path: str = PREDICT, body: bytes = _BODY, **headers: str) -> bytes:
    return _head(path, content_length=len(body), **headers) + body


def _connect(service: Running) -> socket.socket:
    host, port = service.address.removeprefix("http://").split(":")
    return socket.create_connection((host, int(port)), timeout=30)


def _read(connection: socket.socket) -> bytes:
    """Read until the other side closes."""
    received = b""
    try:
        while part := connection.recv(1 << 16):
            received += part
    except ConnectionResetError:
        pass
    return received


def _talk(service: Running, *parts: bytes) -> bytes:
    with _connect(service) as connection:
        try:
            for part in parts:
                connection.sendall(part)
        except (BrokenPipeError, ConnectionResetError):
            pass  # cut off in the middle of it; what was said before is read all the same
        return _read(connection)


def _counts_balance(home: Path, registry: Registry) -> bool:
    return all(
        each.totals.in_flight == 0 and each.totals.stored == each.n_found and not each.gaps
        for each in read_status(home, registry)
    )


@pytest.mark.parametrize(
    ("sent", "expected"),
    [
        pytest.param(_request(connection="close"), b"HTTP/1.1 200", id="well behaved"),
        pytest.param(_head(content_length=200) + b'{"rows"', b"HTTP/1.1 408", id="half a body"),
        pytest.param(_head()[:-2], b"HTTP/1.1 408", id="half a header"),
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", b"HTTP/1.1 400", id="TLS to a plain port"),
        pytest.param(b"GARBAGE\r\n\r\n", b"HTTP/1.1 400", id="no HTTP"),
        pytest.param(_head(transfer_encoding="chunked") + b"zz\r\n", b"HTTP/1.1 400", id="a broken chunk"),
        pytest.param(_head(content_length="minus"), b"HTTP/1.1 400", id="a length that is none"),
        pytest.param(
            _head(transfer_encoding="chunked", connection="close")
            + b"".join(b"1\r\n%c\r\n" % letter for letter in _BODY)
            + b"0\r\n\r\n",
            b"HTTP/1.1 200",
            id="many small chunks",
        ),
        pytest.param(_request(expect="100-continue", connection="close"), b"HTTP/1.1 100", id="impatient"),
        pytest.param(_head("/healthz", method="BREW", connection="close"), b"HTTP/1.1 4", id="an odd method"),
        pytest.param(_head("/" + "x" * 60_000, method="GET", connection="close"), b"HTTP/1.1 4", id="a long address"),
        pytest.param(_head("/v1/models/%00%ff/predict", content_length=0, connection="close"), b"HTTP/1.1 4", id="%00"),
    ],
)
def test_whatever_is_sent_is_answered_or_cut_off(service: Running, sent: bytes, expected: bytes) -> None:
    answer = _talk(service, sent)

    assert answer.startswith(expected), answer[:300]
    assert b"Traceback" not in answer


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/v1/models", "/v1/models/trips", "/metrics"])
def test_head_is_answered_as_get_without_a_body(service: Running, path: str) -> None:
    answer = _talk(service, _head(path, method="HEAD", connection="close"))

    assert answer.startswith(b"HTTP/1.1 200"), answer[:300]
    assert answer.endswith(b"\r\n\r\n")
    assert answer.count(b"\r\n\r\n") == 1


def test_a_client_of_http_1_0_gets_its_answer_and_the_connection_is_closed(service: Running) -> None:
    answer = _talk(service, _head(version="1.0", content_length=len(_BODY)) + _BODY)

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    assert json.loads(body)["version"] == 1


def test_a_client_that_waits_for_the_go_ahead_gets_it_before_it_sends_its_body(service: Running) -> None:
    with _connect(service) as connection:
        connection.sendall(_head(content_length=len(_BODY), expect="100-continue", connection="close"))
        go_ahead = connection.recv(1000)
        connection.sendall(_BODY)
        answer = _read(connection)

    assert go_ahead == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert answer.startswith(b"HTTP/1.1 200")


def test_pipelined_requests_are_answered_in_their_order(service: Running) -> None:
    bodies = [json.dumps({"rows": ROWS[:n_rows]}).encode() for n_rows in range(1, 21)]
    sent = b"".join(_request(body=body) for body in bodies) + _head("/healthz", method="GET", connection="close")

    answers = _talk(service, sent).split(b"HTTP/1.1 ")[1:]

    documents = [json.loads(answer.partition(b"\r\n\r\n")[2]) for answer in answers]
    assert [len(document.get("predictions", ())) for document in documents] == [*range(1, 21), 0]


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        pytest.param({"rows": [ROWS[0] | {"company": "x" * (10 * _MEGABYTE)}]}, 200, id="one long text"),
        pytest.param({"rows": [ROWS[0] | {"note": "x" * 900} for _ in range(10_000)]}, 422, id="too many columns"),
        pytest.param({"rows": ROWS[:1] * 80_000}, 413, id="too many rows"),
        pytest.param({"rows": ["x" * (10 * _MEGABYTE)]}, 422, id="no rows"),
        pytest.param({"rows": ROWS[:1], "x": list(range(1_500_000))}, 422, id="something else beside"),
    ],
)
def test_ten_megabytes_are_read_and_answered_or_refused(service: Running, document: object, expected: int) -> None:
    answer = httpx.post(f"{service.address}{PREDICT}", json=document, timeout=60)

    assert answer.status_code == expected, answer.text[:300]
    assert len(answer.content) < 3 * _MEGABYTE


def test_what_clients_asked_that_went_away_before_the_answer_is_accounted_for(
    service: Running, home: Path, registry: Registry
) -> None:
    stored = {each.model: each.totals.stored for each in read_status(home, registry)}

    for _ in range(10):
        with _connect(service) as connection:
            connection.sendall(_request("/v1/models/slow/predict"))
        with _connect(service) as connection:
            connection.sendall(_request("/v1/models/slow/predict")[:-5])

    def stored_now() -> int:
        return sum(each.totals.stored for each in read_status(home, registry) if each.model == "slow")

    # A whole request is answered, whether anybody reads it or not; half of one has no rows.
    wait_until(lambda: stored_now() == stored.get("slow", 0) + 10, "the accounts")
    wait_until(lambda: _counts_balance(home, registry), "the balance")


def test_a_thousand_idle_connections_keep_nobody_from_an_answer_and_leave_nothing_behind(service: Running) -> None:
    wait_until(lambda: service.metric("everfit_requests_in_flight") <= 1, "quiet")
    n_files = count_files(service.process.pid)

    idle = [_connect(service) for _ in range(1000)]
    try:
        # Who has asked once may be silent for longer than who has not asked at all.
        for connection in idle:
            connection.sendall(_head("/healthz", method="GET"))
        answers = [connection.recv(1000)[:12] for connection in idle]
        n_meanwhile = count_files(service.process.pid)
        statuses = [httpx.post(f"{service.address}{PREDICT}", content=_BODY).status_code for _ in range(20)]
    finally:
        for connection in idle:
            connection.close()

    assert (set(answers), statuses) == ({b"HTTP/1.1 200"}, [200] * 20)
    assert n_meanwhile >= n_files + 990
    wait_until(lambda: count_files(service.process.pid) <= n_files + 5, "closed files")


def test_after_thousands_of_bad_clients_there_are_no_more_files_and_hardly_more_memory(
    service: Running, home: Path, registry: Registry
) -> None:
    unfinished = [_request()[:-9], _head(content_length=len(_BODY)), _head()[:-2], _request("/v1/models/slow/predict")]
    rude = [
        *unfinished,
        b"GARBAGE\r\n\r\n",
        _request(body=b'{"rows": [{"distance": "far"}]}'),
        _request(body=b"\xff\xfe{"),
        _request(body=b"[" * 5000),
        _request("/v1/models/nobody/predict"),
        _head("/v1/models/trips/labels", content_length=4) + b"null",
        _request() * 3,
    ]

    def press() -> None:
        for number in range(260):
            with _connect(service) as connection:
                sent = rude[number % len(rude)]
                connection.sendall(sent)
                if sent not in unfinished:
                    connection.recv(100)

    def press_from_all_sides() -> None:
        threads = [threading.Thread(target=press) for _ in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    pid = service.process.pid
    press_from_all_sides()
    wait_until(lambda: service.metric("everfit_requests_in_flight") <= 1, "quiet")
    n_files, n_bytes = count_files(pid), resident_bytes(pid)
    for _ in range(3):
        press_from_all_sides()

    wait_until(lambda: count_files(pid) <= n_files + 5, "closed files")
    assert resident_bytes(pid) - n_bytes < 24 * _MEGABYTE
    wait_until(lambda: _counts_balance(home, registry), "the balance")
    # Readiness failed until the models were loaded; nothing else may.
    counted = [line for line in service.get("/metrics").text.splitlines() if line.startswith("everfit_requests_total")]
    assert [line for line in counted if 'status="5' in line and 'route="/readyz"' not in line] == []
    assert "Traceback" not in service.log.read_text()
