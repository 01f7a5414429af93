"""A backtest as a step of a flow: :func:`tasks.backtest.run.run_backtest`, its files, and a table in Prefect's UI."""

from __future__ import annotations

import time
from typing import Any

from prefect import get_run_logger, task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE

from base.settings import Settings
from base.times import utc_now
from registry.pipelines import find_pipeline
from registry.store import open_registry
from tasks.backtest.files import new_folder, write_files
from tasks.backtest.request import BacktestProgress, BacktestRequest
from tasks.backtest.table import NO_ANSWER, describe_progress, summarise, tabulate

_SECONDS_BETWEEN_LINES = 5.0


@task(name="backtest", task_run_name="backtest {pipeline}", cache_policy=NO_CACHE, persist_result=False)
def backtest_step(pipeline: str, request: BacktestRequest) -> dict[str, Any]:
    """Walk a pipeline's history through policies; a run that died is gone on with, since its fits are kept.

    Raises
    ------
    ArgumentError
        If there is no such pipeline, or the history is too short.
    """
    from tasks.backtest.run import run_backtest
    from tasks.backtest.workers import prefect_workers

    settings = Settings()
    definition = find_pipeline(open_registry(settings), pipeline)
    logger = get_run_logger()
    last = 0.0

    def tell(progress: BacktestProgress) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            logger.info(describe_progress(progress))

    result = run_backtest(definition, settings, request, progress=tell, workers=prefect_workers)
    files = write_files(result, new_folder(settings.home, result.pipeline, utc_now()))
    logger.info("%s; the page is %s", f"take {result.recommended}" if result.n_judged else NO_ANSWER, files.page)
    create_markdown_artifact(
        tabulate(result, page=files.page.as_uri()),
        key=f"{definition.name.replace('_', '-')}-backtest",
        description="Policies side by side, and which one to take",
    )
    return summarise(result) | {"folder": str(files.folder), "page": str(files.page)}
