"""Declaring feature views: in YAML or Python, and every mistake named with its file, key and the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.errors import DefinitionError
from features.declarations import read_views

_VIEW = """
name: weather
entity: {name: airport, keys: [origin]}
source: weather.csv
time: at
features:
  temp: {type: number, unit: degrees Fahrenheit}
"""
_PYTHON = """
from features.entities import Entity
from features.views import Feature, FeatureView
from wind import chill


def load():
    return None


weather = FeatureView(
    name="weather",
    entity=Entity(name="airport", keys=["origin"]),
    source=load,
    time="at",
    features={"temp": Feature(type="number")},
    freshness="3 hours",
    transformation=chill,
)
"""


def _write(folder: Path, text: str, name: str = "features/weather.yaml") -> Path:
    file = folder / name
    file.parent.mkdir(exist_ok=True)
    file.write_text(text)
    return folder


def test_a_view_is_the_same_in_a_file_of_its_own_and_among_others(tmp_path: Path) -> None:
    alone = read_views(_write(tmp_path, _VIEW))
    indented = _VIEW.strip().replace("\n", "\n    ")
    (tmp_path / "all").mkdir()
    among = read_views(_write(tmp_path / "all", f"views:\n  - {indented}\n", "feature_views.yaml"))

    assert alone["weather"].view == among["weather"].view
    assert alone["weather"].digest == among["weather"].digest


def test_a_view_in_python_names_its_functions_and_their_files(tmp_path: Path) -> None:
    _write(tmp_path, _PYTHON, "feature_views.py")
    _write(tmp_path, "def chill(events):\n    return events\n", "wind.py")
    _write(tmp_path, "def other():\n    pass\n", "unrelated.py")
    before = read_views(tmp_path)["weather"]

    assert (before.view.source, before.view.transformation) == ("feature_views:load", "wind:chill")
    _write(tmp_path, "def other():\n    return 1\n", "unrelated.py")
    assert read_views(tmp_path)["weather"].digest == before.digest
    _write(tmp_path, "def chill(events):\n    return events.dropna()\n", "wind.py")
    assert read_views(tmp_path)["weather"].digest != before.digest


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("unit:", "unti:"), "weather.yaml:7: key 'features.temp.unti' is unknown; did you mean 'unit'?"),
        (("type: number", "type: numbr"), "key 'features.temp.type' is 'numbr', expected 'number', 'integer'"),
        (("time: at\n", ""), "key 'time' is missing"),
        (("time: at", "time: at\nfreshness: soon"), "key 'freshness' is 'soon', expected a duration"),
        (("time: at", "time: at\ntransformation: clean"), "expected module:function"),
        (("time: at", "time: temp"), "column 'temp' is time, and cannot be a feature as well"),
        (("time: at", "time: origin"), "column 'origin' is a key of the entity and time"),
        (("keys: [origin]", "keys: [origin, origin]"), "expected each key once"),
        (("name: weather", "name: wether"), "key 'name' is 'wether', expected 'weather', as the file is called"),
    ],
)
def test_a_mistake_is_named_with_file_and_key(tmp_path: Path, change: tuple[str, str], message: str) -> None:
    with pytest.raises(DefinitionError) as caught:
        read_views(_write(tmp_path, _VIEW.replace(*change)))

    assert message in str(caught.value)
    assert "weather.yaml" in str(caught.value)


def test_two_views_cannot_have_one_name_or_mean_different_keys_by_one_entity(tmp_path: Path) -> None:
    _write(tmp_path, _VIEW)
    other = _VIEW.replace("name: weather", "name: noise").replace("[origin]", "[dest]")
    _write(tmp_path, other, "features/noise.yaml")
    with pytest.raises(DefinitionError, match="entity 'airport' has keys"):
        read_views(tmp_path)

    (tmp_path / "features" / "noise.yaml").unlink()
    indented = _VIEW.strip().replace("\n", "\n    ")
    _write(tmp_path, f"views:\n  - {indented}\n", "feature_views.yaml")
    with pytest.raises(DefinitionError, match=r"'weather' is declared in feature_views\.yaml already"):
        read_views(tmp_path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_PYTHON.replace("3 hours", "soon"), "key 'freshness' is 'soon', expected a duration"),
        (_PYTHON.replace("type=", "typ="), "a Feature is wrong: key 'type'"),
        ("import nothing_of_this_name\n", "cannot be loaded: ModuleNotFoundError"),
    ],
)
def test_a_mistake_in_python_is_named_too(tmp_path: Path, text: str, message: str) -> None:
    _write(tmp_path, "def chill(events):\n    return events\n", "wind.py")

    with pytest.raises(DefinitionError) as caught:
        read_views(_write(tmp_path, text, "feature_views.py"))

    assert message in str(caught.value)
    assert "feature_views.py" in str(caught.value)
