"""Claims about following the champion: the newest that can serve serves, and nothing makes a service forget it."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import text

from base.rollout_spec import RolloutSpec
from base.times import utc_now
from registry.manifest import ModelManifest
from registry.models import roll_back
from registry.rollouts import close_rollout, find_running, start_rollout
from registry.store import Registry
from registry.tables import ModelVersion
from serving.loading.follower import Follower
from serving.scoring.batcher import Batcher
from tests.serving.models import promote, register_model

Follow = Callable[..., Follower]


@pytest.fixture
def registry(any_registry: Registry) -> Registry:
    return any_registry


@pytest.fixture
def retired() -> list[tuple[str, int]]:
    return []


@pytest.fixture
def follow(registry: Registry, retired: list[tuple[str, int]]) -> Iterator[Follow]:
    pool = ThreadPoolExecutor(1)

    def make(models: list[str] | None = None) -> Follower:
        return Follower(
            registry,
            models=models,
            seconds=0.05,
            trusted=(),
            make_batcher=lambda scorer, _number: Batcher(scorer, lambda _batches, done: done(None), pool),
            on_retired=lambda model, number: retired.append((model, number)),
        )

    yield make
    pool.shutdown()


def _numbers(follower: Follower) -> dict[str, int]:
    return {name: served.version.number for name, served in follower.served.items()}


def _execute(registry: Registry, statement: str) -> None:
    with registry.database.write() as session:
        session.connection().execute(text(statement))


def test_a_promotion_and_a_rollback_are_followed(
    registry: Registry, follow: Follow, retired: list[tuple[str, int]]
) -> None:
    versions = [register_model(registry), register_model(registry, inverted=True)]
    follower = follow()
    seen = []

    for version in versions:
        promote(registry, version)
        follower.poll()
        seen.append(_numbers(follower))
    with registry.database.write() as session:
        roll_back(session, "prod", "trips", actor="test", reason="a test wants it")
    follower.poll()

    assert [*seen, _numbers(follower)] == [{"trips": 1}, {"trips": 2}, {"trips": 1}]
    assert retired == [("trips", 1), ("trips", 2)]


def test_a_model_that_gets_its_first_champion_later_is_picked_up(registry: Registry, follow: Follow) -> None:
    follower = follow()
    follower.poll()
    before = _numbers(follower)

    promote(registry, register_model(registry))
    follower.poll()

    assert (before, _numbers(follower)) == ({}, {"trips": 1})


def test_only_the_models_that_were_named_are_followed(registry: Registry, follow: Follow) -> None:
    for name in ("trips", "fares"):
        promote(registry, register_model(registry, name=name))
    follower = follow(["fares"])

    follower.poll()

    assert _numbers(follower) == {"fares": 1}


def test_champions_of_another_environment_are_not_followed(registry: Registry, follow: Follow) -> None:
    promote(Registry(registry.database, registry.artifacts, "staging"), register_model(registry))
    follower = follow()

    follower.poll()

    assert _numbers(follower) == {}


def _delete_model_file(registry: Registry, version: ModelVersion) -> None:
    Path(registry.artifacts.url, ModelManifest.model_validate(version.manifest).model_file.key).unlink()


def _corrupt_manifest(registry: Registry, version: ModelVersion) -> None:
    _execute(registry, f"UPDATE model_version SET manifest = '{{}}' WHERE id = {version.id}")


@pytest.mark.parametrize(
    ("break_it", "told"),
    [(_delete_model_file, "is not in the store"), (_corrupt_manifest, "ValidationError"), (None, "answers")],
)
def test_a_version_that_cannot_serve_is_refused_once_and_the_old_one_serves_on(
    registry: Registry,
    follow: Follow,
    caplog: pytest.LogCaptureFixture,
    break_it: Callable[[Registry, ModelVersion], None] | None,
    told: str,
) -> None:
    follower = follow()
    promote(registry, register_model(registry))
    follower.poll()
    second = register_model(registry, inverted=True, wrong_examples=break_it is None)
    promote(registry, second)
    if break_it is not None:
        break_it(registry, second)

    with caplog.at_level(logging.ERROR):
        for _ in range(5):
            follower.poll()

    assert _numbers(follower) == {"trips": 1}
    assert len(caplog.records) == 1
    assert "version 2 is refused, version 1 serves on" in caplog.text
    assert told in follower.refused["trips"].reason


def test_what_was_refused_is_forgotten_when_the_alias_goes_back(registry: Registry, follow: Follow) -> None:
    follower = follow()
    promote(registry, register_model(registry))
    follower.poll()
    promote(registry, register_model(registry, wrong_examples=True))
    follower.poll()
    with registry.database.write() as session:
        roll_back(session, "prod", "trips", actor="test", reason="a test wants it")

    follower.poll()

    assert (_numbers(follower), follower.refused) == ({"trips": 1}, {})


def test_a_registry_that_is_away_is_told_once_and_found_again(
    registry: Registry, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    follower = follow()
    promote(registry, register_model(registry))
    follower.poll()
    promote(registry, register_model(registry, inverted=True))

    _execute(registry, "ALTER TABLE alias RENAME TO away")
    for _ in range(3):
        follower.poll()
    away = (_numbers(follower), follower.trouble)
    _execute(registry, "ALTER TABLE away RENAME TO alias")
    follower.poll()

    assert away in [({"trips": 1}, "OperationalError"), ({"trips": 1}, "ProgrammingError")]
    assert (_numbers(follower), follower.trouble) == ({"trips": 2}, None)
    assert caplog.text.count("cannot be read") == 1


def test_a_model_whose_answers_depend_on_other_rows_is_not_scored_with_strangers(
    registry: Registry, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    promote(registry, register_model(registry, function="features:compare"))
    follower = follow()

    follower.poll()

    assert not follower.served["trips"].scorer.is_row_wise
    assert "scored one by one" in caplog.text


def _canary(registry: Registry, number: int = 2) -> None:
    with registry.database.write() as session:
        start_rollout(
            session,
            "prod",
            "trips",
            kind="canary",
            challengers=[number],
            spec=RolloutSpec(),
            actor="test",
            reason="a test wants it",
        )


def test_a_challenger_is_loaded_beside_the_champion_and_retired_when_its_rollout_is_over(
    registry: Registry, follow: Follow, retired: list[tuple[str, int]]
) -> None:
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    _canary(registry)
    follower = follow()
    follower.poll()
    running = follower.find_rollout("trips")

    with registry.database.write() as session:
        rollout = find_running(session, "prod", "trips")
        assert rollout is not None
        close_rollout(session, rollout, status="stopped", actor="test", reason="enough", now=utc_now())
    follower.poll()

    assert running is not None
    assert ([*running.challengers], _numbers(follower)) == ([2], {"trips": 1})
    assert (follower.rollouts, retired) == ({}, [("trips", 2)])


def test_a_challenger_that_is_promoted_is_not_loaded_a_second_time(
    registry: Registry, follow: Follow, retired: list[tuple[str, int]]
) -> None:
    promote(registry, register_model(registry))
    second = register_model(registry, inverted=True)
    _canary(registry)
    follower = follow()
    follower.poll()
    loaded = follower.rollouts["trips"].challengers[2]

    promote(registry, second)
    follower.poll()

    assert follower.served["trips"] is loaded
    assert (follower.find_rollout("trips"), retired) == (None, [("trips", 1)])


def test_a_challenger_that_cannot_be_loaded_is_refused_once_and_the_champion_serves(
    registry: Registry, follow: Follow, caplog: pytest.LogCaptureFixture
) -> None:
    promote(registry, register_model(registry))
    register_model(registry, wrong_examples=True)
    _canary(registry)
    follower = follow()

    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            follower.poll()

    running = follower.find_rollout("trips")
    assert running is not None
    assert (dict(running.challengers), [*running.refused]) == ({}, [2])
    assert len(caplog.records) == 1
    assert "version 2 is refused, the champion answers its share" in caplog.text
    assert (_numbers(follower), follower.refused) == ({"trips": 1}, {})
