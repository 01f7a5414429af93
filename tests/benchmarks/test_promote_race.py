"""Claims about the race of promotions: small here, sixteen processes in the benchmark."""

from __future__ import annotations

import pytest
from sqlmodel import select

from base.settings import Settings
from benchmarks import promote_race
from registry.store import open_registry
from registry.tables import AliasMove


@pytest.fixture
def _small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(promote_race, "N_PROCESSES", 6)
    monkeypatch.setattr(promote_race, "N_PROMOTIONS", 3)


@pytest.mark.usefixtures("_small")
def test_processes_that_start_and_promote_at_once_leave_one_line_of_history(any_settings: Settings) -> None:
    errors: list[str] = []

    assert promote_race._race(any_settings, errors) > 0
    assert errors == []


@pytest.mark.usefixtures("_small")
def test_a_history_that_is_not_one_line_is_found(settings: Settings) -> None:
    promote_race._race(settings, [])
    registry = open_registry(settings)

    def break_and_find(column: str, change: int) -> str:
        with registry.database.write() as session:
            move = session.exec(select(AliasMove).where(AliasMove.number == 3)).first()
            assert move is not None
            before = getattr(move, column) or 0
            setattr(move, column, before + change)
            session.flush()
            session.expire_all()
        return "; ".join(promote_race.find_breaks(registry, 18))

    assert break_and_find("number", -1) == "a move does not start where the one before ended"
    assert break_and_find("revision", 99).startswith("expected revisions 1 to 18, found 18 moves")
    registry.database.close()
