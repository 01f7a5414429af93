"""`everfit ledger`, `everfit why` and `everfit lineage`."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import text

from base.settings import Settings
from registry.store import Registry, open_registry
from tests.console.conftest import Everfit
from tests.pipelines import make_pipeline, make_trips, train


@pytest.fixture
def trained(tmp_path: Path, settings: Settings) -> Registry:
    """One training, and the champion that came of it."""
    train(make_pipeline(tmp_path / "trips", make_trips()), settings)
    return open_registry(settings)


def test_decisions_are_listed_verified_and_replayed(everfit: Everfit, trained: Registry) -> None:
    listed = everfit("ledger", "list", "--json").document
    verified = everfit("ledger", "verify", "--json").document
    replayed = everfit("ledger", "replay", "--json").document

    assert [decision["kind"] for decision in listed] == ["promotion", "gate", "training"]
    assert (verified["entries"], verified["head"]) == (3, listed[0]["digest"])
    assert everfit("ledger", "verify", "--head", verified["head"]).code == 0
    assert (replayed["identical"], replayed["differs"], replayed["cannot"]) == (2, 0, 0)


def test_a_changed_entry_ends_with_4_and_is_named(everfit: Everfit, trained: Registry) -> None:
    with trained.database.write() as session:
        session.connection().execute(text("UPDATE decision SET actor = 'someone' WHERE sequence = 2"))

    finished = everfit("ledger", "verify")

    assert finished.code == 4
    assert "the ledger is broken at entry 2" in finished.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ledger", "list", "--kind", "gat"], "did you mean 'gate'?"),
        (["ledger", "list", "--pipeline", "trip"], "did you mean 'trips'?"),
        (["ledger", "verify", "--head", "xyz"], "at least 12 of a digest's 64"),
        (["why", "trip"], "did you mean 'trips'?"),
        (["why", "99"], "no entry 99"),
    ],
)
def test_a_wrong_name_is_told(everfit: Everfit, trained: Registry, arguments: list[str], told: str) -> None:
    finished = everfit(*arguments)

    assert finished.code == 2
    assert told in finished.err


@pytest.mark.parametrize("subject", ["trips", "trips@1"])
def test_why_explains_a_champion(everfit: Everfit, trained: Registry, subject: str) -> None:
    document = everfit("why", subject, "--json").document

    assert (document["model"], document["version"], document["status"]) == ("trips", 1, "promoted")
    assert "became champion in prod, the first one" in document["explanation"]["The decision"]


def test_why_explains_one_decision_and_lineage_draws_a_tree(everfit: Everfit, trained: Registry) -> None:
    assert "By which rule.\nGate, version 1" in everfit("why", "2").out
    lines = everfit("lineage", "trips").out.splitlines()
    assert lines[0].startswith("trips@1  model ")
    assert any("features.py" in line for line in lines)
