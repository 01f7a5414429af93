"""Claims about looking at models: `everfit experiments`, `everfit compare` and `everfit report`, of real trainings."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.settings import Settings
from registry.experiments import record_experiments
from registry.store import Registry
from tests.console.conftest import Everfit
from tests.pipelines import TREE, Trained, define, make_pipeline, make_trips, train

STUMP = {"estimator": "sklearn.tree.DecisionTreeClassifier", "parameters": {"max_depth": 1}}
HOPELESS = {"estimator": "sklearn.linear_model.LogisticRegression", "parameters": {"max_iter": 1}}


@pytest.fixture
def trained(tmp_path: Path, settings: Settings, registry: Registry) -> list[Trained]:
    """Two versions of trips: of a tree and a stump, and of the tree alone; one candidate does not converge."""
    found = []
    for number, estimators in enumerate(([TREE, STUMP, HOPELESS], [TREE])):
        folder = tmp_path / f"trips-{number}"
        found.append(train(make_pipeline(folder, make_trips(), define(train={"estimators": estimators})), settings))
        with registry.database.write() as session:
            record_experiments(session, run_id=found[-1].run_id, pipeline="trips", fitted=found[-1].judged.candidates)
    return found


def test_experiments_stand_newest_run_first_the_chosen_before_the_others_and_failures_last(
    everfit: Everfit, trained: list[Trained]
) -> None:
    document = everfit("experiments", "trips", "--json").document

    assert [each["run"] for each in document] == [trained[1].run_id] + [trained[0].run_id] * 3
    of_first = document[1:]
    assert [each["is_chosen"] for each in of_first] == [True, False, False]
    assert of_first[0]["parameters"] == {"max_depth": 1}
    assert of_first[0]["loss"] < of_first[1]["loss"]
    assert of_first[2]["loss"] is None
    assert "converge" in of_first[2]["error"]
    assert of_first[2]["error"] in everfit("experiments", "--run", trained[0].run_id, "--json").document[2]["error"]


def test_experiments_of_what_there_is_not_name_what_there_is(everfit: Everfit, trained: list[Trained]) -> None:
    assert "did you mean 'trips'?" in everfit("experiments", "trisp").err
    assert everfit("experiments", "--run", "nothing").code == 2


def test_compared_versions_differ_where_they_were_made_otherwise(everfit: Everfit, trained: list[Trained]) -> None:
    older, newer = everfit("compare", "trips@1", "trips@2", "--json").document["versions"]

    assert (older["parameters"]["max_depth"], newer["parameters"]["max_depth"]) == (1, 2)
    assert older["data"]["snapshot"] == trained[0].judged.snapshot.digest[:12]
    assert older["metrics"]["log_loss"]["value"] == trained[0].judged.evaluation.metrics["log_loss"]
    assert set(older["features"]) == set(newer["features"])
    said = everfit("compare", "trips@1", "trips@2").out
    assert "in all of them" in said
    assert "no recorded rows" in said


@pytest.mark.parametrize("names", [["trips@1"], ["trips@1", "trips@1"], ["trips@1", "trips@9"]])
def test_what_cannot_be_compared_is_refused(everfit: Everfit, trained: list[Trained], names: list[str]) -> None:
    assert everfit("compare", *names).code == 2


def test_a_written_page_names_its_model_and_version(everfit: Everfit, trained: list[Trained], tmp_path: Path) -> None:
    finished = everfit("report", "trips@2", "--output", "page.html", "--json")

    page = (tmp_path / "page.html").read_text()
    assert "<title>trips, version 2: Evaluation of trips</title>" in page
    assert page.count("<h1>trips, version 2: trips</h1>") == 1
    assert finished.document["size_bytes"] == len(page.encode())
    assert everfit("report", "trips@2", "--output", "page.pdf").code == 2
