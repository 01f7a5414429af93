"""Claims about what is compared: the anchors always, names once, and what a definition cannot say is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.errors import DefinitionError
from tasks.backtest.policies import EVERY_WINDOW, EVIDENTLY, NEVER, OWN, Policy, choose_policies
from tests.pipelines import make_pipeline
from tests.tasks.backtest.histories import definition


def test_the_usual_policies_have_the_anchors_the_own_and_what_other_tools_do(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, None, definition(triggers={"policy": "level", "cooldown": "9 days"}))

    names = [policy.name for policy in choose_policies(pipeline)]

    assert len(names) == len(set(names)) == 9
    assert {NEVER, EVERY_WINDOW, EVIDENTLY, OWN, "cost-aware", "sequential test"} <= set(names)


def test_a_usual_policy_that_is_the_own_one_is_not_walked_twice(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, None, definition(triggers={"price": 0.7}))

    policies = choose_policies(pipeline)

    assert "cost-aware" not in [policy.name for policy in policies]
    assert policies[-1].kind == "own"


def test_a_file_names_policies_and_training_windows(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, None, definition())
    (tmp_path / "policies.yaml").write_text(
        "policies:\n"
        "  - name: weekly\n"
        "    triggers: {schedule: '0 5 * * 1', policy: none}\n"
        "  - name: thirds\n"
        "    every: 3\n"
        "    window: 800 rows\n"
        "windows: [expanding, auto]\n"
    )

    policies = choose_policies(pipeline, tmp_path / "policies.yaml")

    assert [policy.name for policy in policies] == [
        NEVER,
        EVERY_WINDOW,
        "weekly, expanding",
        "weekly, auto",
        "thirds",
        OWN,
    ]
    thirds = policies[4]
    assert str(thirds.apply(pipeline, price=0.3).spec.train.window) == "800 rows"
    assert thirds.section(pipeline, price=0.3) == {
        "triggers": {"staleness": "3 weeks", "policy": "none"},
        "train": {"window": "800 rows"},
    }


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("policies: []\n", "policies"),
        ("policies:\n  - name: a\n    every: 1\n    signal: evidently\n", "every and signal"),
        ("policies:\n  - name: a\n", "none of them"),
        ("policies:\n  - {name: a, every: 1}\n  - {name: a, every: 2}\n", "two policies are named 'a'"),
        ("policies:\n  - {name: a, every: 1, window: often}\n", "window"),
        ("polices: []\n", "polices"),
    ],
)
def test_a_file_that_is_none_is_refused_with_its_key(text: str, word: str, tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, None, definition())
    (tmp_path / "policies.yaml").write_text(text)

    with pytest.raises(DefinitionError, match=word):
        choose_policies(pipeline, tmp_path / "policies.yaml")


def test_evidently_s_defaults_cannot_be_pasted(tmp_path: Path) -> None:
    pipeline = make_pipeline(tmp_path, None, definition())

    assert Policy(name="e", signal="evidently").section(pipeline, price=0.1) == {}
