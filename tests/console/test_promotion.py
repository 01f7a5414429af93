"""`everfit promote`, `everfit history`, `everfit tag`, `everfit show` and `everfit gc`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from sqlmodel import col, select

from base.settings import Settings
from registry.ledger import list_decisions
from registry.models import find_alias
from registry.store import Registry
from registry.tables import AliasMove, ModelVersion
from tests.console.conftest import Everfit
from tests.processes import run_at_once
from tests.registry.histories import History


@pytest.fixture
def history(registry: Registry) -> History:
    """Three versions of ``churn`` with files behind them; the first is champion in prod."""
    history = History(registry)
    versions = [history.train(history.snapshot(history.segment())) for _ in range(3)]
    history.promote(versions[0])
    return history


def _champion(registry: Registry, environment: str = "prod") -> int | None:
    with registry.database.read() as session:
        alias = find_alias(session, environment, "churn")
    return None if alias is None else alias.number


def test_a_version_goes_through_the_environments_by_hand(everfit: Everfit, history: History) -> None:
    staged = everfit("promote", "churn@3", "--environment", "staging", "--reason", "try it", "--json")
    moved = everfit("promote", "churn@staging", "--reason", "a week without trouble", "--json")

    assert (staged.document["previous"], staged.document["revision"]) == (None, 1)
    assert (moved.document["version"], moved.document["previous"], moved.document["environment"]) == (3, 1, "prod")
    assert (_champion(history.registry), _champion(history.registry, "staging")) == (3, 3)
    with history.registry.database.read() as session:
        decision = list_decisions(session, limit=1)[0]
    assert (decision.kind, decision.reason) == ("promotion", "a week without trouble")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["churn", "--reason", "x"], "'churn' names no version; write churn@7"),
        (["churn@2", "--reason", " "], "--reason is empty"),
        (["churn@9", "--reason", "x"], "has no version 9"),
        (["churn@1", "--reason", "x"], "version 1 is the champion of 'churn' in prod already"),
        (["churn@dev", "--reason", "x"], "has no 'champion' in environment 'dev'"),
        (["churn@2", "--reason", "x", "--environment", "prd"], "expected dev, staging, prod; did you mean 'prod'?"),
        (["churn@2", "--reason", "x", "--expected", "3"], "churn@champion in prod is version 1, expected version 3"),
        (["churn@2", "--reason", "x", "--expected", "0"], "is version 1, expected no version"),
    ],
)
def test_a_promotion_that_cannot_be_moves_nothing(
    everfit: Everfit, history: History, arguments: list[str], message: str
) -> None:
    finished = everfit("promote", *arguments)

    assert finished.code == 2
    assert message in finished.err
    assert _champion(history.registry) == 1


def test_of_people_who_expect_the_same_champion_one_wins(everfit: Everfit, history: History) -> None:
    def promote(number: int) -> int:
        return everfit("promote", f"churn@{number + 2}", "--expected", "1", "--reason", "race").code

    assert sorted(run_at_once(2, promote)) == [0, 2]


def test_the_gates_refusal_is_repeated_to_who_overrules_it(everfit: Everfit, history: History) -> None:
    with history.registry.database.write() as session:
        version = session.exec(select(ModelVersion).where(ModelVersion.number == 2)).one()
        version.verdict = {"outcome": "worse", "promote": False, "reason": "loses 0.1"}

    finished = everfit("promote", "churn@2", "--reason", "I know better")

    assert finished.code == 0
    assert "the gate had said 'worse' of version 2: loses 0.1" in finished.err


def test_history_tells_who_was_champion_on_a_day_and_in_a_moment(everfit: Everfit, history: History) -> None:
    everfit("promote", "churn@2", "--reason", "better")
    day = datetime(2026, 5, 3, tzinfo=UTC)
    with history.registry.database.write() as session:
        first, second = session.exec(select(AliasMove).order_by(col(AliasMove.revision))).all()
        first.moved_at, second.moved_at = day - timedelta(days=2), day + timedelta(hours=12)

    def champions(at: str) -> list[int]:
        return [reign["version"] for reign in everfit("history", "churn", "--at", at, "--json").document]

    assert champions("2026-05-03") == [1, 2]
    assert champions("2026-05-03T06:00Z") == champions("2026-05-02") == [1]
    assert champions("2026-05-03T12:00Z") == champions("2027-01-01") == [2]
    assert champions("2026-04-30") == []
    assert everfit("history", "churn", "--at", "May").code == 2
    moves = everfit("history", "churn", "--json").document
    assert [(move["version"], move["previous"], move["reason"]) for move in moves] == [
        (2, 1, "better"),
        (1, None, "test"),
    ]
    assert everfit("history", "churn", "--environment", "dev", "--json").document == []


@pytest.mark.usefixtures("history")
def test_versions_are_found_by_tag_and_by_environment(everfit: Everfit) -> None:
    everfit("tag", "churn@2", "region=eu", "keep")
    everfit("promote", "churn@3", "--environment", "staging", "--reason", "try")

    def numbers(*arguments: str) -> list[int]:
        return [version["version"] for version in everfit("versions", *arguments, "--json").document]

    assert (numbers("--tag", "region"), numbers("--tag", "region=us")) == ([2], [])
    assert (numbers("--environment", "staging"), numbers("--environment", "prod")) == ([3], [1])
    assert everfit("tag", "churn@2", "--remove", "keep", "--json").document["tags"] == {"region": "eu"}
    assert "champion (staging)" in everfit("versions").out
    assert everfit("tag", "churn@2", "keep", "--remove", "keep").code == 2


@pytest.mark.usefixtures("history")
def test_show_tells_what_is_known_of_a_version(everfit: Everfit) -> None:
    everfit("tag", "churn@1", "keep")

    document = everfit("show", "churn", "--json").document

    assert (document["version"], document["aliases"], document["tags"]) == (1, {"champion": ["prod"]}, {"keep": ""})
    assert document["protected"] == "champion in prod"
    assert [move["version"] for move in document["history"]] == [1]
    assert {file["name"] for file in document["files"]} == {"model_file", "reference", "examples", "report"}
    assert all(file["is_there"] for file in document["files"])
    shown = everfit("show", "churn@1").out
    assert "protected: champion in prod" in shown
    assert document["files"][0]["digest"] in shown


def test_gc_deletes_only_when_a_person_agrees(everfit: Everfit, history: History, settings: Settings) -> None:
    arguments = ("gc", "churn", "--keep", "1", "--older-than", "0 days")

    preview = everfit(*arguments, "--json").document
    assert (preview["dry_run"], [version["version"] for version in preview["deleted"]]) == (True, [2])
    assert everfit("versions", "--json").document[1]["deleted_at"] is None
    assert "--yes does it" in everfit(*arguments).out

    done = everfit(*arguments, "--yes", "--reason", "disk is full", "--json").document
    assert [version["version"] for version in done["deleted"]] == [2]
    assert [version["version"] for version in everfit("versions", "--json").document] == [3, 1]
    assert "deleted" in everfit("versions", "--all").out
    assert "its files are gone" in everfit("show", "churn@2").out
    assert everfit("predict", "churn@2", "--rows", "{}").code == 2
    assert "cannot be deleted: it is champion in prod" in everfit("gc", "churn@1", "--yes").err
    with history.registry.database.read() as session:
        assert list_decisions(session, limit=1)[0].reason == "disk is full"


def test_gc_where_nothing_was_trained_says_so(everfit: Everfit) -> None:
    assert "Nothing to delete" in everfit("gc", "--yes").out
