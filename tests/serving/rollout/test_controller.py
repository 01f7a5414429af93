"""Claims about the controller: labels move a rollout, one replica at a time looks, and a restart changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlmodel import select

from base.settings import Settings
from base.times import utc_now
from registry.ledger import list_decisions
from registry.models import find_alias
from registry.store import Registry
from registry.tables import ModelVersion, Rollout, RolloutLook, RolloutReplica
from serving.labels.label import Label
from serving.loading.follower import Follower
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.rollout.controller import Controller
from serving.rollout.counts import Counters
from serving.rollout.looking import look_at_rollout, read_looks
from serving.scoring.scorer import Scorer
from tests.serving.labels.logs import log_labels
from tests.serving.models import Kind, load_version, make_rows, promote, register_model
from tests.serving.rollout.fixtures import begin, make_follower


@pytest.fixture
def registry(any_registry: Registry) -> Registry:
    return any_registry


@pytest.fixture
def settings(any_settings: Settings) -> Settings:
    return any_settings


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(1) as pool:
        yield pool


class _Traffic:
    """Rows that versions answered, with the labels that came true."""

    def __init__(self, registry: Registry, settings: Settings) -> None:
        self._registry = registry
        self._log = PredictionLog.from_settings(settings)
        self._n = 0

    def answer(
        self, version: ModelVersion, n_rows: int, *, kind: Kind = "two classes", with_labels: bool = True
    ) -> None:
        scorer = load_version(self._registry, version)
        self._n += 1
        rows = make_rows(n_rows, seed=self._n)
        ids = [f"{self._n}-{place}" for place in range(n_rows)]
        answers = scorer.score_rows(rows)
        raw = answers[:, 1] if kind == "two classes" else answers
        batch = LoggedBatch(ids, rows, raw.tolist(), utc_now())
        self._log.append(scorer.manifest, version.number, [batch])
        if with_labels:
            log_labels(
                self._log,
                [
                    Label(name, self._truth(row, kind), utc_now() - timedelta(seconds=1))
                    for name, row in zip(ids, rows, strict=True)
                ],
            )

    def _truth(self, row: dict[str, Any], kind: Kind) -> Any:
        near = row["distance"] < 10
        return row["distance"] if kind == "regression" else "near" if near else "far"

    def close(self) -> None:
        self._log.close()


@pytest.fixture
def traffic(registry: Registry, settings: Settings) -> Iterator[_Traffic]:
    found = _Traffic(registry, settings)
    yield found
    found.close()


class _Replica:
    """A service's part in rollouts, without the service."""

    def __init__(self, registry: Registry, settings: Settings, pool: ThreadPoolExecutor) -> None:
        self.now = utc_now()
        self.follower: Follower = make_follower(registry, pool)
        self.counters = Counters()
        self.controller = Controller(
            registry,
            settings.home.absolute(),
            self.follower,
            self.counters,
            seconds=1,
            now=lambda: max(self.now, utc_now()),
        )
        self.follower.poll()

    def tick(self, *, after: timedelta = timedelta(0)) -> None:
        self.now = max(self.now, utc_now()) + after
        self.follower.poll()
        self.controller._next_look.clear()
        self.controller.tick()


def _find(registry: Registry, rollout: Rollout) -> Rollout:
    with registry.database.read() as session:
        return session.get_one(Rollout, rollout.id)


def _two_models(registry: Registry, *, inverted: bool = True, kind: Kind = "two classes") -> list[ModelVersion]:
    versions = [register_model(registry, kind=kind), register_model(registry, kind=kind, inverted=inverted)]
    promote(registry, versions[0])
    return versions


def test_a_worse_challenger_is_rolled_back_and_the_ledger_tells_why_and_what_it_touched(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, second = _two_models(registry)
    rollout = begin(registry, 2)
    replica = _Replica(registry, settings, pool)
    traffic.answer(first, 30)
    traffic.answer(second, 5)
    replica.counters.add(rollout.id, 2, n_rows=5, micros=900, failed=False)

    replica.tick()

    found = _find(registry, rollout)
    with registry.database.read() as session:
        last = list_decisions(session, kind="rollout")[0]
        alias = find_alias(session, "prod", "trips")
    assert found.status == "rolled_back"
    assert "version 2 is worse: its scores on 35 labelled rows" in found.reason
    assert found.reason.endswith("it has answered 1 requests with 5 rows by then")
    assert last.evidence["evidence"]["arms"]["2"]["rows"] == 5
    assert last.outcome == "canary rolled_back"
    assert alias is not None
    assert alias.number == 1
    replica.follower.poll()
    assert replica.follower.find_rollout("trips") is None


def test_a_good_challenger_goes_through_all_steps_and_becomes_champion(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, second = _two_models(registry, inverted=False)
    rollout = begin(registry, 2, steps=[10, 50, 100], bake="10 minutes", min_rows=20)
    replica = _Replica(registry, settings, pool)
    shares = []

    for _ in range(4):
        traffic.answer(first, 15)
        traffic.answer(second, 10)
        replica.counters.add(rollout.id, 2, n_rows=10, micros=900, failed=False)
        replica.tick()
        replica.tick(after=timedelta(minutes=11))
        shares.append(_find(registry, rollout).shares["2"])

    with registry.database.read() as session:
        alias = find_alias(session, "prod", "trips")
        decisions = [decision.outcome for decision in reversed(list_decisions(session, kind="rollout"))]
    assert shares[0] == 0.5
    assert (_find(registry, rollout).status, alias.number if alias else None) == ("promoted", 2)
    assert decisions == ["canary started", "canary 1: 50.0%, 2: 50.0%", "canary promoted"]
    replica.follower.poll()
    assert replica.follower.served["trips"].number == 2


def test_a_row_is_judged_once_whoever_looks_and_however_often(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, _ = _two_models(registry, inverted=False)
    rollout = begin(registry, 2)
    traffic.answer(first, 20)

    for _ in range(3):
        # Each is a restart: nothing is remembered but what the registry has.
        _Replica(registry, settings, pool).tick(after=timedelta(minutes=1))
    traffic.answer(first, 7)
    _Replica(registry, settings, pool).tick(after=timedelta(minutes=2))

    with registry.database.read() as session:
        judged = [name for look in read_looks(session, rollout.id) for name in look.labelled.get("ids", ())]
    assert len(judged) == len(set(judged)) == 27


def test_while_one_replica_looks_the_other_only_reports(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    _two_models(registry)
    rollout = begin(registry, 2)
    replicas = [_Replica(registry, settings, pool) for _ in range(2)]

    for number, replica in enumerate(replicas, start=1):
        replica.counters.add(rollout.id, 2, n_rows=number, micros=900, failed=False)
        replica.tick()
    replicas[0].tick()

    with registry.database.read() as session:
        looks = read_looks(session, rollout.id)
        heard = {each.replica: each for each in session.exec(select(RolloutReplica)).all()}
    assert _find(registry, rollout).looker == replicas[0].controller.replica
    assert len(heard) == 2
    assert [look.requests["2"]["rows"] for look in looks] == [1, 2]


def test_two_who_look_at_once_write_one_look(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, second = _two_models(registry, inverted=False)
    rollout = begin(registry, 2)
    traffic.answer(first, 5)
    look = RolloutLook(rollout_id=rollout.id, number=1, looked_at=utc_now())

    class _Interrupted(dict[int, Scorer]):
        def get(self, number: int, default: Any = None) -> Any:
            # Asked for after the looks were read: the other one writes in this very moment.
            if number == rollout.champion:
                with registry.database.write() as session:
                    session.merge(look)
            return super().get(number, default)

    scorers = _Interrupted({1: load_version(registry, first), 2: load_version(registry, second)})

    with pytest.raises(IntegrityError):
        look_at_rollout(registry, settings.home.absolute(), rollout.id, scorers, now=utc_now())

    with registry.database.read() as session:
        assert len(read_looks(session, rollout.id)) == 1


def test_without_labels_agreement_is_compared_row_by_row_once(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, _ = _two_models(registry)
    rollout = begin(registry, 2, evidence="agreement", min_rows=10)
    replica = _Replica(registry, settings, pool)
    traffic.answer(first, 40, with_labels=False)

    replica.tick()

    found = _find(registry, rollout)
    assert found.status == "rolled_back"
    assert "answers otherwise than the champion on more than 10% of 40 compared rows" in found.reason


def test_a_challenger_that_cannot_be_loaded_is_told_and_the_champion_serves_on(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    promote(registry, register_model(registry))
    register_model(registry, wrong_examples=True)
    rollout = begin(registry, 2, steps=[50, 100])
    replica = _Replica(registry, settings, pool)

    replica.tick()
    replica.tick()

    with registry.database.read() as session:
        (heard,) = session.exec(select(RolloutReplica)).all()
    running = replica.follower.find_rollout("trips")
    assert running is not None
    assert running.choose(0.0) is None
    assert "answers" in heard.refused["2"]
    assert _find(registry, rollout).status == "running"
    assert replica.follower.served["trips"].number == 1


def test_an_ab_test_of_values_ends_with_a_verdict_in_the_ledger(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, _ = _two_models(registry, kind="regression")
    rollout = begin(registry, 2, kind="ab", until_rows=100)
    replica = _Replica(registry, settings, pool)
    traffic.answer(first, 120, kind="regression")

    replica.tick()
    replica.tick()

    found = _find(registry, rollout)
    with registry.database.read() as session:
        verdict = list_decisions(session, kind="rollout")[0].evidence["verdict"]
    assert found.status == "finished"
    assert (verdict["winner"], verdict["challengers"]["2"]["outcome"]) == (1, "worse")


def test_a_bandit_gives_the_better_version_more(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, second = _two_models(registry)
    rollout = begin(registry, 2, kind="bandit", min_rows=40)
    replica = _Replica(registry, settings, pool)
    traffic.answer(first, 40)
    traffic.answer(second, 40)

    replica.tick()

    assert _find(registry, rollout).shares == pytest.approx({"1": 0.95, "2": 0.05})
    replica.follower.poll()
    running = replica.follower.find_rollout("trips")
    assert running is not None
    ((upper, number),) = running.bounds
    assert (round(upper, 6), number) == (0.05, 2)


def test_a_registry_that_is_away_leaves_everything_as_it_is(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    _two_models(registry)
    begin(registry, 2, steps=[50, 100])
    replica = _Replica(registry, settings, pool)
    before = replica.follower.find_rollout("trips")
    with registry.database.write() as session:
        session.connection().execute(text("ALTER TABLE rollout RENAME TO away"))

    replica.follower.poll()

    assert replica.follower.trouble is not None
    assert replica.follower.find_rollout("trips") is before is not None


def test_what_was_answered_after_the_last_look_is_counted_when_it_is_over(
    registry: Registry, settings: Settings, pool: ThreadPoolExecutor, traffic: _Traffic
) -> None:
    first, second = _two_models(registry)
    rollout = begin(registry, 2)
    replica = _Replica(registry, settings, pool)
    replica.tick()
    replica.counters.add(rollout.id, 2, n_rows=9, micros=900, failed=False)
    promote(registry, second)

    replica.tick()
    replica.tick()

    with registry.database.read() as session:
        (heard,) = session.exec(select(RolloutReplica)).all()
    assert heard.counts["2"]["rows"] == 9
    assert first.number == 1
