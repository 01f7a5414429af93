"""Claims about `everfit monitor` and `everfit drift windows`: what was looked at, and which labels are due when."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.settings import Settings
from console.cli import run
from registry.pipelines import register_pipeline
from registry.store import open_registry
from tests.monitoring.traffic import serve
from tests.pipelines import define, make_pipeline, make_trips, train

UNTIL = "2013-02-15"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model `trips` that was served for a fortnight, and whose labels come a week after its answers."""
    monkeypatch.setenv("EVERFIT_HOME", str(tmp_path / "home"))
    settings = Settings(home=tmp_path / "home")
    registry = open_registry(settings)
    definition = define(
        extract={"source": "data.parquet", "label_delay": "7 days"},
        prepare={"features": ["features:add_hour"], "split": {"gap": "1 day"}},
        monitor={"window": "7 days", "min_rows": 50},
    )
    pipeline = make_pipeline(tmp_path / "trips", make_trips(600), definition)
    trained = train(pipeline, settings, as_of=datetime(2013, 2, 1, tzinfo=UTC))
    register_pipeline(registry, pipeline)
    serve(settings.home, registry, trained.manifest, make_trips(24 * 14, seed=5, start="2013-02-01"))
    registry.database.close()
    return tmp_path


def test_windows_whose_labels_are_waited_for_say_when_they_are_due(
    home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    capsys.readouterr()
    assert run(["monitor", "trips", "--until", UNTIL, "--json"]) == 0
    first, second = json.loads(capsys.readouterr().out)["windows"]

    assert (first["look"], first["labelled"], first["labels_due"]) == ("both", 168, None)
    assert (second["look"], second["labelled"]) == ("traffic", 0)
    assert second["labels_due"] == "2013-02-22T00:00:00+00:00"
    assert second["decision"] == "none"

    assert run(["drift", "windows", "trips"]) == 0
    assert "due on 2013-02-22" in " ".join(capsys.readouterr().out.split())
    assert run(["monitor", "trips", "--until", UNTIL]) == 0
    assert "no window is due" in capsys.readouterr().out

    assert run(["monitor", "trips", "--until", "2013-02-22", "--json"]) == 0
    (third,) = json.loads(capsys.readouterr().out)["windows"]
    assert (third["start"], third["look"], third["labelled"]) == (second["start"], "labels", 168)
    assert run(["drift", "windows", "trips", "--json"]) == 0
    windows = json.loads(capsys.readouterr().out)["windows"]
    assert [window["labels_due"] for window in windows] == [None, None]
