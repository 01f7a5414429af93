"""`everfit labels`: files are imported once however often they are sent, and what is wrong is set aside."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.labels.reading import read_labels
from serving.log.prediction_log import PredictionLog
from tests.console.conftest import Everfit
from tests.serving.labels.logs import log_rows
from tests.serving.models import promote, register_model


@pytest.fixture
def ids(settings: Settings, registry: Registry) -> list[str]:
    """Three logged predictions of the champion of ``trips``."""
    version = register_model(registry)
    promote(registry, version)
    log = PredictionLog(settings.home.absolute(), segment_rows=10)
    row = {"distance": 1.0, "at": "2013-04-01T12:00Z"}
    names = log_rows(log, ModelManifest.model_validate(version.manifest), [row] * 3)
    log.close()
    return names


def _write(frame: pd.DataFrame, file: Path) -> None:
    if file.suffix == ".csv":
        frame.to_csv(file, index=False)
    elif file.suffix == ".parquet":
        frame.to_parquet(file, index=False)
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in frame.to_dict("records")))


@pytest.mark.parametrize("name", ["labels.csv", "labels.parquet", "labels.jsonl"])
def test_a_file_is_imported_once_however_often(
    everfit: Everfit, settings: Settings, tmp_path: Path, ids: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERFIT_SERVICE_PORT", "1")
    file = tmp_path / name
    _write(pd.DataFrame({"prediction": ids, "outcome": ["far", "near", "far"]}), file)
    arguments = [str(file), "--model", "trips", "--id-column", "prediction", "--value", "outcome", "--json"]

    first = everfit("labels", "import", *arguments)
    again = everfit("labels", "import", *arguments)

    assert (first.code, again.code) == (0, 0)
    assert (first.document["stored"], again.document["stored"], again.document["repeated"]) == (3, 0, 3)
    kept = read_labels(settings.home, "trips")
    assert dict(zip(kept["id"], kept["value"], strict=True)) == dict(zip(ids, ["far", "near", "far"], strict=True))
    status = everfit("labels", "status", "trips", "--json").document
    assert (status["served"], status["matured"], status["labelled"]) == (3, 3, 3)
    assert "2013-04-01  3    3         100.0%" in everfit("labels", "status", "trips").out


def test_rows_that_are_wrong_are_set_aside_with_their_reasons(
    everfit: Everfit, settings: Settings, tmp_path: Path, ids: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVERFIT_SERVICE_PORT", "1")
    file = tmp_path / "labels.jsonl"
    file.write_text(f'{{"id": "{ids[0]}", "value": "far"}}\n{{"id": "{ids[1]}"}}\nnonsense\n')

    finished = everfit("labels", "import", str(file), "--model", "trips", "--json")

    assert finished.code == 3
    assert (finished.document["accepted"], finished.document["refused"]) == (1, 2)
    aside = [json.loads(line) for line in (tmp_path / "labels.jsonl.refused.jsonl").read_text().splitlines()]
    assert [one["row"] for one in aside] == [1, 2]
    assert "found nothing, expected a class" in aside[0]["reasons"][0]
    assert "no JSON" in aside[1]["reasons"][0]
    assert read_labels(settings.home, "trips")["id"].tolist() == [ids[0]]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["missing.csv", "--model", "trips"], "there is no file"),
        (["{file}", "--model", "trisp"], "trisp"),
        (["{file}", "--model", "trips", "--value", "outcome"], "no column 'outcome'; it has id, value"),
        (["{file}", "--model", "trips", "--within", "soon"], "--within is 'soon'"),
    ],
)
@pytest.mark.usefixtures("ids")
def test_what_cannot_be_imported_is_named(everfit: Everfit, tmp_path: Path, arguments: list[str], told: str) -> None:
    file = tmp_path / "labels.csv"
    file.write_text("id,value\na,far\n")

    finished = everfit("labels", "import", *(one.format(file=file) for one in arguments))

    assert finished.code == 2
    assert told in finished.err
