"""Batch prediction: `everfit batch`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group()

_REJECTED = 3


@app.command(
    epilog=example(
        "everfit batch bike --input 's3://rides/2013/*.parquet' --output predicted.parquet",
        "everfit batch bike --version 7 --input hours.csv --output predicted/ --columns event_time --no-log",
    )
)
def batch(
    model: Model,
    source: Annotated[
        str, typer.Option("--input", help="A file, folder, glob or URL of Parquet, CSV or JSON lines.", metavar="ROWS")
    ],
    target: Annotated[
        str, typer.Option("--output", help="A file (.parquet, .csv, .jsonl), or a folder of parts.", metavar="PATH")
    ],
    version: Annotated[
        int | None, typer.Option(min=1, help="Number of the version; default: what the alias means.")
    ] = None,
    alias: Annotated[str | None, typer.Option(help="Whose version predicts; default: champion.")] = None,
    columns: Annotated[
        list[str] | None,
        typer.Option(help="Columns of the input that the output has too, separated by commas; default: all."),
    ] = None,
    part_rows: Annotated[
        int, typer.Option(min=1, max=5_000_000, help="Rows of one part: what memory holds, and what a crash costs.")
    ] = 50_000,
    max_rejected: Annotated[
        float, typer.Option(min=0, max=1, help="Share of rows that may be set aside; beyond it, all are refused.")
    ] = 0.05,
    log: Annotated[bool, typer.Option(help="Log the predictions, as traffic of kind batch.")] = True,
    again: Annotated[
        bool, typer.Option("--again", help="Throw away what an earlier run has left, and predict anew.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Predict the rows of files of any size; exit code 3 where rows were set aside. The same again goes on."""
    from console.batch import batch_command

    names = None if columns is None else tuple(name for each in columns for name in each.split(",") if name)
    is_whole = batch_command(
        model,
        source,
        target,
        version=version,
        alias=alias,
        columns=names,
        part_rows=part_rows,
        max_rejected=max_rejected,
        is_logged=log,
        again=again,
        output=Output(as_json=as_json),
    )
    if not is_whole:
        raise typer.Exit(_REJECTED)
