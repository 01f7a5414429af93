"""A backtest on disk: what is written is read back equal, and a folder with a result is whole."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

import tasks.backtest.files
from tasks.backtest.files import BacktestFiles, read_result, tabulate_windows, write_files
from tasks.backtest.result import BacktestResult, ReplayedTraining, ReplayedWindow
from tests.tasks.backtest.results import make_result
from tests.tasks.backtest.test_page import ODD


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_a_result_is_read_back_equal(result: BacktestResult, tmp_path: Path) -> None:
    write_files(result, tmp_path / "backtest")

    assert read_result(tmp_path / "backtest") == result


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_the_tables_hold_every_field_of_every_window_and_training(result: BacktestResult, tmp_path: Path) -> None:
    files = write_files(result, tmp_path)

    windows, trainings = (pq.read_table(file).to_pylist() for file in (files.windows, files.trainings))

    assert [(row.pop("policy"), ReplayedWindow.model_validate(row)) for row in windows] == [
        (policy.name, window) for policy in result.policies for window in policy.windows
    ]
    assert [(row.pop("policy"), ReplayedTraining.model_validate(row)) for row in trainings] == [
        (policy.name, training) for policy in result.policies for training in policy.trainings
    ]


def test_columns_without_a_value_keep_their_type() -> None:
    full, empty = make_result(), make_result().model_copy(update={"policies": ()})

    assert tabulate_windows(empty).schema == tabulate_windows(full).schema
    assert str(tabulate_windows(empty).schema.field("learnt_until").type) == "timestamp[us, tz=UTC]"


def test_a_folder_has_a_result_only_when_it_has_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(result: BacktestResult) -> str:
        raise OSError("no space left on device")

    monkeypatch.setattr(tasks.backtest.files, "render_backtest", fail)

    with pytest.raises(OSError, match="no space left"):
        write_files(make_result(), tmp_path)

    assert not BacktestFiles(tmp_path).result.exists()
    assert not list(tmp_path.glob(".writing-*"))
