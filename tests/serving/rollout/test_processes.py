"""Claims about rollouts with real services: replicas agree, a death changes nothing, a bad challenger goes."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest

from base.settings import Settings
from registry.ledger import list_decisions
from registry.models import find_alias
from registry.store import Registry
from registry.tables import Rollout
from serving.rollout.looking import read_evidence
from tests.serving.conftest import wait_until
from tests.serving.models import make_rows, promote, register_model
from tests.serving.processes import Service, start_service
from tests.serving.rollout.fixtures import begin

pytestmark = pytest.mark.slow

_KEYS = [f"customer {number}" for number in range(40)]


@pytest.fixture
def services() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def _ask(service: Service, keys: Sequence[str]) -> dict[str, Any]:
    """Ask one row for each key, and return the answers."""
    with httpx.Client(base_url=service.address, timeout=30) as client:
        answers = {}
        for key, row in zip(keys, make_rows(len(keys), seed=1), strict=True):
            answer = client.post("/v1/models/trips/predict", json={"rows": [row]}, headers={"Everfit-Key": key})
            assert answer.status_code == 200, answer.text
            answers[key] = answer.json() | {"row": row}
        return answers


def _versions(answers: dict[str, Any]) -> dict[str, int]:
    return {key: answer["version"] for key, answer in answers.items()}


def _answers(service: Service, versions: set[int]) -> bool:
    return set(_versions(_ask(service, _KEYS)).values()) == versions


def _send_labels(service: Service, answers: dict[str, Any]) -> None:
    observed = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    labels = [
        {
            "id": answer["predictions"][0]["id"],
            "value": "near" if answer["row"]["distance"] < 10 else "far",
            "observed_at": observed,
        }
        for answer in answers.values()
    ]
    with httpx.Client(base_url=service.address, timeout=30) as client:
        answer = client.post("/v1/models/trips/labels", json={"labels": labels})
        assert answer.status_code == 200, answer.text


def _read(registry: Registry, rollout: Rollout) -> tuple[Rollout, int]:
    """Return a rollout as it is now, and how many requests its challenger has answered."""
    with registry.database.read() as session:
        found = session.get_one(Rollout, rollout.id)
        _, evidence = read_evidence(session, found, now=datetime.now(UTC))
    return found, evidence.arms[2].counts.requests


def test_a_bad_challenger_is_rolled_back_by_itself_across_replicas_and_a_death(
    registry: Registry, settings: Settings, services: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERFIT_ROLLOUT_SECONDS", "0.5")
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    one, two = (services.enter_context(start_service(settings.home)) for _ in range(2))
    assert set(_versions(_ask(one, _KEYS)).values()) == {1}

    rollout = begin(registry, 2, steps=[50, 100], bake="1 hour")
    for service in (one, two):
        wait_until(partial(_answers, service, {1, 2}), "the canary")
    answers = _ask(one, _KEYS)
    arms = _versions(answers)
    assert _versions(_ask(two, _KEYS)) == arms
    assert set(arms.values()) == {1, 2}

    wait_until(lambda: _read(registry, rollout)[1] >= 2 * list(arms.values()).count(2), "the count")
    one.kill()
    again = services.enter_context(start_service(settings.home))
    assert _versions(_ask(again, _KEYS)) == arms
    assert _read(registry, rollout)[0].status == "running"

    _send_labels(two, answers)
    wait_until(lambda: _read(registry, rollout)[0].status != "running", "the end")
    for service in (two, again):
        wait_until(partial(_answers, service, {1}), "the champion alone")

    found, touched = _read(registry, rollout)
    with registry.database.read() as session:
        last = list_decisions(session, kind="rollout")[0]
        alias = find_alias(session, "prod", "trips")
    assert found.status == "rolled_back"
    assert alias is not None
    assert alias.number == 1
    assert last.reason.startswith("version 2 is worse: its scores on 40 labelled rows")
    assert last.evidence["evidence"]["arms"]["2"]["requests"] >= 3 * list(arms.values()).count(2)
    assert touched >= last.evidence["evidence"]["arms"]["2"]["requests"]


def test_a_good_challenger_becomes_champion_without_a_failed_request(
    registry: Registry, settings: Settings, services: ExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERFIT_ROLLOUT_SECONDS", "0.3")
    promote(registry, register_model(registry))
    register_model(registry)
    service = services.enter_context(start_service(settings.home))
    rollout = begin(registry, 2, steps=[20, 60, 100], bake="1 second", min_rows=30)

    shares = []
    give_up = time.monotonic() + 60
    while _read(registry, rollout)[0].status == "running" and time.monotonic() < give_up:
        answers = _ask(service, _KEYS)  # each answer is checked to be one
        shares.append(list(_versions(answers).values()).count(2))
        _send_labels(service, answers)

    assert _read(registry, rollout)[0].status == "promoted"
    wait_until(partial(_answers, service, {2}), "the new champion")
    assert shares == sorted(shares)
