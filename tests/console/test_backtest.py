"""`everfit backtest`: what it says, writes and refuses; what it finds, tests/tasks/backtest."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from base.errors import DataRefused
from tasks.backtest.files import read_result
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.result import BacktestResult
from tests.console.conftest import Everfit
from tests.pipelines import make_trips, write_pipeline
from tests.tasks.backtest.results import make_result


@dataclass
class Engine:
    """Stands for the engine: it tells its progress, and gives a result that was made before."""

    result: BacktestResult = field(default_factory=lambda: make_result(pipeline="trips"))
    error: BaseException | None = None
    requests: list[BacktestRequest] = field(default_factory=list)

    def __call__(self, pipeline: Any, settings: Any, request: BacktestRequest, *, progress: Any) -> BacktestResult:
        self.requests.append(request)
        progress(BacktestProgress(10, 240, "cost-aware", 23.0))
        if self.error is not None:
            raise self.error
        return self.result


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Engine:
    engine = Engine()
    monkeypatch.setattr("tasks.backtest.run.run_backtest", engine)
    return engine


@pytest.fixture(autouse=True)
def definition(tmp_path: Path) -> Path:
    return write_pipeline(tmp_path / "trips", make_trips())


def test_it_says_what_to_take_and_why_and_where_the_page_is(everfit: Everfit, engine: Engine, tmp_path: Path) -> None:
    finished = everfit("backtest", "trips")

    result = engine.result
    (folder,) = (tmp_path / "home" / "backtests" / "trips").iterdir()
    assert finished.code == 0
    assert f"take {result.recommended}: {result.why}" in finished.out
    assert all(policy.name in finished.out for policy in result.policies)
    assert all(f"    {line}" in finished.out for line in result.yaml.splitlines())
    assert f"page: {folder / 'page.html'}" in finished.out
    assert {path.name for path in folder.iterdir()} == {
        "page.html",
        "result.json",
        "trainings.parquet",
        "windows.parquet",
    }
    assert "10 of 240 steps, cost-aware, 23 s left" in finished.err


def test_json_is_the_result_without_windows_and_the_files(everfit: Everfit, engine: Engine) -> None:
    finished = everfit("backtest", "trips/pipeline.yaml", "--json")

    document = finished.document
    assert document["recommended"] == engine.result.recommended
    assert len(document["policies"]) == len(engine.result.policies)
    assert "windows" not in document["policies"][0]
    assert all(Path(file).is_file() for file in document["files"].values())
    assert set(document["files"]) == {"page", "result", "windows", "trainings"}


def test_options_reach_the_engine(everfit: Everfit, engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "policies.yaml").write_text("policies: []")
    options = ("--from", "2013-01-05", "--to", "2013-01-09", "--policies", "policies.yaml")

    everfit("backtest", "trips", *options, "--price", "0.5", "--budget", "120", "--again")

    assert engine.requests == [
        BacktestRequest(
            start=datetime(2013, 1, 5, tzinfo=UTC),
            stop=datetime(2013, 1, 9, tzinfo=UTC),
            policies=Path("policies.yaml"),
            price=0.5,
            budget=120.0,
            again=True,
        )
    ]


def test_page_tables_and_picture_go_where_they_are_wanted(everfit: Everfit, engine: Engine, tmp_path: Path) -> None:
    finished = everfit("backtest", "trips", "--output", "found", "--picture", "trips.svg", "--json")

    drawn = ElementTree.parse(tmp_path / "trips.svg")
    assert read_result(tmp_path / "found") == engine.result
    assert any(text.text == engine.result.recommended for text in drawn.iter("{http://www.w3.org/2000/svg}text"))
    assert finished.document["files"]["picture"] == str(tmp_path / "trips.svg")


def test_the_page_is_opened_where_that_is_asked(
    everfit: Everfit, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)

    everfit("backtest", "trips", "--open")

    (address,) = opened
    assert address.startswith("file://")
    assert address.endswith("/page.html")


def test_an_interrupted_one_says_that_the_next_goes_on(everfit: Everfit, engine: Engine, tmp_path: Path) -> None:
    engine.error = KeyboardInterrupt()

    finished = everfit("backtest", "trips", "--json")

    assert finished.code == 130
    assert "the same command goes on from there" in finished.err
    assert finished.document == {"error": "interrupted", "kind": "Interrupted", "exit_code": 130}
    assert not (tmp_path / "home" / "backtests").exists()


def test_an_answer_so_far_is_told_as_such(everfit: Everfit, engine: Engine) -> None:
    engine.result = make_result(pipeline="trips", is_complete=False)

    finished = everfit("backtest", "trips", "--budget", "1")

    assert finished.code == 0
    assert "this is the best answer so far" in finished.err


def test_no_policy_is_recommended_before_all_have_walked_a_window(everfit: Everfit, engine: Engine) -> None:
    engine.result = make_result(pipeline="trips", is_complete=False).model_copy(update={"n_judged": 0})

    finished = everfit("backtest", "trips", "--budget", "1")

    assert "There is no answer yet" in finished.out
    assert "take " not in finished.out
    assert "→" not in finished.out


def test_refused_data_are_exit_code_3(everfit: Everfit, engine: Engine) -> None:
    engine.error = DataRefused("the history of trips", [], "look at the rows")

    finished = everfit("backtest", "trips", "--json")

    assert (finished.code, finished.document["kind"]) == (3, "DataRefused")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tripz",), "nothing was trained here yet"),
        (("trips", "--from", "yesterday"), "--from: expected a moment"),
        (("trips", "--from", "2013-02-01", "--to", "2013-01-01"), "expected a moment before --to"),
        (("trips", "--price", "0"), "--price is 0.0, expected a number above 0"),
        (("trips", "--price", "nan"), "--price is nan, expected a number above 0"),
        (("trips", "--budget", "-1"), "--budget is -1.0, expected a number above 0"),
        (("trips", "--policies", "none.yaml"), "--policies: there is no file 'none.yaml'"),
        (("trips", "--picture", "trips.png"), "expected a file that ends in .svg"),
        (("trips", "--picture", "nowhere/trips.svg"), "there is no folder 'nowhere'"),
        (("trips", "--output", "trips/pipeline.yaml"), "a file; expected a folder"),
    ],
)
def test_what_cannot_be_is_exit_code_2_before_any_work(
    everfit: Everfit, engine: Engine, arguments: tuple[str, ...], message: str
) -> None:
    finished = everfit("backtest", *arguments, "--json")

    assert finished.code == 2
    assert message in json.loads(finished.out)["error"]
    assert engine.requests == []
