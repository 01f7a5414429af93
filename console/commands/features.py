"""`everfit features`: feature views, their events and the models that use them."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("features", about="Feature views: what is known of an entity, for training and serving alike.")

_Folder = Annotated[str | None, typer.Option(help="Where the views are declared; default: here.")]


@app.command(name="list", epilog=example("everfit features list", "everfit features list --folder bike"))
def features_list(folder: _Folder = None, as_json: Json = False) -> None:
    """List feature views: how many events and keys, how fresh, and how many models use them."""
    from console.features import features_list_command

    features_list_command(folder=folder, output=Output(as_json=as_json))


@app.command(name="show", epilog=example("everfit features show origin_weather"))
def features_show(
    view: Annotated[str, typer.Argument(help="A feature view's name.", metavar="VIEW")],
    folder: _Folder = None,
    as_json: Json = False,
) -> None:
    """Show a feature view: its features with their units, its freshness, and the models that use it."""
    from console.features import features_show_command

    features_show_command(view, folder=folder, output=Output(as_json=as_json))


@app.command(
    name="materialize",
    epilog=example(
        "everfit features materialize", "everfit features materialize origin_weather --until 2013-04-01 --folder bike"
    ),
)
def features_materialize(
    view: Annotated[str | None, typer.Argument(help="Only this one.", metavar="[VIEW]")] = None,
    until: Annotated[str | None, typer.Option(help="Take what was known by this moment (UTC); default: now.")] = None,
    folder: _Folder = None,
    as_json: Json = False,
) -> None:
    """Store new events of feature views offline, and the newest values of each key online."""
    from console.features import features_materialize_command

    features_materialize_command(view, until=until, folder=folder, output=Output(as_json=as_json))
