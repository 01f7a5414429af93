"""Claims about the courier: everything arrives at least once, in order, and no sink waits for another."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from typing import Any

import pytest

from base.receivers import Receiver
from base.settings import Settings
from base.times import utc_now
from deployments.notices.carrier import NotCarried
from deployments.notices.courier import Courier, Route, make_routes
from deployments.notices.duty import tell_once, telling
from deployments.prefect_server import use_client
from registry.notices.feed import collect
from registry.notices.happening import Happening
from registry.notices.outbox import CLAIM, list_notices
from registry.notices.sinks import PREFECT, Sink
from registry.store import Registry, open_registry
from registry.tables import NoticeRow
from tests.deployments.notices.mailbox import Mailbox, listening
from tests.processes import start_process
from tests.registry.notices.happenings import a_sink, promote


@pytest.fixture
def mailbox() -> Iterator[Mailbox]:
    with listening() as found:
        yield found


class Clock:
    """A clock that is told what time it is."""

    def __init__(self) -> None:
        self.now = utc_now()

    def __call__(self) -> datetime:
        return self.now

    def forward(self, **time: float) -> None:
        self.now += timedelta(**time)


class Carried:
    """A carrier that takes what it is told to take."""

    def __init__(self) -> None:
        self.trouble: Callable[[Sequence[Happening]], NotCarried | None] = lambda _: None
        self.keys: list[list[str]] = []

    def carry(self, happenings: Sequence[Happening], *, owner: str) -> None:
        if (problem := self.trouble(happenings)) is not None:
            raise problem
        self.keys.append([str(happening.details["version"]) for happening in happenings])


def _with(settings: Settings, **receivers: Any) -> Settings:
    found = {name: Receiver.model_validate(value) for name, value in receivers.items()}
    return settings.model_copy(update={"notify": found, "webhook_wait_seconds": 10.0})


def _promote(registry: Registry, *numbers: int) -> None:
    with registry.database.write() as session:
        for number in numbers:
            promote(session, number)


def _rows(registry: Registry) -> list[NoticeRow]:
    with registry.database.read() as session:
        return list(reversed(list_notices(session, limit=10_000)))


def _courier(registry: Registry, settings: Settings, clock: Clock) -> Courier:
    courier = Courier(registry, make_routes(settings, with_prefect=False), now=clock)
    courier.tick()
    return courier


def _tick(courier: Courier) -> None:
    courier.tick()
    assert courier.wait(20)


def test_a_promotion_is_told_to_each_receiver_once(registry: Registry, settings: Settings, mailbox: Mailbox) -> None:
    with listening() as other:
        courier = _courier(registry, _with(settings, ops=mailbox.url, team=[other.url]), Clock())
        _promote(registry, 1)
        for _ in range(3):
            _tick(courier)

        assert mailbox.titles == other.titles == ["churn: promoted: version 1 (churn@champion)"]
    assert [row.state for row in _rows(registry)] == ["sent", "sent"]


def test_a_receiver_that_is_down_is_told_later_and_the_others_at_once(
    registry: Registry, settings: Settings, mailbox: Mailbox
) -> None:
    clock = Clock()
    with listening() as other:
        other.status = 503
        courier = _courier(registry, _with(settings, up=mailbox.url, down=other.url), clock)
        _promote(registry, 1, 2)
        _tick(courier)
        assert len(mailbox.messages) == 2
        # The first was tried; the second, behind it, was not even.
        assert len(other.messages) == 1
        assert "error=503" in {row.sink: row.problem for row in _rows(registry) if row.problem}["to down"]
        other.status = 200
        _tick(courier)
        assert len(other.messages) == 1
        clock.forward(seconds=13)
        _tick(courier)

        assert other.titles[1:] == [
            "churn: promoted: version 1 (churn@champion)",
            "churn: promoted: version 2 (churn@champion)",
        ]
        assert len(mailbox.messages) == 2


def test_what_nobody_takes_is_given_up_and_the_next_is_tried(registry: Registry, settings: Settings) -> None:
    clock = Clock()
    receivers = _with(settings, ops={"url": "json://127.0.0.1:9"}).model_copy(update={"webhook_tries": 2})
    courier = _courier(registry, receivers, clock)
    _promote(registry, 1)
    for _ in range(3):
        _tick(courier)
        clock.forward(minutes=10)

    (row,) = _rows(registry)
    assert (row.state, row.tries) == ("given up", 2)
    assert "A Connection error occurred" in row.problem


def test_a_storm_is_a_digest(registry: Registry, settings: Settings, mailbox: Mailbox) -> None:
    clock = Clock()
    courier = _courier(registry, _with(settings, ops=mailbox.url), clock)
    _promote(registry, *range(1, 101))
    _tick(courier)
    _promote(registry, *range(101, 151))
    _tick(courier)
    assert mailbox.titles == ["churn: 100 happenings (100 notice)"]
    clock.forward(minutes=4)
    _tick(courier)

    assert mailbox.titles[1:] == ["churn: 50 happenings (50 notice)"]
    assert {row.state for row in _rows(registry)} == {"sent"}


def test_a_slow_receiver_delays_nobody(registry: Registry, settings: Settings, mailbox: Mailbox) -> None:
    with listening() as slow, ExitStack() as stack:
        go_on = threading.Event()
        slow.before_answer = lambda: go_on.wait(60)
        # Apprise would give up after four seconds.
        courier = _courier(registry, _with(settings, a_slow=f"{slow.url}?rto=60", b_quick=mailbox.url), Clock())
        stack.callback(courier.wait, 10)
        _promote(registry, 1)
        began = time.monotonic()
        courier.tick()
        ticked = time.monotonic() - began
        _wait_for(lambda: bool(mailbox.messages))
        courier.tick()

        # Far below what the slow one takes; machines are busy.
        assert ticked < 20
        assert [row.state for row in _rows(registry) if row.sink == "to a_slow"] == ["waiting"]
        go_on.set()


def _wait_for(seen: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not seen():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_a_process_that_is_killed_between_sending_and_noting_it_loses_nothing(
    any_settings: Settings, mailbox: Mailbox
) -> None:
    settings = _with(any_settings, ops=mailbox.url)
    registry = open_registry(settings)
    _courier(registry, settings, Clock())
    _promote(registry, 1, 2)
    collect(registry.database, [route.sink for route in make_routes(settings)], now=utc_now())

    def send() -> None:
        own = open_registry(settings)
        courier = Courier(own, make_routes(settings, with_prefect=False))
        courier.tick()
        courier.wait(30)

    pids: list[int] = []
    mailbox.before_answer = lambda: os.kill(pids.pop(), signal.SIGKILL) if pids else None
    process = start_process(send)
    assert process.pid is not None
    pids.append(process.pid)
    process.join(60)
    assert process.exitcode == -signal.SIGKILL
    assert mailbox.titles == ["churn: promoted: version 1 (churn@champion)"]

    clock = Clock()
    courier = Courier(registry, make_routes(settings, with_prefect=False), now=clock)
    _tick(courier)
    assert len(mailbox.messages) == 1
    clock.forward(seconds=CLAIM.total_seconds() + 1)
    for _ in range(2):
        _tick(courier)

    first, second = (f"churn: promoted: version {number} (churn@champion)" for number in (1, 2))
    assert mailbox.titles == [first, first, second]
    assert {row.state for row in _rows(registry) if row.sink == "to ops"} == {"sent"}
    registry.database.close()


def test_events_that_a_server_refuses_hold_up_no_others(registry: Registry) -> None:
    carried, clock = Carried(), Clock()
    courier = Courier(registry, [Route(Sink(PREFECT), carried)], now=clock)
    courier.tick()
    _promote(registry, 1, 2, 3)
    carried.trouble = lambda happenings: (
        NotCarried("status 422", is_final=True)
        if any(happening.details["version"] == 2 for happening in happenings)
        else None
    )
    _tick(courier)

    assert carried.keys == [["1"], ["3"]]
    assert [row.state for row in _rows(registry)] == ["sent", "given up", "sent"]


def test_events_wait_in_order_for_a_server_that_is_down_and_are_never_given_up(registry: Registry) -> None:
    carried, clock = Carried(), Clock()
    courier = Courier(registry, [Route(Sink(PREFECT), carried)], now=clock)
    courier.tick()
    carried.trouble = lambda _: NotCarried("down")
    for number in range(1, 41):
        _promote(registry, number)
        _tick(courier)
        clock.forward(seconds=45)
    carried.trouble = lambda _: None
    _tick(courier)

    assert [key for keys in carried.keys for key in keys] == [str(number) for number in range(1, 41)]
    assert max(row.tries for row in _rows(registry)) > 30


def test_a_fault_of_a_library_says_nothing_of_the_address_and_is_tried_again(
    registry: Registry, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken(Carried):
        def carry(self, happenings: Sequence[Happening], *, owner: str) -> None:
            raise KeyError("json://ana:hunter2@host")

    sink = a_sink()
    courier = Courier(registry, [Route(sink, Broken())])
    courier.tick()
    _promote(registry, 1)
    _tick(courier)

    (row,) = _rows(registry)
    assert (row.state, row.problem) == ("waiting", "it failed: KeyError")
    assert "hunter2" not in caplog.text


def test_a_command_that_comes_by_tells_what_happened_since(
    registry: Registry, settings: Settings, mailbox: Mailbox
) -> None:
    told = _with(settings, ops=mailbox.url)
    with use_client(settings, "http://127.0.0.1:9/api"):
        assert tell_once(registry, told)
        _promote(registry, 1)
        assert tell_once(registry, told)

    assert len(mailbox.messages) == 1
    assert {row.sink: row.state for row in _rows(registry)} == {"prefect": "waiting", "to ops": "sent"}


def test_the_duty_tells_by_itself(registry: Registry, settings: Settings, mailbox: Mailbox) -> None:
    with use_client(settings, "http://127.0.0.1:9/api"):
        with telling(registry, _with(settings, ops=mailbox.url)):
            _wait_for(lambda: _has_begun(registry))
            _promote(registry, 1)
            _wait_for(lambda: bool(mailbox.messages))

    assert [row.state for row in _rows(registry) if row.sink == "to ops"] == ["sent"]


def _has_begun(registry: Registry) -> bool:
    from sqlmodel import select

    from registry.tables import NoticeCursor

    with registry.database.read() as session:
        return len(session.exec(select(NoticeCursor)).all()) == 2
