"""Which policy is recommended, and how the sentence says why."""

from __future__ import annotations

import pytest

from tasks.backtest.policies import EVERY_WINDOW, EVIDENTLY, NEVER, OWN
from tasks.backtest.recommendation import recommend
from tasks.backtest.result import PolicyKind, PolicyResult


def _policy(name: str, cost: float, kind: PolicyKind = "shipped", **more: object) -> PolicyResult:
    section = {} if kind == "comparison" else {"triggers": {"policy": name}}
    return PolicyResult.model_validate(
        {"name": name, "kind": kind, "tells": name, "section": section, "cost": cost} | more
    )


def _results(*others: PolicyResult) -> list[PolicyResult]:
    anchors = [_policy(EVERY_WINDOW, 30.0, n_trainings=40), _policy(NEVER, 40.0)]
    return sorted([*others, *anchors], key=lambda one: one.cost)


@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([_policy("sequential test", 10.0), _policy(OWN, 12.0, "own")], "sequential test"),
        ([_policy("sequential test", 10.0), _policy(OWN, 10.09, "own")], OWN),
        ([_policy(EVIDENTLY, 5.0, "comparison"), _policy("sequential test", 10.0)], "sequential test"),
        ([_policy("sequential test", 50.0)], EVERY_WINDOW),
    ],
    ids=["the cheapest", "its own within a hundredth", "none that cannot be declared", "an anchor"],
)
def test_the_cheapest_policy_that_can_be_declared_is_recommended(others: list[PolicyResult], expected: str) -> None:
    found = recommend(_results(*others), price=0.2)

    assert found.name == expected
    assert found.yaml.startswith("triggers:\n  policy: ")


@pytest.mark.parametrize(
    ("excess", "low", "high", "told"),
    [
        (0.02, 0.01, 0.03, "(its mean loss is 0.0200 lower, interval 0.0100 to 0.0300)"),
        (-0.02, -0.03, -0.01, "(its mean loss is 0.0200 higher, interval 0.0100 to 0.0300)"),
        (0.01, -0.01, 0.03, "the same but for chance: difference -0.0100, interval -0.0300 to +0.0100)"),
    ],
)
def test_the_sentence_says_how_training_always_compares(excess: float, low: float, high: float, told: str) -> None:
    best = _policy("sequential test", 10.0, excess=excess, low=low, high=high, n_trainings=2)

    why = recommend(_results(best), price=0.2).why

    assert told in why
    assert "It trains twice where that trains 40" in why


def test_training_always_is_not_compared_with_itself() -> None:
    why = recommend(_results(), price=0.2).why

    assert "training after every window" not in why
    assert why.endswith("never training 40.00. It trains 40 times")
