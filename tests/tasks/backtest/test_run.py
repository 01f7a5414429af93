"""Claims about whole backtests: what is shared, stopped or killed changes no decision, and a budget gives an answer."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from base.pipeline import Pipeline
from base.settings import Settings
from tasks.backtest import jobs
from tasks.backtest.jobs import Job, JobResult, Place, do_job
from tasks.backtest.policies import EVERY_WINDOW, NEVER, OWN
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.result import BacktestResult
from tasks.backtest.run import run_backtest
from tests.pipelines import make_pipeline
from tests.tasks.backtest.histories import START, definition, make_history

pytestmark = pytest.mark.slow

POLICIES = """policies:
  - name: every third
    every: 3
  - name: level
    triggers: {policy: level}
"""


class _Here:
    """Does jobs at once, in this process."""

    def submit(self, place: Place, job: Job) -> Future[JobResult]:
        done: Future[JobResult] = Future()
        done.set_result(do_job(place, job))
        return done

    def first(self, futures: Sequence[Any]) -> Any:
        return futures[0]


@contextmanager
def _here(_: Settings) -> Iterator[_Here]:
    jobs._benches.clear()
    yield _Here()


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    folder = tmp_path_factory.mktemp("trips")
    (folder / "policies.yaml").write_text(POLICIES)
    return make_pipeline(folder, make_history(6), definition())


def _run(pipeline: Pipeline, home: Path, **request: Any) -> BacktestResult:
    asked = BacktestRequest(start=START, policies=pipeline.folder / "policies.yaml", **request)
    return run_backtest(pipeline, Settings(home=home), asked, workers=_here)


@pytest.fixture(scope="module")
def whole(pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> BacktestResult:
    return _run(pipeline, tmp_path_factory.mktemp("home"))


def _decisions(result: BacktestResult) -> dict[str, list[tuple[Any, ...]]]:
    return {
        policy.name: [
            (window.number, window.version, window.loss, window.asked, window.ruling, window.verdict, window.reason)
            for window in policy.windows
        ]
        for policy in result.policies
    }


def test_policies_are_compared_and_one_is_recommended_that_can_be_pasted(whole: BacktestResult) -> None:
    names = [policy.name for policy in whole.policies]

    assert set(names) == {NEVER, EVERY_WINDOW, "every third", "level", OWN}
    assert [policy.cost for policy in whole.policies] == sorted(policy.cost for policy in whole.policies)
    assert whole.recommended in names
    assert whole.yaml.startswith("triggers:")
    assert whole.is_complete
    assert whole.n_judged == whole.n_windows >= 5
    assert whole.find(EVERY_WINDOW).n_trainings == whole.n_windows
    assert whole.oracle_cost is not None
    assert whole.oracle_cost <= min(whole.find(name).cost for name in (NEVER, EVERY_WINDOW)) + 1e-9


def test_fits_that_are_not_shared_decide_the_same_with_more_of_them(
    pipeline: Pipeline, whole: BacktestResult, tmp_path: Path
) -> None:
    alone = _run(pipeline, tmp_path, shares_fits=False)

    assert _decisions(alone) == _decisions(whole)
    assert alone.n_fits_reused == 0
    assert alone.n_fits > 1.5 * whole.n_fits


def test_a_budget_that_ends_gives_the_answer_so_far_and_the_next_run_goes_on(
    pipeline: Pipeline, whole: BacktestResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = time.monotonic()
    ticks = iter(range(10_000))
    monkeypatch.setattr("tasks.backtest.course.time.monotonic", lambda: started + next(ticks))
    early = _run(pipeline, tmp_path, budget=9)
    monkeypatch.undo()

    later = _run(pipeline, tmp_path)

    assert not early.is_complete
    assert early.n_judged < early.n_windows
    assert "budget" in early.notes[0]
    assert later.is_complete
    assert _decisions(later) == _decisions(whole)


def test_the_same_again_fits_nothing(pipeline: Pipeline, tmp_path: Path) -> None:
    first = _run(pipeline, tmp_path)
    second = _run(pipeline, tmp_path)

    assert first.n_fits > 0
    assert second.n_fits == 0
    assert _decisions(second) == _decisions(first)


def test_a_walk_whose_file_a_loss_of_power_has_spoilt_begins_again(
    pipeline: Pipeline, whole: BacktestResult, tmp_path: Path
) -> None:
    _run(pipeline, tmp_path)
    states = sorted(file for file in tmp_path.rglob("*.json") if file.parent.name == "walks")
    states[0].write_bytes(states[0].read_bytes()[:100])
    states[1].write_bytes(b"")

    again = _run(pipeline, tmp_path)

    assert len(states) == 5
    assert again.is_complete
    assert _decisions(again) == _decisions(whole)


def test_progress_goes_up_to_its_end(pipeline: Pipeline, tmp_path: Path) -> None:
    told: list[BacktestProgress] = []
    asked = BacktestRequest(start=START, policies=pipeline.folder / "policies.yaml")

    run_backtest(pipeline, Settings(home=tmp_path), asked, progress=told.append, workers=_here)

    walked = [progress for progress in told if progress.total > 1]
    assert [progress.done for progress in walked] == sorted(progress.done for progress in walked)
    assert walked[-1].done == walked[-1].total


_KILLED = """
import sys
from pathlib import Path
from base.definition import read_pipeline
from base.settings import Settings
from tests.tasks.backtest.histories import START
from tasks.backtest.request import BacktestRequest
from tasks.backtest.run import run_backtest

if __name__ == "__main__":
    folder, home = Path(sys.argv[1]), Path(sys.argv[2])
    asked = BacktestRequest(start=START, policies=folder / "policies.yaml")
    run_backtest(read_pipeline(folder), Settings(home=home), asked)
"""


def test_a_backtest_that_is_killed_over_and_over_ends_as_an_undisturbed_one(
    pipeline: Pipeline, whole: BacktestResult, tmp_path: Path
) -> None:
    script = tmp_path / "killed.py"
    script.write_text(_KILLED)
    root = Path(__file__).parents[3]
    for seconds in (6, 9, 12, 15):
        process = subprocess.Popen(
            [sys.executable, str(script), str(pipeline.folder), str(tmp_path / "home")],
            env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )
        try:
            process.wait(seconds)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()

    assert _decisions(_run(pipeline, tmp_path / "home")) == _decisions(whole)
