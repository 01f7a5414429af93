"""`everfit contract`: what data must be, inferred from data, shown, and compared."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("contract", about="Contracts: infer one from data, show it, compare contracts and data.")


@app.command(
    epilog=example(
        "everfit contract infer rentals.parquet --time event_time --target cnt --output bike/contract.yaml",
        "everfit contract infer bike/pipeline.yaml",
    )
)
def infer(
    source: Annotated[
        str, typer.Argument(help="A file, folder, glob or URL of data, or a pipeline.", metavar="SOURCE|PIPELINE")
    ],
    output_file: Annotated[str | None, typer.Option("--output", help="Write here; default: print it.")] = None,
    target: Annotated[str | None, typer.Option(help="The column that is predicted; a pipeline knows its own.")] = None,
    time: Annotated[str | None, typer.Option(help="The column that says when a row happened.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that is there.")] = False,
    as_json: Json = False,
) -> None:
    """Write what data must be, from good data: a line for each column, with what was seen beside it."""
    from console.contract_commands import infer_command

    infer_command(
        source, output_file=output_file, target=target, time=time, force=force, output=Output(as_json=as_json)
    )


@app.command(epilog=example("everfit contract show bike", "everfit contract show bike/contract.yaml --json"))
def show(
    contract: Annotated[str, typer.Argument(help="A contract's file, or a pipeline.", metavar="CONTRACT|PIPELINE")],
    as_json: Json = False,
) -> None:
    """Show a contract: each column's type, bounds, and what breaking them does."""
    from console.contract_commands import show_command

    show_command(contract, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit contract diff bike/contract.yaml new_rentals.csv",
        "everfit contract diff bike@3fa9 bike@latest",
        "everfit contract diff old_contract.yaml bike/contract.yaml --json",
    )
)
def diff(
    before: Annotated[
        str, typer.Argument(help="A contract's file, a pipeline, PIPELINE@DIGEST, or data.", metavar="A")
    ],
    after: Annotated[str, typer.Argument(help="The same, newer.", metavar="B")],
    as_json: Json = False,
) -> None:
    """Name what changed: columns added, missing, renamed, retyped; ranges, categories, nulls, units."""
    from console.contract_commands import diff_command

    diff_command(before, after, output=Output(as_json=as_json))
