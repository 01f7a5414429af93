"""Who does the jobs of a backtest: processes of this machine, or one of Prefect's task runners."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing import get_context
from typing import Any, Protocol, cast

from prefect import task
from prefect.cache_policies import NO_CACHE

from base.settings import Settings
from tasks.backtest.jobs import Job, JobResult, Place, do_job
from tasks.parallel_fits import end_with_parent, make_runner


class Future(Protocol):
    """A job that is under way."""

    def result(self) -> JobResult:
        """Wait for the job, and return what came of it or raise what went wrong."""


class Workers(Protocol):
    """Does jobs, several at a time."""

    def submit(self, place: Place, job: Job) -> Future:
        """Hand a job out."""

    def first(self, futures: Sequence[Future]) -> Future:
        """Wait until one of some jobs is done, and return it."""


class Order:
    """A job and its place as one thing: Prefect would look into them, and take the keys of a contract for a method."""

    def __init__(self, place: Place, job: Job) -> None:
        self.place = place
        self.job = job

    def __str__(self) -> str:
        return f"{self.job.kind} {self.job.policy.name}"


@task(name="backtest a stretch", task_run_name="{order}", cache_policy=NO_CACHE, persist_result=False)
def do_job_task(order: Order) -> JobResult:
    """Do a job of a backtest in a worker of Prefect's task runner."""
    return do_job(order.place, order.job)


@contextmanager
def local_workers(settings: Settings) -> Iterator[Workers]:
    """Give processes of this machine: as many as the settings have fits at a time, and no Prefect server."""
    context = get_context("spawn")
    lanes = [
        _Lane(ProcessPoolExecutor(1, mp_context=context, initializer=end_with_parent))
        for _ in range(settings.fit_workers)
    ]
    try:
        yield _Processes(lanes)
    finally:
        for lane in lanes:
            lane.pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def prefect_workers(settings: Settings) -> Iterator[Workers]:
    """Give the workers of Prefect's task runner: processes, or Dask's where the settings say so."""
    runner = settings.fit_runner if settings.fit_runner == "dask" else "processes"
    with make_runner(settings.model_copy(update={"fit_runner": runner})) as made:
        yield _PrefectRunner(made)


@dataclass
class _Lane:
    """One process, and what it has to do."""

    pool: ProcessPoolExecutor
    given: list[concurrent.futures.Future[JobResult]] = field(default_factory=list)

    @property
    def n_waiting(self) -> int:
        self.given = [future for future in self.given if not future.done()]
        return len(self.given)


class _Processes:
    """Lets a policy stay with the process that knows its models, as long as no other one would be idle."""

    def __init__(self, lanes: Sequence[_Lane]) -> None:
        self._lanes = lanes
        self._lane_of: dict[str, _Lane] = {}

    def submit(self, place: Place, job: Job) -> Future:
        freest = min(self._lanes, key=lambda lane: lane.n_waiting)
        lane = self._lane_of.get(job.policy.name, freest)
        if lane.n_waiting and not freest.n_waiting:
            lane = freest
        self._lane_of[job.policy.name] = lane
        future = lane.pool.submit(do_job, place, job)
        lane.given.append(future)
        return future

    def first(self, futures: Sequence[Future]) -> Future:
        given = cast(Sequence[concurrent.futures.Future[JobResult]], futures)
        done, _ = concurrent.futures.wait(given, return_when=concurrent.futures.FIRST_COMPLETED)
        return next(future for future in futures if future in done)


class _PrefectRunner:
    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def submit(self, place: Place, job: Job) -> Future:
        future: Future = self._runner.submit(do_job_task, parameters={"order": Order(place, job)})
        return future

    def first(self, futures: Sequence[Future]) -> Future:
        return futures[0]
