"""Monitoring by hand: `everfit monitor`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group()


@app.command(
    epilog=example(
        "everfit monitor bike",
        "everfit monitor bike --window '2 days'",
        "everfit monitor bike --until 2013-06-01",
    )
)
def monitor(
    model: Model,
    window: Annotated[
        str | None,
        typer.Option(
            help="Look at the last stretch of this length (2 days, 5000 rows) and record nothing.", metavar="LENGTH"
        ),
    ] = None,
    until: Annotated[
        str | None, typer.Option(help="The moment from which to look; default: now.", metavar="MOMENT")
    ] = None,
    as_json: Json = False,
) -> None:
    """Look at the traffic and labels of windows that are due, as the monitoring flow does; or at one of your own."""
    from console.monitoring import monitor_command

    monitor_command(model, window=window, until=until, output=Output(as_json=as_json))
