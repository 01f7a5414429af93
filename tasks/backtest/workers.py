"""Who does the jobs of a backtest: processes of this machine, or one of Prefect's task runners."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from typing import Any, Protocol

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
    pool = ProcessPoolExecutor(settings.fit_workers, mp_context=get_context("spawn"), initializer=end_with_parent)
    try:
        yield _Processes(pool)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


@contextmanager
def prefect_workers(settings: Settings) -> Iterator[Workers]:
    """Give the workers of Prefect's task runner: processes, or Dask's where the settings say so."""
    runner = settings.fit_runner if settings.fit_runner == "dask" else "processes"
    with make_runner(settings.model_copy(update={"fit_runner": runner})) as made:
        yield _PrefectRunner(made)


class _Processes:
    def __init__(self, pool: ProcessPoolExecutor) -> None:
        self._pool = pool

    def submit(self, place: Place, job: Job) -> Future:
        return self._pool.submit(do_job, place, job)


class _PrefectRunner:
    def __init__(self, runner: Any) -> None:
        self._runner = runner

    def submit(self, place: Place, job: Job) -> Future:
        future: Future = self._runner.submit(do_job_task, parameters={"order": Order(place, job)})
        return future
