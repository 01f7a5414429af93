"""`everfit versions` and `everfit rollback`."""

from __future__ import annotations

from pathlib import Path

import pytest

from registry.ledger import list_decisions
from registry.models import find_alias
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.registry.histories import History


@pytest.fixture
def three_versions(registry: Registry) -> Registry:
    """Three versions of ``churn`` that were champions one after the other."""
    history = History(registry)
    for _ in range(3):
        history.promote(history.train(history.snapshot(history.segment())))
    return registry


def _champion(registry: Registry) -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, "churn")
    return None if alias is None else alias.number


def test_looking_for_versions_leaves_no_registry_behind(everfit: Everfit, tmp_path: Path) -> None:
    finished = everfit("versions")

    assert (finished.code, list(tmp_path.iterdir())) == (0, [])
    assert "No model version yet" in finished.out
    assert everfit("versions", "--json").document == []


@pytest.mark.parametrize(
    "arguments", [["versions", "churn"], ["rollback", "churn", "--reason", "x"], ["predict", "churn", "--rows", "{}"]]
)
def test_a_command_that_needs_a_registry_says_that_there_is_none(
    everfit: Everfit, tmp_path: Path, arguments: list[str]
) -> None:
    finished = everfit(*arguments)

    assert (finished.code, list(tmp_path.iterdir())) == (2, [])
    assert "nothing was trained here yet" in finished.err


@pytest.mark.usefixtures("three_versions")
def test_versions_are_listed_newest_first_with_the_champion_marked(everfit: Everfit) -> None:
    lines = everfit("versions").out.splitlines()

    assert [line.split()[:2] for line in lines[1:]] == [["churn", "3"], ["churn", "2"], ["churn", "1"]]
    assert ["champion" in line for line in lines[1:]] == [True, False, False]
    assert "log_loss 0.5" in lines[1]


@pytest.mark.usefixtures("three_versions")
def test_versions_as_json_say_which_is_champion(everfit: Everfit) -> None:
    document = everfit("versions", "churn", "--json").document

    assert [(item["version"], item["is_champion"]) for item in document] == [(3, True), (2, False), (1, False)]


@pytest.mark.usefixtures("three_versions")
def test_a_misspelt_model_gets_the_nearest_name(everfit: Everfit) -> None:
    finished = everfit("versions", "chrun")

    assert finished.code == 2
    assert "there is no model 'chrun'; registered are churn; did you mean 'churn'" in finished.err


@pytest.mark.parametrize(("arguments", "expected"), [([], 2), (["--to", "1"], 1)])
def test_a_rollback_moves_the_alias_and_keeps_its_reason(
    everfit: Everfit, three_versions: Registry, arguments: list[str], expected: int
) -> None:
    finished = everfit("rollback", "churn", "--reason", "complaints", *arguments, "--json")

    assert (finished.document["version"], finished.document["previous"]) == (expected, 3)
    assert _champion(three_versions) == expected
    with three_versions.database.read() as session:
        decision = list_decisions(session, limit=1)[0]
    assert (decision.kind, decision.reason) == ("rollback", "complaints")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--reason", " "], "--reason is empty"),
        (["--reason", "x", "--to", "9"], "has no version 9"),
        (["--reason", "x", "--to", "3"], "version 3 is the champion of 'churn' already"),
    ],
)
def test_a_rollback_that_cannot_be_moves_nothing(
    everfit: Everfit, three_versions: Registry, arguments: list[str], message: str
) -> None:
    finished = everfit("rollback", "churn", *arguments)

    assert finished.code == 2
    assert message in finished.err
    assert _champion(three_versions) == 3
