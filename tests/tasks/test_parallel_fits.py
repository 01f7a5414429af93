"""Claims about fits in parallel: a budget of seconds ends the handing out, and a dead worker takes one fit along."""

from __future__ import annotations

import time
from typing import Any

import pytest
from prefect.task_runners import ProcessPoolTaskRunner, ThreadPoolTaskRunner

from base.settings import Settings
from tasks.fit_jobs import OUT_OF_BUDGET, FitJob, FitResult
from tasks.parallel_fits import make_runner, run_within_budget


class _Future:
    """A fit whose answer takes a while to fetch, or never comes."""

    def __init__(self, number: int, clock: list[float], *, seconds: float = 0.0, dies: bool = False) -> None:
        self.number, self._clock, self._seconds, self._dies = number, clock, seconds, dies

    def result(self) -> dict[str, Any]:
        self._clock[0] += self._seconds
        if self._dies:
            raise RuntimeError("the worker was killed\nby the system")
        return FitResult(loss=float(self.number), n_rows=1).model_dump(mode="json")


def _jobs(count: int, until: float | None) -> list[FitJob]:
    return [FitJob(estimator="a.B", parameters={"n": number}, fold=0, until=until) for number in range(count)]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which only fits move forward."""
    now = [1_000.0]
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


def test_nothing_is_handed_out_after_the_budget_is_over(clock: list[float]) -> None:
    handed_out: list[int] = []

    def submit(job: FitJob) -> _Future:
        handed_out.append(job.parameters["n"])
        return _Future(job.parameters["n"], clock, seconds=5.0)

    found = run_within_budget(_jobs(200, until=1_015.0), submit=submit, n_workers=2)

    assert handed_out == list(range(6))
    assert [result.loss for result in found[:6]] == [0.0, 1.0, 2.0, 3.0, 4.0, 5.0]
    assert {result.error for result in found[6:]} == {OUT_OF_BUDGET}
    assert all(result.ran_out for result in found[6:])
    assert len(found) == 200


def test_without_a_budget_all_are_handed_out_at_once(clock: list[float]) -> None:
    n_out = 0

    def submit(job: FitJob) -> _Future:
        nonlocal n_out
        n_out += 1
        return _Future(n_out, clock)

    found = run_within_budget(_jobs(50, until=None), submit=submit, n_workers=2)

    assert [result.loss for result in found] == [float(number) for number in range(1, 51)]


@pytest.mark.parametrize("until", [None, 2_000.0])
def test_a_worker_that_dies_takes_one_fit_along_and_the_order_stays(clock: list[float], until: float | None) -> None:
    found = run_within_budget(
        _jobs(5, until=until),
        submit=lambda job: _Future(job.parameters["n"], clock, dies=job.parameters["n"] == 3),
        n_workers=1,
    )

    assert [result.loss for result in found] == [0.0, 1.0, 2.0, None, 4.0]
    assert found[3].error == "the fit's worker failed (RuntimeError: the worker was killed)"
    assert not found[3].ran_out


@pytest.mark.parametrize(("name", "kind"), [("threads", ThreadPoolTaskRunner), ("processes", ProcessPoolTaskRunner)])
def test_the_settings_choose_the_runner(settings: Settings, name: str, kind: type[object]) -> None:
    chosen = settings.model_copy(update={"fit_runner": name, "fit_workers": 3})

    assert isinstance(make_runner(chosen), kind)
