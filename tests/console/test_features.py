"""`everfit features`: list, show and materialize, in words and as JSON."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from tests.console.conftest import Everfit

_VIEW = """
views:
  - name: weather
    entity: {name: airport, keys: [origin]}
    source: weather.csv
    time: at
    owner: met@example.com
    description: Hourly, at the airport.
    freshness: 3 hours
    features:
      temp: {type: number, unit: degrees Fahrenheit, description: Air temperature.}
"""


@pytest.fixture
def weather(tmp_path: Path) -> Path:
    hours = pd.date_range("2024-01-01", periods=5, freq="h", tz="UTC")
    pd.DataFrame({"origin": ["JFK", "LGA", "JFK", "LGA", "JFK"], "at": hours, "temp": range(5)}).to_csv(
        tmp_path / "weather.csv", index=False
    )
    (tmp_path / "feature_views.yaml").write_text(_VIEW)
    return tmp_path


def test_a_view_is_listed_before_and_after_it_is_materialised(everfit: Everfit, weather: Path) -> None:
    before = everfit("features", "list", "--json").document
    assert [(one["name"], one["state"], one["n_rows"]) for one in before] == [("weather", "never materialised", 0)]

    done = everfit("features", "materialize", "weather", "--until", "2024-01-01T02:30Z", "--json").document
    assert [(one["n_new"], one["n_rows"], one["n_keys"]) for one in done] == [(3, 3, 2)]

    assert everfit("features", "materialize").code == 0
    listed = everfit("features", "list").out
    assert "airport (origin)" in listed
    assert "too late" in listed
    assert "met@example.com" in listed


def test_a_view_shows_units_freshness_and_that_no_model_uses_it(everfit: Everfit, weather: Path) -> None:
    everfit("features", "materialize")

    shown = everfit("features", "show", "weather").out

    for text in ("degrees Fahrenheit", "Air temperature.", "3 hours", "5 events in 1 segments", "2 keys"):
        assert text in shown
    assert "No model version uses it." in shown
    assert everfit("features", "show", "weather", "--json").document["features"]["temp"]["unit"] == "degrees Fahrenheit"


def test_a_materialised_view_is_found_from_any_folder(
    everfit: Everfit, weather: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    everfit("features", "materialize")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")

    assert [one["name"] for one in everfit("features", "list", "--json").document] == ["weather"]
    assert [one["n_new"] for one in everfit("features", "materialize", "--json").document] == [0]


def test_a_changed_declaration_is_said_to_wait(everfit: Everfit, weather: Path) -> None:
    everfit("features", "materialize")
    (weather / "feature_views.yaml").write_text(_VIEW.replace("type: number", "type: integer"))

    assert everfit("features", "list", "--json").document[0]["state"] == "changed, not materialised since"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["show", "wether"], 2, "there is no feature view 'wether'; known are weather; did you mean 'weather'?"),
        (["materialize", "wether"], 2, "did you mean 'weather'?"),
        (["materialize", "--until", "soon"], 2, "--until: expected a moment"),
        (["list", "--folder", "nowhere"], 2, "there is no such folder"),
    ],
)
def test_a_wrong_argument_is_named(
    everfit: Everfit, weather: Path, arguments: list[str], code: int, message: str
) -> None:
    finished = everfit("features", *arguments)

    assert finished.code == code
    assert message in finished.err


@pytest.mark.parametrize("command", ["list", "show", "materialize"])
def test_every_command_has_an_example_in_its_help(everfit: Everfit, command: str) -> None:
    assert f"Examples:\n    everfit features {command}" in everfit("features", command, "--help").out


def test_nothing_declared_is_said(everfit: Everfit) -> None:
    assert "No feature view" in everfit("features", "list").out
    assert everfit("features", "materialize").code == 2
