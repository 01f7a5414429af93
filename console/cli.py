"""The command line: what can be asked, in one place; each command's body is loaded when it is called."""

from __future__ import annotations

import gc
import sys
from typing import Annotated, Any

import typer

from console.contracts import app as contract_app
from console.data import app as data_app
from console.output import INTERRUPTED, Output, report_error

# Help in colours would import another 80 ms of libraries, a third of the time in which --help shall answer.
app = typer.Typer(
    name="everfit",
    help="Continuous training for tabular models: train, judge, promote, serve, watch, train again.",
    add_completion=False,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

app.add_typer(contract_app)
app.add_typer(data_app)

_Json = Annotated[bool, typer.Option("--json", help="Print the result, or the error, as one JSON document.")]
_Model = Annotated[str, typer.Argument(help="A model's name, such as bike.", metavar="MODEL")]


def _example(*lines: str) -> str:
    # The \b keeps the lines as they are; help text is reflowed otherwise.
    return "\b\nExamples:\n" + "\n".join(f"  {line}" for line in lines)


@app.command(
    epilog=_example(
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
    as_json: _Json = False,
) -> None:
    """Look at data and write a pipeline for it: definition, contract, and a file for your features."""
    from console.new_pipeline import init_command

    init_command(name, data=data, target=target, time=time, task=task, force=force, output=Output(as_json=as_json))


@app.command(
    epilog=_example(
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
    as_json: _Json = False,
) -> None:
    """Train once: extract, validate, prepare, train, evaluate, judge, and promote where the verdict allows it."""
    from console.training import train_command

    train_command(pipeline, as_of=as_of, reason=reason, snapshot=snapshot, output=Output(as_json=as_json))


@app.command(epilog=_example("everfit serve", "everfit serve bike hotel --port 8400"))
def serve(
    models: Annotated[
        list[str] | None,
        typer.Argument(help="Models to serve; default: all that have a champion.", metavar="[MODEL]..."),
    ] = None,
    host: Annotated[str | None, typer.Option(help="Where to bind; default: EVERFIT_SERVICE_HOST.")] = None,
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Default: EVERFIT_SERVICE_PORT.")] = None,
    as_json: _Json = False,
) -> None:
    """Serve champions over HTTP; a promotion is followed without losing a request."""
    from console.service import serve_command

    serve_command(models or [], host=host, port=port, output=Output(as_json=as_json))


@app.command(
    epilog=_example(
        "everfit predict bike --input new_hours.csv --output predicted.parquet",
        """everfit predict bike@7 --input new_hours.parquet --json""",
    )
)
def predict(
    model: Annotated[str, typer.Argument(help="A model, or a version such as bike@7.", metavar="MODEL")],
    input_file: Annotated[
        str | None, typer.Option("--input", help="A file of rows: CSV, Parquet or JSON lines.")
    ] = None,
    rows: Annotated[str | None, typer.Option(help="One row as a JSON object, or a list of them.")] = None,
    output_file: Annotated[str | None, typer.Option("--output", help="Write here (.csv, .jsonl, .parquet).")] = None,
    as_json: _Json = False,
) -> None:
    """Predict rows with the champion or another version, here, without a service."""
    from console.prediction import predict_command

    predict_command(model, input_file=input_file, rows=rows, output_file=output_file, output=Output(as_json=as_json))


@app.command(epilog=_example("everfit versions", "everfit versions bike --json"))
def versions(
    model: Annotated[str | None, typer.Argument(help="Only of this model.", metavar="[MODEL]")] = None,
    as_json: _Json = False,
) -> None:
    """List model versions, newest first, with their metrics and which one is champion."""
    from console.versions import versions_command

    versions_command(model, output=Output(as_json=as_json))


@app.command(
    epilog=_example(
        "everfit rollback bike --reason 'complaints about Sunday forecasts'",
        "everfit rollback bike --to 3 --reason 'version 3 knew winter'",
    )
)
def rollback(
    model: _Model,
    reason: Annotated[str, typer.Option(help="Why; the ledger keeps it.")],
    to: Annotated[
        int | None, typer.Option(min=1, help="The version to go back to; default: the champion before.")
    ] = None,
    as_json: _Json = False,
) -> None:
    """Make an earlier version champion again, with its features, threshold and reference."""
    from console.versions import rollback_command

    rollback_command(model, to=to, reason=reason, output=Output(as_json=as_json))


@app.command(epilog=_example("everfit up", "everfit up bike/pipeline.yaml hotel/pipeline.yaml"))
def up(
    pipelines: Annotated[
        list[str] | None,
        typer.Argument(help="Pipelines to register first; all registered ones are deployed.", metavar="[PIPELINE]..."),
    ] = None,
    as_json: _Json = False,
) -> None:
    """Start everything here: Prefect's server, a worker and the prediction service; Ctrl-C stops all of it."""
    from console.embedded import up_command

    up_command(pipelines or [], output=Output(as_json=as_json))


@app.command(epilog=_example("everfit demo", "everfit demo --month 6 --seed 7 --keep"))
def demo(
    keep: Annotated[bool, typer.Option("--keep", help="Leave the set-up running afterwards.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the estimators.")] = 0,
    month: Annotated[int, typer.Option(min=3, max=12, help="Train before this month of 2013, replay from it.")] = 4,
    weeks: Annotated[int, typer.Option(min=1, max=40, help="How many weeks to replay.")] = 20,
    as_json: _Json = False,
) -> None:
    """Watch the loop on real flights of 2013: a champion ages, drift is found, a challenger takes over."""
    from console.demonstration import demo_command

    demo_command(keep=keep, seed=seed, month=month, weeks=weeks, output=Output(as_json=as_json))


features_app = typer.Typer(help="Feature views: what is known of an entity, for training and serving alike.")
app.add_typer(features_app, name="features")

_Folder = Annotated[str | None, typer.Option(help="Where the views are declared; default: here.")]


@features_app.command(name="list", epilog=_example("everfit features list", "everfit features list --folder bike"))
def features_list(folder: _Folder = None, as_json: _Json = False) -> None:
    """List feature views: how many events and keys, how fresh, and how many models use them."""
    from console.features import features_list_command

    features_list_command(folder=folder, output=Output(as_json=as_json))


@features_app.command(name="show", epilog=_example("everfit features show origin_weather"))
def features_show(
    view: Annotated[str, typer.Argument(help="A feature view's name.", metavar="VIEW")],
    folder: _Folder = None,
    as_json: _Json = False,
) -> None:
    """Show a feature view: its features with their units, its freshness, and the models that use it."""
    from console.features import features_show_command

    features_show_command(view, folder=folder, output=Output(as_json=as_json))


@features_app.command(
    name="materialize",
    epilog=_example(
        "everfit features materialize", "everfit features materialize origin_weather --until 2013-04-01 --folder bike"
    ),
)
def features_materialize(
    view: Annotated[str | None, typer.Argument(help="Only this one.", metavar="[VIEW]")] = None,
    until: Annotated[str | None, typer.Option(help="Take what was known by this moment (UTC); default: now.")] = None,
    folder: _Folder = None,
    as_json: _Json = False,
) -> None:
    """Store new events of feature views offline, and the newest values of each key online."""
    from console.features import features_materialize_command

    features_materialize_command(view, until=until, folder=folder, output=Output(as_json=as_json))


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
