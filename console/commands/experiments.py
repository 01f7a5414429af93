"""What was tried and how versions differ: `everfit experiments`, `everfit compare`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit experiments", "everfit experiments bike --run 20260301-050000-1a2b3c --json"))
def experiments(
    pipeline: Annotated[str | None, typer.Argument(help="Only of this pipeline.", metavar="[PIPELINE]")] = None,
    run: Annotated[str | None, typer.Option(help="Only of this run.", metavar="RUN")] = None,
    limit: Annotated[int, typer.Option(min=1, help="How many to list.")] = 200,
    as_json: Json = False,
) -> None:
    """List every fit of a training: parameters, loss, folds, seconds, errors; the newest run first, the best first."""
    from console.experiments import experiments_command

    experiments_command(pipeline, run=run, limit=limit, output=Output(as_json=as_json))


@app.command(epilog=example("everfit compare bike@6 bike@7", "everfit compare bike@5 bike@6 bike@7 --json"))
def compare(
    versions: Annotated[
        list[str], typer.Argument(help="Two versions or more, such as bike@6 bike@7.", metavar="VERSION VERSION...")
    ],
    rows: Annotated[int, typer.Option(min=1, help="Newest test rows on which the versions' answers are compared.")] = (
        5_000
    ),
    as_json: Json = False,
) -> None:
    """Set versions side by side: parameters, data, metrics with intervals, slices, features, changed predictions."""
    from console.compare import compare_command

    compare_command(versions, n_rows=rows, output=Output(as_json=as_json))
