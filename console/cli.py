"""The command line: what can be asked, in one place; each command's body is loaded when it is called."""

from __future__ import annotations

import gc
import sys
from typing import Annotated, Any

import typer

from console.commands import (
    alarms,
    approvals,
    backtests,
    batches,
    cards,
    contracts,
    data,
    drift,
    experiments,
    features,
    hooks,
    labels,
    launches,
    ledger,
    model_files,
    models,
    monitoring,
    notices,
    pnl,
    reports,
    rollouts,
    tokens,
    traffic,
    triggers,
    watches,
    webhooks,
)
from console.options import CONTEXT, Json, example
from console.output import INTERRUPTED, Output, report_error

app = typer.Typer(
    name="everfit",
    help="Continuous training for tabular models: train, judge, promote, serve, watch, train again.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings=CONTEXT,
)


@app.command(
    epilog=example(
        "everfit init bike --data rentals.parquet --target cnt --time event_time",
        "everfit init tips --data 'trips/*.csv' --target 'big_tip = tips > 0.2 * fare' --time started_at",
    )
)
def init(
    name: Annotated[str, typer.Argument(help="The pipeline's name; its folder is made here.", metavar="NAME")],
    data: Annotated[str, typer.Option(help="A file, folder or glob of CSV, Parquet or JSON lines.")],
    target: Annotated[str, typer.Option(help="The column to predict, or an expression over columns.")],
    time: Annotated[str | None, typer.Option(help="The column that says when a row happened.")] = None,
    task: Annotated[
        str | None, typer.Option(help="classification or regression; default: as the target looks.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace the folder; the old one is kept beside it.")] = False,
    as_json: Json = False,
) -> None:
    """Look at data and write a pipeline for it: definition, contract, and a file for your features."""
    from console.new_pipeline import init_command

    init_command(name, data=data, target=target, time=time, task=task, force=force, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit train bike/pipeline.yaml",
        "everfit train bike --as-of 2012-06-01 --reason 'new summer data'",
        "everfit train bike --snapshot 3f9c2a1b7d40 --reason 'without the broken week'",
    )
)
def train(
    pipeline: Annotated[
        str, typer.Argument(help="A pipeline.yaml, its folder, or a registered name.", metavar="PIPELINE")
    ],
    as_of: Annotated[str | None, typer.Option(help="Train as if it were this moment (UTC).")] = None,
    reason: Annotated[str | None, typer.Option(help="Why, for whoever reads the ledger later.")] = None,
    snapshot: Annotated[
        str | None,
        typer.Option(help="Train on this earlier snapshot (see `everfit data list`) again.", metavar="DIGEST"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train once: extract, validate, prepare, train, evaluate, judge, and promote where the verdict allows it."""
    from console.training import train_command

    train_command(pipeline, as_of=as_of, reason=reason, snapshot=snapshot, output=Output(as_json=as_json))


@app.command(epilog=example("everfit serve", "everfit serve bike hotel --port 8400 --workers 2"))
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models to serve; default: all that have a champion.", metavar="[MODEL]..."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Where to bind; default: EVERFIT_SERVICE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: EVERFIT_SERVICE_PORT.")] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, max=256, help="Processes that answer; default: EVERFIT_WORKERS.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Serve champions over HTTP; a promotion is followed without losing a request."""
    from console.service import serve_command

    serve_command(models or [], host=host, port=port, workers=workers, output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit predict bike --input new_hours.csv --output predicted.parquet",
        """everfit predict bike@7 --input new_hours.parquet --json""",
        "everfit predict bike --input new_hours.csv --explain",
    )
)
def predict(
    model: Annotated[str, typer.Argument(help="A model, or a version such as bike@7.", metavar="MODEL")],
    input_file: Annotated[
        str | None, typer.Option("--input", help="A file of rows: CSV, Parquet or JSON lines.")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="One row as a JSON object, or a list of them.")] = None,
    output_file: Annotated[str | None, typer.Option("--output", help="Write here (.csv, .jsonl, .parquet).")] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Say what each feature contributed.")] = False,
    as_json: Json = False,
) -> None:
    """Predict rows with the champion or another version, here, without a service."""
    from console.prediction import predict_command

    predict_command(
        model,
        input_file=input_file,
        rows=rows,
        output_file=output_file,
        is_explained=explain,
        output=Output(as_json=as_json),
    )


@app.command(epilog=example("everfit up", "everfit up bike/pipeline.yaml hotel/pipeline.yaml"))
def up(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(help="Pipelines to register first; all registered ones are deployed.", metavar="[PIPELINE]..."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Start everything here: Prefect's server, a worker and the prediction service; Ctrl-C stops all of it."""
    from console.embedded import up_command

    up_command(pipelines or [], output=Output(as_json=as_json))


@app.command(
    epilog=example(
        "everfit demo",
        "everfit demo --month 6 --seed 7 --keep",
        "everfit demo --month 6 --weeks 3 --label-delay '10 days'",
    )
)
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the set-up running afterwards.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the estimators.")] = 0,
    month: Annotated[int, typer.Option(min=3, max=12, help="Train before this month of 2013, replay from it.")] = 4,
    weeks: Annotated[int, typer.Option(min=1, max=40, help="How many weeks to replay.")] = 18,
    label_delay: Annotated[
        str | None, typer.Option(help="Let labels come so long after their flight, in whole days.", metavar="DURATION")
    ] = None,
    as_json: Json = False,
) -> None:
    """Watch the loop on real flights of 2013: a champion ages, drift is found, a challenger takes over."""
    from console.demonstration import demo_command

    demo_command(
        keep=keep, seed=seed, month=month, weeks=weeks, label_delay=label_delay, output=Output(as_json=as_json)
    )


for group in (
    models,
    reports,
    model_files,
    approvals,
    cards,
    experiments,
    contracts,
    data,
    features,
    labels,
    traffic,
    webhooks,
    hooks,
    notices,
    ledger,
    triggers,
    rollouts,
    tokens,
    batches,
    backtests,
    launches,
    alarms,
    watches,
    monitoring,
    drift,
    pnl,
):
    app.add_typer(group.app)


@app.callback(invoke_without_command=True)
def everfit(
    context: typer.Context,
    version: Annotated[bool, typer.Option("--version", help="Print Everfit's version and stop.")] = False,
) -> None:
    if version:
        from importlib.metadata import version as version_of

        Output().say(f"everfit {version_of('everfit')}")
    elif context.invoked_subcommand is None:
        Output().say(context.get_help())


def run(arguments: list[str]) -> int:
    """Run one command and return its exit code: 0 done, 2 wrong arguments, 3 data refused, 4 failed, 130 Ctrl-C."""
    try:
        code: Any = app(arguments, prog_name="everfit", standalone_mode=False)
    except typer.Abort:
        return report_error(KeyboardInterrupt(), as_json="--json" in arguments)
    except (Exception, KeyboardInterrupt) as error:
        return report_error(error, as_json="--json" in arguments)
    if code == INTERRUPTED:
        return report_error(KeyboardInterrupt(), as_json="--json" in arguments)
    return code if isinstance(code, int) else 0


def main() -> None:
    """Run the command that this process was started with."""
    code = run(sys.argv[1:])
    # The collector's last passes over all that was imported would take up to a second.
    if "duckdb" not in sys.modules:  # whose last act is to complain of all that was not collected
        gc.freeze()
    sys.exit(code)
