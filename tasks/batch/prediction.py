"""Predict a file of any size, as a step of a flow: :func:`tasks.batch.run.predict_batch`, and its Prefect task."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import get_run_logger, task
from prefect.cache_policies import NO_CACHE

from base.settings import Settings
from registry.store import open_registry
from tasks.batch.progress import describe_progress
from tasks.batch.request import BatchRequest, Progress
from tasks.batch.run import predict_batch

_SECONDS_BETWEEN_LINES = 5.0


@task(name="predict-batch", task_run_name="predict {request.input}", cache_policy=NO_CACHE, persist_result=False)
def predict_batch_step(request: BatchRequest) -> dict[str, Any]:
    """Predict the rows of a source; a run that died is gone on with, since its parts lie beside the output.

    Raises
    ------
    DataRefused
        If too many rows break the model's signature.
    """
    logger = get_run_logger()
    last = 0.0

    def tell(progress: Progress) -> None:
        nonlocal last
        if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
            last = time.monotonic()
            logger.info(describe_progress(progress))

    settings = Settings()
    result = predict_batch(request, open_registry(settings), settings, folder=Path.cwd(), tell=tell)
    if result.n_rejected:
        logger.warning(
            "%s of %s rows are set aside in %s, each with its reasons",
            f"{result.n_rejected:,}",
            f"{result.n_rows:,}",
            result.rejected,
        )
    return result.model_dump(mode="json") | {"rows_per_second": round(result.rows_per_second, 1)}
