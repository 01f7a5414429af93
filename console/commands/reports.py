"""The pages of model versions: `everfit report`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(
    epilog=example(
        "everfit report bike --output bike.html", "everfit report bike@7 --evidently --output evidently.html"
    )
)
def report(
    model: Annotated[str, typer.Argument(help="A model, or a version such as bike@7.", metavar="MODEL")],
    output_file: Annotated[str, typer.Option("--output", help="Write the page here (.html).")],
    evidently: Annotated[
        bool, typer.Option("--evidently", help="Evidently's page of the same answers; takes some seconds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Write the page of a version's evaluation: metrics, curves, slices, fairness, what it looks at."""
    from console.model_report import report_command

    report_command(model, output_file=output_file, evidently=evidently, output=Output(as_json=as_json))
