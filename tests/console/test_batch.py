"""`everfit batch`: what it says, its exit codes and its options; what it does, tests/tasks/batch/test_prediction.py."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from registry.store import Registry
from tests.console.conftest import Everfit
from tests.serving.models import make_rows, promote, register_model


@pytest.fixture(autouse=True)
def rows(registry: Registry, tmp_path: Path) -> pd.DataFrame:
    """Rows in a file, version 1 as the champion, and a version 2 that is none."""
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    frame = pd.DataFrame(make_rows(40)).assign(number=range(40))
    frame.to_parquet(tmp_path / "rows.parquet")
    return frame


def test_it_tells_where_the_rows_are_and_a_second_time_that_they_are_there(everfit: Everfit) -> None:
    first = everfit("batch", "trips", "--input", "rows.parquet", "--output", "out.parquet", "--columns", "number,at")
    second = everfit("batch", "trips", "--input", "rows.parquet", "--output", "out.parquet", "--columns", "number,at")

    assert (first.code, second.code) == (0, 0)
    assert first.out.startswith("40 of 40 rows with predictions of trips@1 are in ")
    assert "rows/s" in first.out
    assert "has these rows with predictions of trips@1 already" in second.out
    assert pq.read_schema("out.parquet").names[:3] == ["number", "at", "prediction"]


def test_rows_set_aside_are_exit_code_3_and_a_warning(everfit: Everfit, rows: pd.DataFrame) -> None:
    rows.loc[3, "distance"] = -1.0
    rows.to_parquet("rows.parquet")

    finished = everfit("batch", "trips", "--input", "rows.parquet", "--output", "out.csv", "--json")
    refused = everfit(
        "batch", "trips", "--input", "rows.parquet", "--output", "no.csv", "--max-rejected", "0.01", "--json"
    )

    document = finished.document
    assert (finished.code, document["n_rejected"], document["n_predicted"]) == (3, 1, 39)
    assert json.loads(Path(document["rejected"]).read_text())["row"] == 3
    assert "1 rows are set aside" in finished.err
    assert (refused.code, Path("no.csv").exists()) == (3, False)
    assert "at least 1 of 40 rows" in refused.document["error"]


def test_a_version_is_asked_by_its_number(everfit: Everfit) -> None:
    answers = {}
    for number in ("1", "2"):
        target = f"out{number}.parquet"
        everfit("batch", "trips", "--input", "rows.parquet", "--output", target, "--version", number)
        answers[number] = pq.read_table(target)["prediction"].to_pylist()

    assert answers["1"] != answers["2"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("trips@1",), "the version goes into --version or --alias"),
        (("trips", "--version", "1", "--alias", "champion"), "either --version or --alias"),
        (("trips", "--version", "9"), "has no version 9"),
        (("tripz",), "tripz"),
    ],
)
def test_what_cannot_be_is_exit_code_2(everfit: Everfit, arguments: tuple[str, ...], message: str) -> None:
    finished = everfit("batch", *arguments, "--input", "rows.parquet", "--output", "out.parquet")

    assert message in finished.err
    assert finished.code in (2, 4)
    assert not list(Path().glob("out.parquet*"))
