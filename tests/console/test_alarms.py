"""Claims about `everfit alarms`: what is open is shown, what a person says is kept and told."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.settings import Settings
from console.cli import run
from registry.alarms import RaisedAlarm, record_window
from registry.store import open_registry
from registry.tables import WindowRow
from tests.registry.histories import History

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model `churn` with an open alarm of drift in `fare`."""
    monkeypatch.setenv("EVERFIT_HOME", str(tmp_path))
    registry = open_registry(Settings(home=tmp_path))
    history = History(registry)
    history.train(history.grow())
    window = WindowRow(
        model="churn",
        start=NOON,
        stop=NOON + timedelta(days=1),
        n_rows=10,
        n_labelled=0,
        outcome="drift",
        reason="",
        verdict="harmless",
    )
    alarm = RaisedAlarm("drift", ["fare"], "high", "fare moved up", {}, 1e-4)
    with registry.database.write() as session:
        record_window(session, window, revision=0, state={}, alarms=[alarm], now=NOON)
    registry.database.close()
    return tmp_path


def _listed(capsys: pytest.CaptureFixture[str], *more: str) -> dict[str, list[dict[str, object]]]:
    capsys.readouterr()
    assert run(["alarms", "list", "--json", *more]) == 0
    found: dict[str, list[dict[str, object]]] = json.loads(capsys.readouterr().out)
    return found


def test_what_is_open_is_listed_with_what_is_behind_it(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alarms", "list"]) == 0

    told = capsys.readouterr().out
    for word in ("churn", "drift (high)", "fare", "harmless", "fare moved up"):
        assert word in told


def test_a_mute_is_kept_until_it_is_lifted(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alarms", "mute", "churn", "fare", "--until", "14d", "--reason", "a new meter"]) == 0
    (mute,) = _listed(capsys)["mutes"]
    assert (mute["feature"], mute["reason"]) == ("fare", "a new meter")

    assert run(["alarms", "unmute", "churn", "fare"]) == 0
    assert _listed(capsys)["mutes"] == []


def test_a_reset_closes_what_is_open(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["alarms", "reset", "churn", "--reason", "prices were raised"]) == 0

    assert _listed(capsys, "churn")["alarms"] == []
    (over,) = _listed(capsys, "--all")["alarms"]
    assert str(over["closed_because"]).endswith("prices were raised")


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["mute", "churn", "--reason", "x"], "nothing is named to mute"),
        (["mute", "churn", "fare", "--reason", " "], "--reason is empty"),
        (["mute", "churn", "fare", "--until", "soon", "--reason", "x"], "--until: expected a duration"),
        (["mute", "churn", "--kind", "drifts", "--reason", "x"], "there is no kind of alarm 'drifts'"),
        (["mute", "nobody", "fare", "--reason", "x"], "nobody"),
        (["unmute", "churn", "fare"], "is not muted"),
        (["reset", "nobody", "--reason", "x"], "nobody"),
    ],
)
def test_what_cannot_be_done_is_told(
    home: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], told: str
) -> None:
    assert run(["alarms", *arguments]) in (2, 4)

    assert told in capsys.readouterr().err
