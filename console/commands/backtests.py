"""Backtests: `everfit backtest`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(
    epilog=example(
        "everfit backtest bike --open",
        "everfit backtest bike/pipeline.yaml --from 2012-01-01 --to 2012-12-31 --price 0.5 --budget 120",
        "everfit backtest bike --policies policies.yaml --picture bike.svg --json",
    )
)
def backtest(
    pipeline: Annotated[
        str, typer.Argument(help="A pipeline.yaml, its folder, or a registered name.", metavar="PIPELINE")
    ],
    start: Annotated[
        str | None,
        typer.Option("--from", help="The first served window begins then; default: after a fifth of the rows."),
    ] = None,
    stop: Annotated[str | None, typer.Option("--to", help="The history ends then (UTC); default: all.")] = None,
    policies: Annotated[
        str | None, typer.Option(help="A YAML file of policies; default: the usual ones.", metavar="FILE")
    ] = None,
    price: Annotated[
        float | None, typer.Option(help="Of a training, in windows of full loss; default: as the definition says.")
    ] = None,
    budget: Annotated[
        float | None, typer.Option(help="Give the best answer so far after so long.", metavar="SECONDS")
    ] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Forget what an earlier one has left, and compute all anew.")
    ] = False,
    picture: Annotated[
        str | None, typer.Option(help="Draw the answer as a picture, too (.svg).", metavar="FILE")
    ] = None,
    output_folder: Annotated[
        str | None, typer.Option("--output", help="Where page and tables go; default: below EVERFIT_HOME.")
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    as_json: Json = False,
) -> None:
    """Replay a pipeline's history through retraining policies, and say which one to take; nothing live is touched."""
    from console.backtest import Wanted, backtest_command

    wanted = Wanted(
        start=start,
        stop=stop,
        policies=policies,
        price=price,
        budget=budget,
        again=again,
        picture=picture,
        folder=output_folder,
        browse=browse,
    )
    backtest_command(pipeline, wanted, output=Output(as_json=as_json))
