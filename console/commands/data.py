"""`everfit data`: look at snapshots, quarantined rows and profiles, and give back the space of what nothing needs."""

from __future__ import annotations

from typing import Annotated

import typer

from console.options import Json, command_group, example
from console.output import Output

app = command_group("data", about="Data: list, show, compare and profile snapshots, see quarantined rows, free space.")

_Pipeline = Annotated[str, typer.Argument(help="A registered pipeline, or its pipeline.yaml.", metavar="PIPELINE")]


@app.command("list", epilog=example("everfit data list", "everfit data list bike --json"))
def list_(
    pipeline: Annotated[str | None, typer.Argument(help="Only of this pipeline.", metavar="[PIPELINE]")] = None,
    as_json: Json = False,
) -> None:
    """List snapshots, newest first: rows, new rows, the time they cover, size, and which models need them."""
    from console.data_snapshots import list_command

    list_command(pipeline, output=Output(as_json=as_json))


@app.command(epilog=example("everfit data show bike", "everfit data show bike 3fa9 --rows 5"))
def show(
    pipeline: _Pipeline,
    digest: Annotated[
        str, typer.Argument(help="A snapshot's digest, the beginning of one, or latest.", metavar="[DIGEST]")
    ] = "latest",
    rows: Annotated[int, typer.Option(min=0, max=10_000, help="How many of its first rows to show.")] = 0,
    as_json: Json = False,
) -> None:
    """Show one snapshot: its columns with types and figures, its segments, its parents, its first rows."""
    from console.data_show import show_command

    show_command(pipeline, digest, n_rows=rows, output=Output(as_json=as_json))


@app.command(epilog=example("everfit data diff bike 3fa9 latest", "everfit data diff bike 3fa9 81c0 --html diff.html"))
def diff(
    pipeline: _Pipeline,
    before: Annotated[str, typer.Argument(help="The older snapshot.", metavar="A")],
    after: Annotated[str, typer.Argument(help="The newer snapshot.", metavar="B")] = "latest",
    key: Annotated[
        list[str] | None,
        typer.Option(help="A column that, with other --key columns, names a row; default: as the contract says."),
    ] = None,
    html: Annotated[str | None, typer.Option(help="Write a page with plots here.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Compare two snapshots: rows added, removed and changed, the schema, and the columns that moved."""
    from console.data_diff import diff_command

    diff_command(pipeline, before, after, key=key or [], html=html, output=Output(as_json=as_json))


@app.command(
    epilog=example("everfit data quarantine bike", "everfit data quarantine bike --reason 'adr is below 0' --limit 50")
)
def quarantine(
    pipeline: _Pipeline,
    run: Annotated[str | None, typer.Option(help="Of this run; default: the newest that validated data.")] = None,
    reason: Annotated[str | None, typer.Option(help="Only rows whose reason holds this text.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many rows to show.")] = 20,
    output_file: Annotated[
        str | None, typer.Option("--output", help="Write all matching rows here (.csv, .jsonl, .parquet).")
    ] = None,
    as_json: Json = False,
) -> None:
    """List the rows that a run set aside: how many for each reason, then row, column, value and reason."""
    from console.data_quarantine import quarantine_command

    quarantine_command(
        pipeline, run=run, reason=reason, limit=limit, output_file=output_file, output=Output(as_json=as_json)
    )


@app.command(
    epilog=example(
        "everfit data profile rentals.parquet --target cnt --time event_time", "everfit data profile bike@3fa9"
    )
)
def profile(
    data: Annotated[
        str, typer.Argument(help="A file, folder or glob; or PIPELINE, PIPELINE@DIGEST.", metavar="SOURCE")
    ],
    target: Annotated[
        str | None, typer.Option(help="The column to predict, or an expression; default: the pipeline's.")
    ] = None,
    time: Annotated[str | None, typer.Option(help="When a row happened; default: the pipeline's.")] = None,
    personal: Annotated[
        list[str] | None, typer.Option(help="A column whose values the page must not show; may be repeated.")
    ] = None,
    evidently: Annotated[
        bool, typer.Option("--evidently", help="Add Evidently's own summary of a sample (4 MB).")
    ] = False,
    output_file: Annotated[
        str | None, typer.Option("--output", help="The page's file; default: NAME-profile.html.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a page about data: distributions, gaps, ties to the target, leak suspects, drift over time."""
    from console.data_profile import profile_command

    profile_command(
        data,
        target=target,
        time=time,
        personal=personal or [],
        with_evidently=evidently,
        output_file=output_file,
        output=Output(as_json=as_json),
    )


@app.command(epilog=example("everfit data gc --dry-run", "everfit data gc --keep 10 --older-than '90 days'"))
def gc(
    keep: Annotated[
        int, typer.Option(min=1, help="Newest snapshots, runs and versions whose data are kept, of each pipeline.")
    ] = 5,
    older_than: Annotated[str, typer.Option(help="Only what is older than this.")] = "30 days",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be deleted.")] = False,
    as_json: Json = False,
) -> None:
    """Delete the files of snapshots and old runs that no kept version, alias, newer snapshot or run needs."""
    from console.data_retention import gc_command

    gc_command(keep=keep, older_than=older_than, dry_run=dry_run, output=Output(as_json=as_json))
