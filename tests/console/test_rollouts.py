"""Claims about `everfit rollout`: what is started, seen, ended and remembered from the command line."""

from __future__ import annotations

import pytest

from registry.store import Registry
from tests.console.conftest import Everfit
from tests.serving.models import promote, register_model


@pytest.fixture(autouse=True)
def models(registry: Registry) -> None:
    """Two versions of ``trips``, the first one champion."""
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)


def test_a_rollout_is_started_shown_and_stopped(everfit: Everfit) -> None:
    started = everfit(
        "rollout", "start", "trips", "2", "--steps", "5,100", "--bake", "10m", "--reason", "new", "--json"
    )
    shown = everfit("rollout", "status", "--json")
    stopped = everfit("rollout", "stop", "trips", "--reason", "sensors were wrong")
    history = everfit("rollout", "history", "trips", "--json")

    assert (started.code, started.document["spec"]["bake"]) == (0, "10 minutes")
    (status,) = shown.document
    assert status["shares"] == {"1": 0.95, "2": 0.05}
    assert status["next"] == "the step lasts 10 minutes at least"
    assert "version 1 stays champion" in stopped.out
    (row,) = history.document
    assert (row["status"], row["reason"]) == ("stopped", "sensors were wrong")


def test_a_person_may_promote_before_the_last_step(everfit: Everfit) -> None:
    everfit("rollout", "start", "trips", "2", "--reason", "new")

    ended = everfit("rollout", "promote", "trips", "--reason", "seen enough")

    assert "version 2 is champion now" in ended.out
    assert everfit("rollout", "status", "trips", "--json").document[0]["status"] == "promoted"
    assert everfit("history", "trips", "--json").document[0]["version"] == 2


def test_a_check_by_hand_says_what_is_waited_for(everfit: Everfit) -> None:
    everfit("rollout", "start", "trips", "2", "--reason", "new")

    checked = everfit("rollout", "check", "trips")

    assert checked.code == 0
    assert "next: the step lasts 1 hour at least" in checked.out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("start", "trips", "2", "--kind", "canari"), "--kind is 'canari', expected shadow, canary, ab, bandit"),
        (("start", "trips", "2", "--steps", "5,1"), "--steps is '5,1': expected rising percentages"),
        (("start", "trips", "2", "--bake", "soon"), "--bake is 'soon': expected a duration"),
        (("start", "trips", "9"), "has no version 9"),
        (("start", "tripz", "2"), "tripz"),
        (("stop", "trips"), "no rollout of 'trips' runs in environment 'prod'"),
        (("start", "trips", "2", "--reason", " "), "--reason is empty"),
    ],
)
def test_what_is_wrong_is_named(everfit: Everfit, arguments: tuple[str, ...], told: str) -> None:
    reason = () if "--reason" in arguments else ("--reason", "a test wants it")

    finished = everfit("rollout", *arguments, *reason)

    assert finished.code == 2
    assert told in finished.err


def test_promoting_somebody_else_meanwhile_ends_it(everfit: Everfit, registry: Registry) -> None:
    third = register_model(registry)
    everfit("rollout", "start", "trips", "2", "--reason", "new")

    promote(registry, third)

    (status,) = everfit("rollout", "status", "trips", "--json").document
    assert (status["status"], status["reason"]) == ("stopped", "trips@champion was moved to version 3 by test")
