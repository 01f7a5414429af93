"""Model files: `everfit rehearse`, `everfit export`, `everfit signing-key`."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

_CHAMPION_BREAKS = 4

app = command_group()


@app.command(epilog=example("everfit rehearse", "everfit rehearse bike@3", "everfit rehearse bike --all --json"))
def rehearse(
    version: Annotated[
        str | None,
        typer.Argument(
            help="A model or version; default: all that an alias names, in every environment.", metavar="[VERSION]"
        ),
    ] = None,
    everything: Annotated[bool, typer.Option("--all", help="Every version whose files are still there.")] = False,
    as_json: Json = False,
) -> None:
    """Before an upgrade: would the versions that serve answer as they did, with the libraries installed here?"""
    from console.rehearsal import rehearse_command

    if not rehearse_command(version, everything=everything, output=Output(as_json=as_json)):
        raise typer.Exit(_CHAMPION_BREAKS)


@app.command(epilog=example("everfit export bike --onnx bike.onnx", "everfit export bike@3 --onnx edge/bike.onnx"))
def export(
    version: Annotated[str, typer.Argument(help="A model, or a version such as bike@7.", metavar="VERSION")],
    onnx: Annotated[str, typer.Option(help="The file to write; an example to run is put beside it.", metavar="FILE")],
    as_json: Json = False,
) -> None:
    """Write a version as an ONNX file, for where there is no scikit-learn, with an example that asks it."""
    from console.export import export_command

    export_command(version, onnx=onnx, output=Output(as_json=as_json))


@app.command("signing-key", epilog=example("everfit signing-key", "everfit signing-key --new"))
def signing_key(
    new: Annotated[bool, typer.Option("--new", help="Draw a new key that signs from now on.")] = False,
    as_json: Json = False,
) -> None:
    """Name the keys by which versions are signed; the first signs, the others are still believed."""
    from console.signing import signing_key_command

    signing_key_command(new=new, output=Output(as_json=as_json))
