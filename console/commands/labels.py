"""Labels: `everfit labels import | status`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, Model, command_group, example
from console.output import Output

app = command_group("labels", about="Tell the service what came true, and see how many predictions wait for it.")

_SET_ASIDE = 3


@app.command(
    name="import",
    epilog=example(
        "everfit labels import outcomes.csv --model bike",
        "everfit labels import late.parquet --model flight_delay --key tailnum --time sched_dep --value was_late",
    ),
)
def import_labels(
    file: Annotated[str, typer.Argument(help="CSV, Parquet or JSON lines.", metavar="FILE")],
    model: Annotated[str, typer.Option(help="Whose predictions came true.", metavar="MODEL")],
    id_column: Annotated[str, typer.Option(help="The column with the predictions' ids.", metavar="COLUMN")] = "id",
    key: Annotated[
        list[str] | None,
        typer.Option(help="Instead of ids: a column of serve.key; once for each.", metavar="COLUMN"),
    ] = None,
    time: Annotated[str, typer.Option(help="With --key: the column with the rows' time.", metavar="COLUMN")] = "time",
    value: Annotated[str, typer.Option(help="The column with what came true.", metavar="COLUMN")] = "value",
    observed_at: Annotated[
        str, typer.Option(help="The column that says when; without it: now.", metavar="COLUMN")
    ] = "observed_at",
    within: Annotated[
        str, typer.Option(help="With --key: how much older than its time a prediction may be.", metavar="DURATION")
    ] = "",
    service: Annotated[
        str | None, typer.Option(help="Address of the service; default: the one of these settings.", metavar="URL")
    ] = None,
    as_json: Json = False,
) -> None:
    """Import labels from a file, through the service where one answers; rows that are wrong are set aside (exit 3)."""
    from console.label_import import Columns, import_command

    columns = Columns(id=id_column, key=tuple(key or ()), time=time, value=value, observed_at=observed_at)
    if not import_command(file, model, columns, within=within, service=service, output=Output(as_json=as_json)):
        raise typer.Exit(_SET_ASIDE)


@app.command(epilog=example("everfit labels status bike", "everfit labels status bike --until 2013-05-01 --json"))
def status(
    model: Model,
    until: Annotated[str | None, typer.Option(help="As it stood at this moment (UTC); default: now.")] = None,
    days: Annotated[int, typer.Option(min=1, help="How many of the newest days to list.")] = 14,
    as_json: Json = False,
) -> None:
    """Show how many predictions wait for their label, are due, and have it, day by day."""
    from console.label_status import status_command

    status_command(model, until=until, days=days, output=Output(as_json=as_json))
