"""`everfit batch`: a file of any size predicted here, without a service and without Prefect."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

from base.errors import ArgumentError
from console.installation import open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from tasks.batch.request import BatchResult, Progress

_SECONDS_BETWEEN_LINES = 2.0


def batch_command(
    model: str,
    source: str,
    target: str,
    *,
    version: int | None,
    alias: str | None,
    columns: tuple[str, ...] | None,
    part_rows: int,
    max_rejected: float,
    is_logged: bool,
    again: bool,
    output: Output,
) -> bool:
    """Predict the rows of a source into a file or folder; False where rows were set aside.

    Raises
    ------
    ArgumentError, DefinitionError, DataRefused, RunFailed
        As :func:`tasks.batch.run.predict_batch`.
    """
    from tasks.batch.progress import describe_progress
    from tasks.batch.request import BatchRequest
    from tasks.batch.run import predict_batch

    if version is not None and alias is not None:
        raise ArgumentError("give either --version or --alias, not both")
    if "@" in model:
        raise ArgumentError(
            f"the model is {model!r}, expected its name alone; the version goes into --version or --alias"
        )
    settings = read_settings()
    registry = open_registry(settings)
    request = BatchRequest(
        model=model,
        input=source,
        output=target,
        version=str(version) if version is not None else None if alias == "champion" else alias,
        columns=columns,
        part_rows=part_rows,
        max_rejected=max_rejected,
        is_logged=is_logged,
        again=again,
    )
    last = 0.0
    with output.progress("predicting") as advance:

        def tell(progress: Progress) -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                advance(describe_progress(progress))

        result = predict_batch(request, registry, settings, folder=Path.cwd(), tell=tell)
    _say(result, output)
    output.result(result.model_dump(mode="json") | {"rows_per_second": round(result.rows_per_second, 1)})
    return not result.n_rejected


def _say(result: BatchResult, output: Output) -> None:
    name = f"{result.model}@{result.version}"
    if not result.is_new:
        output.say(
            f"{result.output} has these rows with predictions of {name} already, so nothing was predicted; --again does"
        )
    else:
        kept = f", {result.n_kept:,} of them by an earlier run" if result.n_kept else ""
        logged = "" if result.is_logged else ", not logged"
        output.say(
            f"{result.n_predicted:,} of {result.n_rows:,} rows with predictions of {name} are in {result.output}{kept}"
            f"{logged} ({result.seconds:.1f} s, {result.rows_per_second:,.0f} rows/s)"
        )
    if result.n_warned:
        output.say(f"{result.n_warned:,} rows break a rule that only warns")
    if result.n_rejected:
        output.warn(f"{result.n_rejected:,} rows are set aside in {result.rejected!r}, each with its reasons")
