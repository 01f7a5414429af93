"""Batch prediction: rows from files, by a version that stays the same to the end, into a file."""

from __future__ import annotations

from typing import Annotated, Any

from prefect import flow
from pydantic import Field

from tasks.batch.prediction import predict_batch_step
from tasks.batch.request import BatchRequest


@flow(name="batch-prediction", flow_run_name="predict {input} by {pipeline}", validate_parameters=True)
def batch_prediction(
    pipeline: str,
    input: str,  # noqa: A002 (the form's label)
    output: str,
    version: Annotated[int, Field(ge=1)] | None = None,
    alias: str = "champion",
    columns: list[str] | None = None,
    part_rows: Annotated[int, Field(ge=1, le=5_000_000)] = 50_000,
    max_rejected: Annotated[float, Field(ge=0, le=1)] = 0.05,
    log: bool = True,
    again: bool = False,
) -> dict[str, Any]:
    """Predict the rows of files by a model's version; a run that died is gone on with by the next one.

    Args:
        pipeline: The name of a registered pipeline, whose model predicts.
        input: A file, folder, glob or URL of Parquet, CSV or JSON lines.
        output: A file (.parquet, .csv, .jsonl) on the worker's machine, or a folder that gets a Parquet file a part.
        version: Number of the version; empty: the one that the alias means when the batch begins.
        alias: Whose version predicts, where no number is given.
        columns: Columns of the input that the output has too; empty: all.
        part_rows: Rows of one part: what memory holds, and what a run that died may have to do again.
        max_rejected: Share of rows that may break the model's signature; beyond it, all are refused.
        log: Whether the predictions go to the prediction log, as traffic of kind "batch".
        again: Throw away what an earlier run has left, and predict anew.
    """
    which = str(version) if version is not None else None if alias == "champion" else alias
    return predict_batch_step(
        BatchRequest(
            model=pipeline,
            input=input,
            output=output,
            version=which,
            columns=None if columns is None else tuple(columns),
            part_rows=part_rows,
            max_rejected=max_rejected,
            is_logged=log,
            again=again,
        )
    )
