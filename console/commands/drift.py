"""Drift: `everfit drift report | windows`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group("drift", about="Drift: the windows that were checked, and Evidently's page of one.")


@app.command(name="report", epilog=example("everfit drift report bike", "everfit drift report bike --open"))
def drift_report(
    model: Model,
    output_file: Annotated[str, typer.Option("--output", help="Where to write the page.")] = "drift.html",
    start: Annotated[
        str | None,
        typer.Option(help="The window that begins then; default: the newest with a page.", metavar="MOMENT"),
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open it in a browser, too.")] = False,
    as_json: Json = False,
) -> None:
    """Write Evidently's page of a window: each feature beside the reference, with the verdicts of the monitor."""
    from console.drift import report_command

    report_command(model, output_file=output_file, start=start, browse=browse, output=Output(as_json=as_json))


@app.command(name="windows", epilog=example("everfit drift windows bike", "everfit drift windows bike --json"))
def drift_windows(
    model: Model,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many windows, the newest.")] = 20,
    as_json: Json = False,
) -> None:
    """List the windows that were checked: loss, drift, verdict, and what they asked for."""
    from console.drift import windows_command

    windows_command(model, limit=limit, output=Output(as_json=as_json))
