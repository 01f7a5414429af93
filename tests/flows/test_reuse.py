"""Which steps a second training executes, and what it says of them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from registry.models import list_versions
from registry.runs import list_runs, list_steps
from registry.store import Registry
from tests.pipelines import CONTRACT, TREE, define, make_trips, write_pipeline
from tests.trainings import Finished, Trainings

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_AS_BEFORE = "reused from run"
_SHALLOW = TREE | {"parameters": {"max_depth": 1, "min_samples_leaf": 20}}
_FIRST = ["extract", "validate_data", "prepare", "train"]


def test_a_second_training_executes_only_what_the_new_champion_changes(trainings: Trainings, tmp_path: Path) -> None:
    definition = str(write_pipeline(tmp_path / "trips", make_trips()))

    first, second, third = (trainings.everfit("train", definition) for _ in range(3))

    assert [finished.code for finished in (first, second, third)] == [0, 0, 0]
    assert set(first.steps.values()) == {"executed (first time)"}
    assert _reused(second) == _FIRST
    assert second.steps["evaluate"] == "executed (changed: input champion)"
    assert _reused(third) == ["extract", "validate_data", "prepare", "train", "evaluate", "validate_model", "refit"]
    assert third.steps["promote"] == "executed (changed: input run)"


# Each row: what changes of the definition, the steps that are reused, and what is said of one that is not.
CHANGES: list[tuple[dict[str, Any], list[str], str, str]] = [
    ({"prepare": {"features": ["features:add_hour"], "exclude": ["company"]}}, _FIRST[:2], "prepare", "parameters"),
    ({"train": {"estimators": [_SHALLOW]}}, _FIRST[:3], "train", "parameters"),
    ({"evaluate": {"slices": ["company"]}}, _FIRST, "evaluate", "parameters, input champion"),
    ({"validate_model": {"confidence": 0.9}}, _FIRST, "validate_model", "parameters, input evaluation"),
]


@pytest.mark.parametrize(
    ("change", "reused", "step", "why"), CHANGES, ids=[next(iter(row[0])) + row[3] for row in CHANGES]
)
def test_a_change_of_the_definition_executes_what_depends_on_it(
    change: dict[str, Any], reused: list[str], step: str, why: str, trainings: Trainings, tmp_path: Path
) -> None:
    data = make_trips()
    definition = str(write_pipeline(tmp_path / "trips", data))
    before = trainings.everfit("train", definition)
    write_pipeline(tmp_path / "trips", data, define(**change))

    after = trainings.everfit("train", definition)

    assert (before.code, after.code) == (0, 0)
    assert _reused(after) == reused
    assert after.steps[step] == f"executed (changed: {why})"


def test_other_feature_code_is_another_preparation(trainings: Trainings, tmp_path: Path) -> None:
    data = make_trips()
    definition = str(write_pipeline(tmp_path / "trips", data))
    trainings.everfit("train", definition)
    write_pipeline(tmp_path / "trips", data, features="def add_hour(frame):\n    return frame.assign(hour=1.0)\n")

    after = trainings.everfit("train", definition)

    assert _reused(after) == ["extract", "validate_data"]
    assert after.steps["prepare"] == "executed (changed: parameters)"


def test_a_stored_result_that_is_gone_is_made_again(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    definition = str(write_pipeline(tmp_path / "trips", make_trips()))
    trainings.everfit("train", definition)
    with registry.database.read() as session:
        (run,) = list_runs(session)
        steps = {step.step: step for step in list_steps(session, run.id)}
    digest = steps["prepare"].output["artifact"]["digest"]
    (trainings.home / "artifacts" / "sha256" / digest[:2] / f"{digest}.parquet").unlink()

    again = trainings.everfit("train", definition)

    assert again.code == 0
    assert _reused(again) == ["extract", "validate_data", "train"]
    assert again.steps["prepare"] == "executed (a file of its stored result is gone)"


def test_another_moment_is_another_snapshot(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    definition = str(write_pipeline(tmp_path / "trips", make_trips()))
    trainings.everfit("train", definition)

    earlier = trainings.everfit("train", definition, "--as-of", "2013-01-15", "--json")

    assert earlier.steps["extract"] == "executed (changed: parameters)"
    assert earlier.document["rows"] == 24 * 14 + 1
    with registry.database.read() as session:
        newest, _ = list_versions(session, "trips")
    assert newest.manifest["watermark"] == "2013-01-15T00:00:00Z"


def test_two_pipelines_over_the_same_data_share_nothing(trainings: Trainings, tmp_path: Path) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips())
    shutil.copytree(definition.parent, tmp_path / "rides")
    other = tmp_path / "rides" / "pipeline.yaml"
    other.write_text(other.read_text().replace("name: trips", "name: rides"))

    trainings.everfit("train", str(definition))
    rides = trainings.everfit("train", str(other))

    assert set(rides.steps.values()) == {"executed (first time)"}


def test_a_contract_that_changes_judges_again(trainings: Trainings, tmp_path: Path) -> None:
    data = make_trips()
    definition = str(write_pipeline(tmp_path / "trips", data))
    trainings.everfit("train", definition)
    columns = CONTRACT["columns"] | {"distance": {"type": "number", "minimum": 0, "maximum": 19.5}}
    write_pipeline(tmp_path / "trips", data, contract={"columns": columns})

    after = trainings.everfit("train", definition, "--json")

    assert _reused(after) == ["extract"]
    assert after.steps["validate_data"] == "executed (changed: parameters)"
    assert after.document["quarantined"] == {"distance is above 19.5": int((data["distance"] > 19.5).sum())}


def _reused(finished: Finished) -> list[str]:
    return [step for step, what in finished.steps.items() if what.startswith(_AS_BEFORE)]
