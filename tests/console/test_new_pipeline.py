"""`everfit init`: a pipeline that can be trained as it is, or nothing at all."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import console.draft_files
from base.definition import read_pipeline
from base.pipeline import Target
from base.sources import normalise, read_source
from base.user_code import UserCode
from console.drafting import parse_target
from features.plan import apply_functions
from tests.console.conftest import Everfit

pytestmark = pytest.mark.usefixtures("rentals")


def _init(everfit: Everfit, name: str = "bike", **options: str) -> int:
    arguments = {"data": "rentals.parquet", "target": "rentals", "time": "at"} | options
    return everfit("init", name, *(word for key, value in arguments.items() for word in (f"--{key}", value))).code


def test_what_init_writes_is_a_pipeline(everfit: Everfit, tmp_path: Path) -> None:
    assert _init(everfit) == 0

    pipeline = read_pipeline(tmp_path / "bike")
    assert (pipeline.name, pipeline.spec.task, pipeline.spec.target) == ("bike", "regression", "rentals")
    assert set(pipeline.spec.prepare.exclude) == {"guests", "members", "sensor"}
    assert read_source(pipeline.spec.extract.source, pipeline.folder).num_rows == 600
    assert sorted(path.name for path in pipeline.folder.iterdir()) == [
        "card.md",
        "contract.yaml",
        "features.py",
        "pipeline.yaml",
    ]


def test_the_data_keep_the_contract_that_init_wrote(everfit: Everfit, tmp_path: Path, rentals: Path) -> None:
    _init(everfit)

    contract = read_pipeline(tmp_path / "bike").contract

    assert contract is not None
    assert contract.unique == ("at",)
    assert contract.find_faults(normalise(read_source(str(rentals), tmp_path)).to_pylist()) == []


def test_a_suspect_is_named_on_the_terminal_and_in_the_definition_with_its_reason(
    everfit: Everfit, tmp_path: Path
) -> None:
    finished = everfit("init", "bike", "--data", "rentals.parquet", "--target", "rentals", "--time", "at")

    reason = "together with 'members' it adds up to 'rentals'"
    assert "warning: guests, members: known only after rentals" in finished.err
    assert f"guests    leak   {reason}" in finished.out
    assert f"    - guests  # {reason}\n" in (tmp_path / "bike/pipeline.yaml").read_text()


def test_the_feature_function_that_init_writes_works_when_it_is_switched_on(
    everfit: Everfit, tmp_path: Path, rentals: Path
) -> None:
    _init(everfit)
    definition = tmp_path / "bike/pipeline.yaml"

    definition.write_text(definition.read_text().replace("features: []", "features: [features:add_calendar]"))

    pipeline = read_pipeline(definition)
    rows = apply_functions(pd.read_parquet(rentals), pipeline.spec.prepare.features, UserCode(pipeline.code))
    assert rows["row_hour"].head(3).tolist() == [0, 1, 2]


def test_an_expression_becomes_a_named_target(everfit: Everfit, tmp_path: Path) -> None:
    assert _init(everfit, target="busy = rentals > 75") == 0

    spec = read_pipeline(tmp_path / "bike").spec
    assert (spec.task, spec.target) == ("classification", Target(name="busy", expression="rentals > 75"))
    assert "rentals" in spec.prepare.exclude


def test_features_that_the_target_is_computed_from_are_named(everfit: Everfit, tmp_path: Path) -> None:
    data = ("init", "bike", "--data", "rentals.parquet", "--time", "at", "--json")

    finished = everfit(*data, "--target", "hot = rentals + 0.1 * temperature > 80")

    assert "temperature: hot is computed from it, and it stays a feature" in finished.err
    assert json.loads(finished.out)["parts_of_target"] == ["temperature"]
    left = everfit(*data, "--force", "--target", "busy = rentals > 75")
    assert "computed from it, and it stays" not in left.err
    assert json.loads(left.out)["parts_of_target"] == []


@pytest.mark.parametrize(
    ("target", "task"),
    [
        ("rentals", "regression"),
        ("temperature", "regression"),
        ("weather", "classification"),
        ("is_holiday", "classification"),
        ("rentals // 30", "classification"),
    ],
)
def test_the_task_is_what_the_target_looks_like(everfit: Everfit, tmp_path: Path, target: str, task: str) -> None:
    assert _init(everfit, target=target) == 0

    assert read_pipeline(tmp_path / "bike").spec.task == task


def test_the_task_may_be_told(everfit: Everfit, tmp_path: Path) -> None:
    assert _init(everfit, target="rentals // 30", task="regression") == 0

    assert read_pipeline(tmp_path / "bike").spec.task == "regression"


def test_without_a_time_the_rows_order_counts(everfit: Everfit, tmp_path: Path) -> None:
    finished = everfit("init", "bike", "--data", "rentals.parquet", "--target", "rentals")

    assert finished.code == 0
    assert "without --time the rows' order stands for time" in finished.err
    assert read_pipeline(tmp_path / "bike").spec.time is None


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        ({"data": "rentals.parket"}, 2, "there is no such file; did you mean 'rentals.parquet'"),
        ({"data": "features:load"}, 2, "'features:load' is a function"),
        ({"target": "rental"}, 2, "--target 'rental' is no column; did you mean 'rentals'"),
        ({"target": "rentals > mean"}, 2, "'mean' is no column"),
        ({"target": "rentals >"}, 2, "expected an expression"),
        ({"target": "at = rentals > 75"}, 2, "the name 'at' is a column's already"),
        ({"target": "rentals + weather"}, 2, "cannot be computed"),
        ({"target": "at"}, 2, "--target and --time are both 'at'"),
        ({"target": "at", "time": "rentals"}, 3, "time column 'rentals' is refused"),
        ({"time": "when"}, 2, "--time 'when' is no column"),
        ({"time": "weather"}, 3, "time column 'weather' is refused"),
        ({"task": "ranking"}, 2, "--task is 'ranking', expected 'classification' or 'regression'"),
        ({"target": "weather", "task": "regression"}, 2, "'weather' is string; expected numbers"),
        ({"target": "sensor"}, 3, "column 'sensor': found null in every row, expected at least two values"),
        ({"target": "always = rentals > -1"}, 3, "found True in every row that has a value"),
    ],
)
def test_what_cannot_be_a_pipeline_is_refused_and_leaves_nothing(
    everfit: Everfit, tmp_path: Path, options: dict[str, str], code: int, message: str
) -> None:
    arguments = {"data": "rentals.parquet", "target": "rentals", "time": "at"} | options
    before = sorted(tmp_path.iterdir())

    finished = everfit("init", "bike", *(word for key, value in arguments.items() for word in (f"--{key}", value)))

    assert (finished.code, finished.out) == (code, "")
    assert message in finished.err
    assert sorted(tmp_path.iterdir()) == before


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("at,n\n", "0 rows, expected at least 100"),
        ("at,n\n2024,1\n2025,2\n", "2 rows, expected at least 100"),
        ("at,n\n" + "2024-01-01,1\n2024-01-02,2\n" * 60, "a column that may be a feature"),
    ],
)
def test_data_of_which_nothing_can_be_learnt_are_refused(
    everfit: Everfit, tmp_path: Path, rows: str, message: str
) -> None:
    (tmp_path / "rows.csv").write_text(rows)

    finished = everfit("init", "tiny", "--data", "rows.csv", "--target", "n", "--time", "at")

    assert finished.code == 3
    assert not (tmp_path / "tiny").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("Bike-Rentals", "such as 'bike_rentals'"),
        ("1", "expected lower-case letters"),
        ("nowhere/bike", "there is no folder"),
        ("rentals.parquet", "is a file"),
    ],
)
def test_a_wrong_name_is_refused(everfit: Everfit, name: str, message: str) -> None:
    finished = everfit("init", name, "--data", "rentals.parquet", "--target", "rentals")

    assert finished.code == 2
    assert message in finished.err


def test_a_folder_that_is_there_is_kept(everfit: Everfit, tmp_path: Path) -> None:
    (tmp_path / "bike").mkdir()
    (tmp_path / "bike/features.py").write_text("# mine")

    assert _init(everfit) == 2
    assert [path.read_text() for path in (tmp_path / "bike").iterdir()] == ["# mine"]


def test_an_empty_folder_is_taken(everfit: Everfit, tmp_path: Path) -> None:
    (tmp_path / "bike").mkdir()

    assert _init(everfit) == 0


def test_force_replaces_the_folder_and_keeps_the_old_one_beside_it(everfit: Everfit, tmp_path: Path) -> None:
    (tmp_path / "bike").mkdir()
    (tmp_path / "bike/features.py").write_text("# mine")

    finished = everfit("init", "bike", "--data", "rentals.parquet", "--target", "rentals", "--force", "--json")

    assert (Path(finished.document["replaced"]) / "features.py").read_text() == "# mine"
    assert read_pipeline(tmp_path / "bike").name == "bike"


def test_a_failure_while_writing_leaves_nothing(
    everfit: Everfit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(console.draft_files, "write_contract", fail)
    before = sorted(tmp_path.iterdir())

    assert _init(everfit) == 4
    assert [path for path in sorted(tmp_path.iterdir()) if path.name != "home"] == before


def test_the_source_is_written_as_seen_from_the_pipeline_s_folder(everfit: Everfit, tmp_path: Path) -> None:
    (tmp_path / "pipelines").mkdir()

    _init(everfit, "pipelines/bike", data=str(tmp_path / "rentals.parquet"))

    assert read_pipeline(tmp_path / "pipelines/bike").spec.extract.source == "../../rentals.parquet"


def test_the_window_holds_enough_rows_to_be_judged(everfit: Everfit, tmp_path: Path) -> None:
    frame = pd.DataFrame({"at": pd.date_range("2020-01-01", periods=300, freq="D"), "n": np.arange(300) % 7, "x": 1.5})
    frame.to_csv(tmp_path / "days.csv", index=False)

    _init(everfit, data="days.csv", target="n > 3")

    assert read_pipeline(tmp_path / "bike").spec.monitor.period.days == 364


def test_the_result_as_json_tells_what_was_chosen(everfit: Everfit) -> None:
    finished = everfit("init", "bike", "--data", "rentals.parquet", "--target", "rentals", "--time", "at", "--json")

    document = json.loads(finished.out)
    assert document["features"] == ["temperature", "weather", "is_holiday"]
    assert [(item["column"], item["kind"]) for item in document["excluded"]] == [
        ("guests", "leak"),
        ("members", "leak"),
        ("sensor", "empty"),
    ]
    assert (document["n_rows"], document["first"]) == (600, "2024-01-01T00:00:00+00:00")


def test_columns_with_strange_names_are_written_so_that_they_are_read_back(everfit: Everfit, tmp_path: Path) -> None:
    names = ["no", "a: b", "# c", "ä 'q\" {x}", "- d", "12", "e\\n", "f\x85g"]
    numbers = np.arange(200)
    frame = pd.DataFrame({name: numbers * 3 + place for place, name in enumerate(names)})
    frame = frame.assign(at=pd.date_range("2024-01-01", periods=200, freq="h"), x=numbers % 7, y=numbers % 3)
    frame.to_csv(tmp_path / "rows.csv", index=False)

    assert _init(everfit, data="rows.csv", target="y") == 0
    assert set(read_pipeline(tmp_path / "bike").spec.prepare.exclude) == set(names)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("tips", "tips"),
        ("a b", "a b"),
        ("tips > 2", Target(name="target", expression="tips > 2")),
        ("big=tips == 2", Target(name="big", expression="tips == 2")),
        ("tips == 2", Target(name="target", expression="tips == 2")),
        ("tips >= 2", Target(name="target", expression="tips >= 2")),
    ],
)
def test_a_target_is_a_column_or_an_expression(text: str, expected: str | Target) -> None:
    assert parse_target(text, ["tips", "a b"]) == expected
