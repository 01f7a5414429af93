"""A backtest as a flow: what was asked reaches the engine, and the answer is left in Prefect's UI."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from base.settings import Settings
from tasks.backtest.files import read_result
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.result import BacktestResult
from tests.pipelines import make_trips, write_pipeline
from tests.prefect_server import TestServer
from tests.tasks.backtest.results import make_result

pytestmark = pytest.mark.prefect


def test_a_flow_leaves_files_and_an_artifact_that_says_what_to_take(
    prefect_server: TestServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows.backtest import backtest

    asked: list[BacktestRequest] = []

    def replay(pipeline: Any, settings: Any, request: BacktestRequest, *, progress: Any) -> BacktestResult:
        asked.append(request)
        progress(BacktestProgress(1, 240, "never", None))
        return make_result(pipeline=pipeline.name)

    monkeypatch.setattr("tasks.backtest.run.run_backtest", replay)
    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    definition = write_pipeline(tmp_path / "trips", make_trips())

    found = backtest(str(definition), start=datetime(2013, 1, 5), price=0.5)  # noqa: DTZ001 (as a form gives it)

    result = read_result(Path(found["folder"]))
    assert asked == [BacktestRequest(start=datetime(2013, 1, 5, tzinfo=UTC), price=0.5)]
    assert found["recommended"] == result.recommended
    assert Path(found["page"]).is_relative_to(settings.home / "backtests" / "trips")
    with get_client(sync_client=True) as client:
        (artifact,) = [one for one in client.read_artifacts() if one.key == "trips-backtest"]
    assert str(artifact.data).startswith("# Backtest of trips\n**Take ")
    assert f"]({Path(found['page']).as_uri()})" in str(artifact.data)
