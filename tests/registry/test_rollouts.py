"""Claims about rollouts in the registry: one at a time, nobody overwrites another, and the ledger has every change."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy.exc import IntegrityError

from base.errors import ArgumentError
from base.rollout_spec import RolloutKind, RolloutSpec
from base.times import utc_now
from registry.ledger import first_broken_link, list_decisions
from registry.models import find_alias, promote_version, resolve_version, roll_back
from registry.rollouts import (
    PROMOTED,
    ROLLED_BACK,
    STOPPED,
    RolloutMoved,
    close_rollout,
    find_running,
    list_rollouts,
    move_rollout,
    start_rollout,
    take_looker,
)
from registry.store import Registry
from registry.tables import Rollout
from registry.version_protection import find_protected
from registry.versions import VersionNotFound
from tests.registry.histories import History


@pytest.fixture
def registry(any_registry: Registry) -> Registry:
    """Three versions of ``churn``, the first one champion."""
    history = History(any_registry)
    for _ in range(3):
        history.train(history.grow())
    _promote(any_registry, 1)
    return any_registry


def _promote(registry: Registry, number: int) -> None:
    with registry.database.write() as session:
        alias = find_alias(session, "prod", "churn")
        version = resolve_version(session, "prod", f"churn@{number}")
        revision = 0 if alias is None else alias.revision
        promote_version(session, "prod", version, expected_revision=revision, actor="anna", reason="a test wants it")


def _start(
    registry: Registry, *challengers: int, kind: RolloutKind = "canary", environment: str = "prod", **spec: Any
) -> Rollout:
    with registry.database.write() as session:
        return start_rollout(
            session,
            environment,
            "churn",
            kind=kind,
            challengers=challengers or (2,),
            spec=RolloutSpec(**spec),
            actor="anna",
            reason="a test wants it",
        )


def _champion(registry: Registry) -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, "prod", "churn")
    return None if alias is None else alias.number


def test_a_rollout_begins_with_its_first_step_and_a_line_in_the_ledger(registry: Registry) -> None:
    rollout = _start(registry)

    with registry.database.read() as session:
        found = find_running(session, "prod", "churn")
        (decision,) = list_decisions(session, kind="rollout")
    assert found is not None
    assert (found.id, found.champion, found.challengers) == (rollout.id, 1, [2])
    assert found.shares == pytest.approx({"1": 0.99, "2": 0.01})
    assert (decision.outcome, decision.actor) == ("canary started", "anna")
    assert decision.evidence["spec"]["steps"] == [1.0, 5.0, 25.0, 100.0]


def test_a_second_rollout_of_the_model_is_refused(registry: Registry) -> None:
    _start(registry)

    with pytest.raises(ArgumentError, match="a canary of 'churn' runs already, started by anna"):
        _start(registry, 3)


def test_the_database_itself_refuses_a_second_one(registry: Registry) -> None:
    first = _start(registry)
    copy = first.model_dump() | {"id": "another"}

    with pytest.raises(IntegrityError), registry.database.write() as session:
        session.add(Rollout(**copy))


def test_one_that_is_over_makes_room_for_the_next(registry: Registry) -> None:
    first = _start(registry)
    with registry.database.write() as session:
        close_rollout(session, first, status=STOPPED, actor="anna", reason="enough", now=utc_now())

    second = _start(registry, 3)

    with registry.database.read() as session:
        assert [each.id for each in list_rollouts(session, "prod", model="churn")] == [second.id, first.id]


@pytest.mark.parametrize(
    ("challengers", "kind", "told"),
    [
        ((1,), "canary", "version 1 is the champion of 'churn' already"),
        ((2, 3), "canary", "a canary lets in one version, got 2"),
        ((2, 2), "ab", "expected challengers, each once"),
        ((9,), "canary", "has no version 9; its versions are"),
    ],
)
def test_challengers_that_do_not_fit_are_named(
    registry: Registry, challengers: tuple[int, ...], kind: RolloutKind, told: str
) -> None:
    with pytest.raises((ArgumentError, VersionNotFound), match=told):
        _start(registry, *challengers, kind=kind)


def test_of_two_who_move_it_at_once_only_one_does(registry: Registry) -> None:
    seen = _start(registry)
    now = utc_now()
    with registry.database.write() as session:
        moved = move_rollout(session, seen, step=1, shares={"1": 0.95, "2": 0.05}, actor="a", reason="first", now=now)

    with registry.database.read() as session:
        stale = Rollout(**(session.get_one(Rollout, seen.id).model_dump() | {"revision": 1}))
    with pytest.raises(RolloutMoved, match="expected revision 1, found 2"), registry.database.write() as session:
        close_rollout(session, stale, status=ROLLED_BACK, actor="b", reason="second", now=now)

    assert (moved.revision, moved.step) == (2, 1)


def test_a_promotion_moves_the_alias_in_the_same_transaction(registry: Registry) -> None:
    rollout = _start(registry)

    with registry.database.write() as session:
        closed = close_rollout(
            session, rollout, status=PROMOTED, actor="anna", reason="all steps", promote=2, now=utc_now()
        )

    with registry.database.read() as session:
        kinds = [decision.kind for decision in list_decisions(session)][:2]
        assert first_broken_link(session) is None
    assert (closed.status, _champion(registry), kinds) == (PROMOTED, 2, ["promotion", "rollout"])


def test_a_promotion_that_fails_leaves_the_rollout_running(registry: Registry) -> None:
    rollout = _start(registry)

    with pytest.raises(VersionNotFound), registry.database.write() as session:
        close_rollout(session, rollout, status=PROMOTED, actor="anna", reason="oops", promote=9, now=utc_now())

    with registry.database.read() as session:
        assert find_running(session, "prod", "churn") is not None


def test_an_alias_that_is_moved_by_somebody_else_stops_the_rollout(registry: Registry) -> None:
    _start(registry)

    _promote(registry, 3)

    with registry.database.read() as session:
        (found,) = list_rollouts(session, "prod", model="churn")
        last = list_decisions(session, kind="rollout")[0]
    assert (found.status, found.reason) == (STOPPED, "churn@champion was moved to version 3 by anna")
    assert last.outcome == "canary stopped"


def test_a_rollback_stops_it_too(registry: Registry) -> None:
    _promote(registry, 3)
    _start(registry)

    with registry.database.write() as session:
        roll_back(session, "prod", "churn", actor="bob", reason="a test wants it")

    with registry.database.read() as session:
        assert find_running(session, "prod", "churn") is None


def test_another_environment_is_another_matter(registry: Registry) -> None:
    _start(registry)
    with registry.database.write() as session:
        version = resolve_version(session, "prod", "churn@3")
        promote_version(session, "staging", version, expected_revision=0, actor="anna", reason="a test wants it")

    _start(registry, 2, environment="staging")

    with registry.database.read() as session:
        assert find_running(session, "prod", "churn") is not None
        assert find_running(session, "staging", "churn") is not None


def test_versions_of_a_running_rollout_are_kept(registry: Registry) -> None:
    rollout = _start(registry)
    with registry.database.read() as session:
        during = find_protected(session)
    with registry.database.write() as session:
        close_rollout(session, rollout, status=STOPPED, actor="anna", reason="enough", now=utc_now())

    with registry.database.read() as session:
        after = find_protected(session)
    assert during["churn", 2] == "in a canary in prod"
    assert ("churn", 2) not in after


def test_one_replica_looks_until_its_time_is_over(registry: Registry) -> None:
    rollout = _start(registry)
    now = utc_now()
    tries = [("a", 0), ("b", 1), ("a", 2), ("b", 40)]

    taken = []
    for replica, seconds in tries:
        moment = now + timedelta(seconds=seconds)
        with registry.database.write() as session:
            taken.append(take_looker(session, rollout, replica, until=moment + timedelta(seconds=30), now=moment))

    assert taken == [True, False, True, True]
