"""`everfit predict`: the answers of the service, without a service."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest

from base.sources import read_source
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.serving.models import load_version, make_rows, promote, register_model

ROWS = [{"is_shared": False} | row | {"is_shared": False} for row in make_rows(40, seed=3)]


@pytest.fixture(autouse=True)
def champion(registry: Registry) -> list[dict[str, object]]:
    """What version 1 answers; version 2, which is no champion, says the opposite."""
    first = register_model(registry)
    promote(registry, first)
    register_model(registry, inverted=True)
    return [prediction.as_json() for prediction in load_version(registry, first).predict_rows(ROWS)]


def test_rows_get_the_champion_s_answers(everfit: Everfit, champion: list[dict[str, object]]) -> None:
    finished = everfit("predict", "trips", "--rows", json.dumps(ROWS), "--json")

    assert finished.document == {
        "model": "trips",
        "version": 1,
        "n_rows": 40,
        "output": None,
        "predictions": champion,
    }


def test_a_version_may_be_named(everfit: Everfit) -> None:
    answers = [everfit("predict", f"trips@{n}", "--rows", json.dumps(ROWS[0]), "--json").document for n in (1, 2)]

    assert [answer["version"] for answer in answers] == [1, 2]
    assert answers[0]["predictions"] != answers[1]["predictions"]


@pytest.mark.parametrize("source", ["rows.csv", "rows.parquet", "rows.jsonl"])
@pytest.mark.parametrize("target", ["out.csv", "out.parquet", "out.jsonl"])
def test_files_of_every_format_get_the_same_answers(
    everfit: Everfit, tmp_path: Path, champion: list[dict[str, object]], source: str, target: str
) -> None:
    frame = pd.DataFrame(ROWS).assign(tip=1.0)
    frame["passengers"] = frame["passengers"].astype("Int64")
    {
        "rows.csv": lambda: frame.to_csv(source, index=False),
        "rows.parquet": lambda: frame.to_parquet(source),
        "rows.jsonl": lambda: frame.to_json(source, orient="records", lines=True),
    }[source]()

    finished = everfit("predict", "trips", "--input", source, "--output", target)

    table = read_source(target, tmp_path)
    assert finished.code == 0
    assert "Not inputs of the model, so not looked at: tip" in finished.out
    assert table["prediction"].to_pylist() == [answer["prediction"] for answer in champion]
    assert table["probability_far"].to_pylist() == [answer["probabilities"]["far"] for answer in champion]  # type: ignore[index]
    assert table["distance"].to_pylist() == [row["distance"] for row in ROWS]


def test_without_an_output_the_answers_are_lines(everfit: Everfit, champion: list[dict[str, object]]) -> None:
    lines = everfit("predict", "trips", "--rows", json.dumps(ROWS)).out.splitlines()

    assert lines[0].split("  ")[0] == "row"
    assert [line.split()[1] for line in lines[1:]] == [answer["prediction"] for answer in champion]


def test_a_code_that_a_file_shows_as_a_number_is_text_where_the_model_wants_text(
    everfit: Everfit, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("distance,company\n3,17\n")

    assert everfit("predict", "trips", "--input", "rows.csv").code == 0


def test_rows_that_break_the_signature_are_refused_and_nothing_is_written(everfit: Everfit, tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("distance,passengers\n3,1\n-1,2\nfar,3\n")

    finished = everfit("predict", "trips", "--input", "rows.csv", "--output", "out.csv")

    assert finished.code == 3
    assert "row 1, column 'distance': found '-1' (text), expected number" in finished.err
    assert not (tmp_path / "out.csv").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["trips", "--rows", '{"distanse": 1}'], 3, "did you mean 'distance'"),
        (["trips", "--rows", "[]"], 2, "--rows holds no row"),
        (["trips", "--rows", "[1]"], 2, "row 0 is 1, expected an object"),
        (["trips", "--rows", "{"], 2, "--rows is no JSON"),
        (["trips"], 2, "either as --input FILE or as --rows JSON"),
        (["trips", "--rows", "{}", "--input", "rows.csv"], 2, "either as --input FILE or as --rows JSON"),
        (["trip", "--rows", "{}"], 2, "there is no model 'trip'; registered are trips; did you mean 'trips'"),
        (["trips@9", "--rows", "{}"], 2, "has no version 9; its versions are 2, 1"),
        (["trips", "--input", "rows.cvs"], 2, "there is no such file"),
        (["trips", "--rows", "{}", "--output", "out.xlsx"], 2, "unknown format '.xlsx'"),
        (["trips", "--rows", "{}", "--output", "nowhere/out.csv"], 2, "there is no folder"),
    ],
)
def test_what_cannot_be_predicted_is_refused(everfit: Everfit, arguments: list[str], code: int, message: str) -> None:
    finished = everfit("predict", *arguments)

    assert (finished.code, finished.out) == (code, "")
    assert message in finished.err


def test_predictions_are_explained_where_that_is_asked_for(everfit: Everfit) -> None:
    finished = everfit("predict", "trips", "--rows", json.dumps(ROWS[:2]), "--explain", "--json")
    shown = everfit("predict", "trips", "--rows", json.dumps(ROWS[:2]), "--explain")

    for answer in finished.document["predictions"]:
        explanation = answer["explanation"]
        total = explanation["base"] + sum(explanation["features"].values())
        assert total == pytest.approx(answer["probabilities"]["far"])
    assert "row 1: probability of far" in shown.out
    assert any(line.startswith("distance") for line in shown.out.splitlines())


def test_explanations_have_no_place_in_a_file(everfit: Everfit) -> None:
    finished = everfit("predict", "trips", "--rows", "{}", "--explain", "--output", "out.csv")

    assert finished.code == 2
    assert "--explain" in finished.err
