"""Claims about `everfit why` of a run that people were asked about: each thing is said once, and as it was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from base.settings import Settings
from tests.console.conftest import Everfit
from tests.pipelines import define, make_pipeline, make_trips, train

APPROVAL: dict[str, Any] = {"needed": 2, "approvers": ["ben", "cleo", "dora"], "expires": "2 days"}


@pytest.fixture
def asked(tmp_path: Path, settings: Settings) -> str:
    """The run of a first version that two people have to agree to."""
    definition = define(validate_model={"approval": APPROVAL})
    return train(make_pipeline(tmp_path / "trips", make_trips(), definition), settings).run_id


def _answer(everfit: Everfit, monkeypatch: pytest.MonkeyPatch, who: str, command: str, reason: str) -> None:
    monkeypatch.setenv("LOGNAME", who)
    assert everfit(command, "trips", "--reason", reason).code == 0


def _explain(everfit: Everfit, run: str) -> dict[str, str]:
    explanation: dict[str, str] = everfit("why", run, "--json").document["explanation"]
    return explanation


def test_an_agreement_is_told_with_names_and_reasons_and_the_verdict_once(
    everfit: Everfit, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    _answer(everfit, monkeypatch, "ben", "approve", "seen the slices")
    _answer(everfit, monkeypatch, "cleo", "approve", "agreed with ben")

    told = _explain(everfit, asked)

    people = told["What people said"]
    assert people.startswith("Two people had to agree before it might serve")
    assert "ben, cleo and dora, but not test, who had asked for the training" in people
    assert "ben agreed on" in people
    assert '"seen the slices"' in people
    assert "became champion in prod, the first one" in people
    assert "who moved it: ben and cleo" in people
    verdict = told["The decision"].partition("The gate decided")[2].partition(": ")[2].partition(".")[0]
    assert " ".join(told.values()).count(verdict) == 1
    assert "does not serve" not in " ".join(told.values())


def test_who_is_still_waited_for_is_counted(everfit: Everfit, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(everfit, monkeypatch, "ben", "approve", "seen the slices")

    assert (
        "It waits for one person more; until then the champion serves on."
        in _explain(everfit, asked)["What people said"]
    )


def test_a_no_is_told_with_what_it_led_to(everfit: Everfit, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _answer(everfit, monkeypatch, "dora", "reject", "April is missing")

    people = _explain(everfit, asked)["What people said"]

    assert "dora said no on" in people
    assert '"April is missing". One no is enough, so the champion stayed.' in people
    assert people.endswith("trips version 1 is registered and does not serve.")
