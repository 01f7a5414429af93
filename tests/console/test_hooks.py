"""`everfit hooks`."""

from __future__ import annotations

import json

import pytest

from base.settings import Settings
from tests.console.conftest import Everfit


def test_a_secret_is_shown_once_and_each_change_is_in_the_ledger(everfit: Everfit, settings: Settings) -> None:
    added = everfit("hooks", "add", "airflow", "--pipeline", "bike")
    rotated = everfit("hooks", "rotate", "airflow", "--overlap", "2 hours", "--json").document
    listed = everfit("hooks", "list")
    (sender,) = everfit("hooks", "list", "--json").document["senders"]
    everfit("hooks", "remove", "airflow", "--reason", "it leaked")

    assert "whsec_" in added.out
    assert "there is no pipeline 'bike' yet" in added.err
    assert "whsec_" not in listed.out
    assert (sender["name"], sender["pipelines"], sender["secrets"]) == ("airflow", ["bike"], 2)
    assert sender["former_until"] == rotated["former_until"]
    entries = everfit("ledger", "list", "--kind", "hook", "--json").document
    shown = json.dumps(entries)
    assert [f"airflow: {change}" in shown for change in ("added", "rotated", "removed")] == [True] * 3
    assert rotated["secret"] not in shown
    assert everfit("hooks", "list", "--json").document == {"senders": []}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["add", "a/b"], "letters, digits"),
        (["rotate", "airflow"], "there is no sender 'airflow'"),
        (["remove", "airflow"], "there is no sender 'airflow'"),
        (["rotate", "airflow", "--overlap", "soon"], "--overlap"),
    ],
)
def test_what_cannot_be_is_told_and_written_nowhere(everfit: Everfit, arguments: list[str], said: str) -> None:
    finished = everfit("hooks", *arguments)

    assert finished.code == 2
    assert said in finished.err
    assert everfit("hooks", "list", "--json").document == {"senders": []}


def test_senders_of_the_settings_are_listed_and_changed_there(
    everfit: Everfit, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = "whsec_" + "A" * 32
    monkeypatch.setenv("EVERFIT_HOOKS", json.dumps({"shop": {"secret": f"{secret} {secret}", "pipelines": ["bike"]}}))

    listed = everfit("hooks", "list")
    refused = everfit("hooks", "rotate", "shop")

    assert "shop" in listed.out
    assert secret not in listed.out
    assert refused.code == 2
    assert "EVERFIT_HOOKS" in refused.err
    assert everfit("hooks", "add", "other").code == 2


def test_a_wrong_setting_is_told_without_its_secret(everfit: Everfit, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EVERFIT_HOOKS", '{"shop": {"secret": "hunter2"}}')

    refused = everfit("hooks", "list")

    assert refused.code == 2
    assert "hunter2" not in refused.err
    assert "EVERFIT_HOOKS" in refused.err
