"""Fits in parallel, through one of Prefect's task runners: threads that watch processes, processes, or Dask."""

from __future__ import annotations

import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from base.artifacts import ArtifactStore
from base.errors import ArgumentError
from base.settings import Settings
from tasks.fit_jobs import OUT_OF_BUDGET, FitJob, FitResult, Ground, run_stored_job
from tasks.search import RunJobs
from tasks.watched_fits import FitProcesses

# One that is worked on, and one that waits for it to end.
_OUT_FOR_EACH_WORKER = 2
# Of this process: the children that it has fits done in.
_children = FitProcesses()


@task(name="fit", task_run_name="fit {job[estimator]} on fold {job[fold]}", cache_policy=NO_CACHE, persist_result=False)
def fit_task(job: dict[str, Any], ground: dict[str, Any], home: str, apart: bool) -> dict[str, Any]:
    """Do one fit; what goes wrong with it is part of the result."""
    asked, shared = FitJob.model_validate(job), Ground.model_validate(ground)
    result = fit_stored(asked, shared, Path(home), apart=apart)
    return result.model_dump(mode="json")


@task(name="get ready to fit", cache_policy=NO_CACHE, persist_result=False)
def get_ready_task() -> None:
    """Have this worker import what fits need, and its first watched process started."""
    # By way of a function: a task travels with the module's variables that it names, and a lock cannot.
    start_process()


def start_process() -> None:
    """Start a process to fit in."""
    _children.start(1)


def fit_stored(job: FitJob, ground: Ground, home: Path, *, apart: bool) -> FitResult:
    """Do one fit on stored rows: *apart*, in a process that can be ended, or where it may take as long as it likes."""
    from threadpoolctl import threadpool_limits

    if apart or job.until is not None or job.seconds is not None:
        return _children.run(job, ground, home)
    with threadpool_limits(ground.threads):
        return run_stored_job(job, ground, ArtifactStore.from_settings(Settings(home=home)))


@contextmanager
def parallel_fits(settings: Settings, ground: Ground) -> Iterator[RunJobs]:
    """Give a function that does jobs in parallel, as the settings say.

    With ``threads`` each thread watches a process of its own (fits in one process would share Python's lock and
    its warnings), with ``processes`` the runner's processes fit, with ``dask`` the workers of a cluster, which
    need the same registry, artifacts and estimators as this process.

    Raises
    ------
    ArgumentError
        If the settings name Dask, and prefect-dask is not installed.
    """
    apart = settings.fit_runner == "threads"
    home = str(settings.home.absolute())
    try:
        if apart:
            _children.start(settings.fit_workers)
        with make_runner(settings) as runner:
            if not apart:
                # A budget begins when the workers can fit, not when they are asked to start.
                for future in [runner.submit(get_ready_task, parameters={}) for _ in range(settings.fit_workers)]:
                    future.wait()

            def submit(job: FitJob) -> Any:
                parameters = {
                    "job": job.model_dump(mode="json"),
                    "ground": ground.model_dump(mode="json"),
                    "home": home,
                    "apart": apart,
                }
                return runner.submit(fit_task, parameters=parameters)

            yield partial(run_within_budget, submit=submit, n_workers=settings.fit_workers)
    finally:
        _children.close()


def run_within_budget(jobs: Sequence[FitJob], *, submit: Callable[[FitJob], Any], n_workers: int) -> list[FitResult]:
    """Do jobs in their order, and hand out none whose time is over.

    To hand a job out takes a while by itself, with Dask seconds: a search of two hundred candidates would go on for
    minutes after its end. Where there is a budget of seconds, no more jobs are out than keep the workers busy.

    Parameters
    ----------
    submit : callable
        Hands a job out, and gives a future of its result as a document.
    """
    results: list[FitResult | None] = [None] * len(jobs)
    out: deque[tuple[int, Any]] = deque()
    for number, job in enumerate(jobs):
        while job.until is not None and len(out) >= _OUT_FOR_EACH_WORKER * n_workers:
            oldest, future = out.popleft()
            results[oldest] = _result(future)
        if job.until is not None and time.time() >= job.until:
            results[number] = FitResult(error=OUT_OF_BUDGET, ran_out=True)
        else:
            out.append((number, submit(job)))
    for number, future in out:
        results[number] = _result(future)
    return [result for result in results if result is not None]


def make_runner(settings: Settings) -> TaskRunner[Any]:
    """Make the task runner that the settings name.

    Raises
    ------
    ArgumentError
        If it is Dask's, and prefect-dask is not installed.
    """
    if settings.fit_runner == "threads":
        return ThreadPoolTaskRunner(max_workers=settings.fit_workers)
    if settings.fit_runner == "processes":
        return ProcessPoolTaskRunner(max_workers=settings.fit_workers, initializer=end_with_parent)
    try:
        from prefect_dask.task_runners import DaskTaskRunner
    except ImportError as error:
        raise ArgumentError(
            "setting EVERFIT_FIT_RUNNER is 'dask', and prefect-dask is not installed; install everfit[dask], "
            "or take 'threads' or 'processes'"
        ) from error
    if settings.dask_address is not None:
        return DaskTaskRunner(address=settings.dask_address)
    cluster = {"n_workers": settings.fit_workers, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=cluster)


def end_with_parent() -> None:
    """Let this worker end with the process that started it: Python's pools would wait for its orders for ever."""
    parent = multiprocessing.parent_process()
    if parent is not None:

        def watch() -> None:
            parent.join()
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def _result(future: Any) -> FitResult:
    try:
        return FitResult.model_validate(future.result())
    except Exception as failure:  # a worker that died takes its fit along, not the search
        said = str(failure).strip().splitlines()[:1] or [""]
        return FitResult(error=f"the fit's worker failed ({type(failure).__name__}: {said[0][:200]})")
