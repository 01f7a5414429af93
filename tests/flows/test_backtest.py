"""A backtest as a flow: what was asked reaches the engine, and the answer is left in Prefect's UI."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from base.settings import Settings
from tasks.backtest.files import read_result
from tasks.backtest.policies import EVERY_WINDOW, NEVER, OWN
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.result import BacktestResult
from tasks.backtest.workers import prefect_workers
from tests.pipelines import make_trips, write_pipeline
from tests.prefect_server import TestServer
from tests.tasks.backtest.histories import START, definition, make_history
from tests.tasks.backtest.results import make_result

pytestmark = pytest.mark.prefect


def test_a_flow_leaves_files_and_an_artifact_that_says_what_to_take(
    prefect_server: TestServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from prefect.client.orchestration import get_client

    from flows.backtest import backtest

    asked: list[BacktestRequest] = []

    def replay(
        pipeline: Any, settings: Any, request: BacktestRequest, *, progress: Any, workers: Any
    ) -> BacktestResult:
        assert workers is prefect_workers
        asked.append(request)
        progress(BacktestProgress(1, 240, "never", None))
        return make_result(pipeline=pipeline.name)

    monkeypatch.setattr("tasks.backtest.run.run_backtest", replay)
    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    written = write_pipeline(tmp_path / "trips", make_trips())

    found = backtest(str(written), start=datetime(2013, 1, 5), price=0.5)  # noqa: DTZ001 (as a form gives it)

    result = read_result(Path(found["folder"]))
    assert asked == [BacktestRequest(start=datetime(2013, 1, 5, tzinfo=UTC), price=0.5)]
    assert found["recommended"] == result.recommended
    assert Path(found["page"]).is_relative_to(settings.home / "backtests" / "trips")
    with get_client(sync_client=True) as client:
        (artifact,) = [one for one in client.read_artifacts() if one.key == "trips-backtest"]
    assert str(artifact.data).startswith("# Backtest of trips\n**Take ")
    assert f"]({Path(found['page']).as_uri()})" in str(artifact.data)


@pytest.mark.slow
def test_the_flow_walks_in_the_workers_of_prefect_s_task_runner(
    prefect_server: TestServer, settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from flows.backtest import backtest

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    written = write_pipeline(tmp_path / "trips", make_history(5), definition())
    (tmp_path / "policies.yaml").write_text("policies:\n  - {name: every other, every: 2}\n")

    found = backtest(str(written), start=START, policies=str(tmp_path / "policies.yaml"))

    result = read_result(Path(found["folder"]))
    assert {policy.name for policy in result.policies} == {NEVER, EVERY_WINDOW, "every other", OWN}
    assert result.is_complete
    assert result.n_judged == result.n_windows >= 3
    assert result.n_fits > 0
