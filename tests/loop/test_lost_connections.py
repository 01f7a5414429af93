"""Postgres ends connections at each place between a wish and its flow run: nothing is lost, nothing comes twice."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlmodel import select

from base.database import DatabaseAway
from base.settings import Settings
from base.times import utc_now
from deployments.launching import dispatcher as dispatching
from deployments.launching.dispatcher import Dispatcher
from monitoring import desk
from monitoring.desk import Taken, TriggerRequest, decide_waiting, take
from registry.launches import list_launches
from registry.ledger_chain import check_chain
from registry.store import Registry, open_registry
from registry.tables import Decision, PipelineRow, PipelineVersion, TriggerRow
from tests.deployments.launching.prefect_double import FlowRuns

pytestmark = [pytest.mark.postgres, pytest.mark.slow]

_N_WISHES = 40
_N_LOST = 20
_MOST_WISHES = 4_000
_N_CALLERS = 4


class Away:
    """Ends every connection to a database but its own, as a server does that is taken down for a moment."""

    def __init__(self, url: str) -> None:
        self._url = url

    def end_all(self) -> int:
        """End them, and say how many they were."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        with psycopg.connect(self._url, autocommit=True) as connection:
            row = connection.execute(query).fetchone()
            assert row is not None
            return int(row[0])

    @contextmanager
    def again_and_again(self) -> Iterator[list[int]]:
        """End them again and again for as long as the context lasts."""
        is_over, ended = threading.Event(), [0]

        def work() -> None:
            while not is_over.wait(0.2):
                ended[0] += self.end_all()

        thread = threading.Thread(target=work)
        thread.start()
        try:
            yield ended
        finally:
            is_over.set()
            thread.join()


@pytest.fixture
def away(postgres_database: str) -> Away:
    return Away(postgres_database)


@pytest.fixture
def shop(postgres_database: str, tmp_path: Path) -> Iterator[Registry]:
    """A registry on Postgres that knows one pipeline."""
    registry = open_registry(Settings(home=tmp_path / "home", database_url=SecretStr(postgres_database)))
    with registry.database.write() as session:
        session.add(PipelineRow(name="trips", definition="trips.yaml"))
        session.flush()
        session.add(PipelineVersion(digest="trips-1", pipeline="trips", package={"spec": {}}))
    yield registry
    registry.database.close()


def _ask(registry: Registry, key: str) -> Taken:
    request = TriggerRequest(pipeline="trips", kind="webhook", key=key, reason="prices", actor="shop")
    return take(registry, request, now=utc_now())


def _once_before(monkeypatch: pytest.MonkeyPatch, owner: Any, function: str, first: Callable[[], object]) -> None:
    """Have something done before a function is called for the first time."""
    original, calls = vars(owner)[function], iter([first])

    def called(*arguments: Any, **options: Any) -> Any:
        next(calls, lambda: None)()
        return original(*arguments, **options)

    monkeypatch.setattr(owner, function, called)


@pytest.mark.parametrize("place", ["find_situation", "rule", "link_decision", "insert_row", "commit"])
def test_a_connection_that_is_lost_at_the_desk_costs_a_caller_nothing(
    place: str, shop: Registry, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner = Connection if place == "commit" else desk
    _once_before(monkeypatch, owner, place, away.end_all)

    taken = _ask(shop, "k1")

    assert (taken.outcome, taken.is_new) == ("start", True)
    _assert_once(shop, {"k1": taken})


def test_a_commit_whose_answer_is_lost_is_found_done(shop: Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    commit, calls = Connection.commit, iter([True])

    def lose_answer(connection: Connection) -> None:
        commit(connection)
        if next(calls, False):
            raise DatabaseAway(shop.database.url, "the answer was lost")

    monkeypatch.setattr(Connection, "commit", lose_answer)

    taken = _ask(shop, "k1")

    assert (taken.outcome, taken.is_new) == ("start", False)
    _assert_once(shop, {"k1": taken})


@pytest.mark.parametrize("place", ["hold_next", "mark_sent"])
def test_a_connection_that_is_lost_while_a_launch_is_sent_starts_one_flow_run(
    place: str, shop: Registry, away: Away, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, flow_runs = _ask(shop, "k1"), FlowRuns()
    dispatcher = Dispatcher(shop, flow_runs, decide=decide_waiting)
    _once_before(monkeypatch, dispatching, place, away.end_all)

    with pytest.raises(DatabaseAway, match="is there wholly or not at all"):
        dispatcher.tick()
    dispatcher.tick()

    assert list(flow_runs.by_key.values()) == ["flow-run-1"]
    with shop.database.read() as session:
        (launch,) = list_launches(session)
    assert (launch.id, launch.state, launch.flow_run) == (taken.launch_id, "sent", "flow-run-1")


def test_connections_that_are_lost_all_the_time_lose_no_wish_and_start_one_flow_run(shop: Registry, away: Away) -> None:
    flow_runs, is_over = FlowRuns(), threading.Event()
    dispatcher = Dispatcher(shop, flow_runs, decide=decide_waiting, sweep_seconds=0.1)
    troubles: list[Exception] = []

    def dispatch() -> None:
        while not is_over.wait(0.01):
            try:
                dispatcher.tick()
            except Exception as error:
                troubles.append(error)

    taken: dict[str, Taken] = {}
    thread = threading.Thread(target=dispatch, daemon=True)
    with away.again_and_again() as ended, ThreadPoolExecutor(_N_CALLERS) as callers:
        thread.start()
        while ended[0] < _N_LOST or len(taken) < _N_WISHES:
            assert len(taken) < _MOST_WISHES, f"only {ended[0]} connections were lost meanwhile"
            keys = [f"k{len(taken) + number}" for number in range(_N_CALLERS)]
            taken.update(zip(keys, callers.map(lambda key: _ask(shop, key), keys), strict=True))
    is_over.set()
    thread.join()
    dispatcher.tick()

    assert all(isinstance(trouble, DatabaseAway) for trouble in troubles), troubles
    assert len(flow_runs.by_key) == 1
    _assert_once(shop, taken)


def _assert_once(registry: Registry, taken: dict[str, Taken]) -> None:
    """Each wish is filed once and ruled on once, there is one launch, and the ledger is whole."""
    with registry.database.read() as session:
        rows = list(session.exec(select(TriggerRow)))
        decisions = list(session.exec(select(Decision)))
        assert [launch.state in ("waiting", "sent") for launch in list_launches(session)] == [True]
        assert check_chain(session).broken is None
    assert {row.key: (row.id, row.state) for row in rows} == {
        key: (one.trigger_id, {"start": "started", "merge": "merged"}[one.outcome]) for key, one in taken.items()
    }
    assert sorted(decision.sequence for decision in decisions) == sorted(row.decision or 0 for row in rows)
