"""Model cards: `everfit card`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group()


@app.command(epilog=example("everfit card bike", "everfit card bike@3 --output bike-3.html"))
def card(
    model: Annotated[
        str, typer.Argument(help="A model, or a version such as bike@7 or bike@champion.", metavar="MODEL[@VERSION]")
    ],
    output_file: Annotated[
        str | None, typer.Option("--output", help="Write here: .md or .html; default: print Markdown.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a version's model card: purpose, data, metrics with intervals, slices, limits, verdict, lineage."""
    from console.model_card import card_command

    card_command(model, output_file=output_file, output=Output(as_json=as_json))
