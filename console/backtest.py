"""`everfit backtest`: retraining policies on a pipeline's own history, in this process, without Prefect."""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from base.atomic_files import write_atomically
from base.errors import ArgumentError
from base.times import parse_moment, utc_now
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from base.pipeline import Pipeline
    from base.settings import Settings
    from console.output import Output
    from tasks.backtest.files import BacktestFiles
    from tasks.backtest.request import BacktestProgress, BacktestRequest
    from tasks.backtest.result import BacktestResult

_SECONDS_BETWEEN_LINES = 5.0


@dataclass(frozen=True)
class Wanted:
    """What the command was given, as it was written."""

    start: str | None = None
    stop: str | None = None
    policies: str | None = None
    price: float | None = None
    budget: float | None = None
    again: bool = False
    picture: str | None = None
    folder: str | None = None
    browse: bool = False


def backtest_command(pipeline: str, wanted: Wanted, *, output: Output) -> None:
    """Replay a pipeline's history through policies; print what to take, and write the page and the tables.

    Raises
    ------
    ArgumentError, DefinitionError, DataRefused
        As :func:`tasks.backtest.run.run_backtest`, and where an option is wrong.
    """
    request = _read_request(wanted)
    picture = _check_target(wanted)
    settings = read_settings()
    definition = _find(settings, pipeline)
    result = _run(definition, settings, request, output)
    from tasks.backtest.files import new_folder, write_files

    folder = new_folder(settings.home, result.pipeline, utc_now()) if wanted.folder is None else Path(wanted.folder)
    files = write_files(result, folder)
    if picture is not None:
        from tasks.backtest.charts_picture import draw_backtest

        write_atomically(picture, draw_backtest(result).encode())
    _say(result, files, picture, output)
    if wanted.browse:
        import webbrowser

        webbrowser.open(files.page.as_uri())


def _run(definition: Pipeline, settings: Settings, request: BacktestRequest, output: Output) -> BacktestResult:
    from tasks.backtest.run import run_backtest

    try:
        with _progress(f"backtest {definition.name}") as tell:
            return run_backtest(definition, settings, request, progress=tell)
    except KeyboardInterrupt:
        output.warn("what was computed is kept: the same command goes on from there, --budget gives an answer so far")
        raise


def _find(settings: Settings, pipeline: str) -> Pipeline:
    from base.definition import read_pipeline

    path = Path(pipeline)
    # A definition can be tried before anything was trained, and a name only where there is a registry.
    if is_registry_new(settings) and (path.suffix in (".yaml", ".yml") or (path / "pipeline.yaml").is_file()):
        return read_pipeline(path)
    from registry.pipelines import find_pipeline

    return find_pipeline(open_registry(settings), pipeline)


def _read_request(wanted: Wanted) -> BacktestRequest:
    from tasks.backtest.request import BacktestRequest

    start, stop = _read_moment("--from", wanted.start), _read_moment("--to", wanted.stop)
    if start is not None and stop is not None and start >= stop:
        raise ArgumentError(f"--from is {wanted.start!r}, expected a moment before --to, which is {wanted.stop!r}")
    for name, value in (("--price", wanted.price), ("--budget", wanted.budget)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ArgumentError(f"{name} is {value!r}, expected a number above 0")
    policies = None if wanted.policies is None else Path(wanted.policies)
    if policies is not None and not policies.is_file():
        raise ArgumentError(f"--policies: there is no file {wanted.policies!r}")
    return BacktestRequest(
        start=start, stop=stop, policies=policies, price=wanted.price, budget=wanted.budget, again=wanted.again
    )


def _check_target(wanted: Wanted) -> Path | None:
    """Refuse before the work, not after it, what could not be written."""
    if wanted.folder is not None and Path(wanted.folder).is_file():
        raise ArgumentError(f"--output is {wanted.folder!r}, a file; expected a folder, which may not be there yet")
    if wanted.picture is None:
        return None
    picture = Path(wanted.picture)
    if picture.suffix.lower() != ".svg":
        raise ArgumentError(f"--picture is {wanted.picture!r}, expected a file that ends in .svg")
    if not picture.absolute().parent.is_dir():
        raise ArgumentError(f"--picture: there is no folder {str(picture.parent)!r}")
    return picture


def _read_moment(name: str, text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        return parse_moment(text)
    except ValueError as error:
        raise ArgumentError(f"{name}: {error}") from error


def _say(result: BacktestResult, files: BacktestFiles, picture: Path | None, output: Output) -> None:
    from tasks.backtest.table import COLUMNS, NO_ANSWER, policy_rows, summarise, tell_cheapest

    if not result.is_complete and result.n_judged:
        output.warn("the budget ended first: this is the best answer so far, and the same command goes on from here")
    output.table(COLUMNS, policy_rows(result))
    output.say(
        f"loss: mean of {result.n_judged:,} windows of {result.window}, {result.unit} = 1; a training costs "
        f"{result.price:g} ({result.price_tells})"
    )
    if cheapest := tell_cheapest(result):
        output.say(f"{cheapest[0].lower()}{cheapest[1:]}")
    for note in result.notes:
        output.say(f"note: {note}")
    if result.n_judged:
        output.say(f"take {result.recommended}: {result.why}")
        output.say()
        for line in result.yaml.strip().splitlines():
            output.say(f"    {line}")
        output.say()
    else:
        output.say(NO_ANSWER)
    output.say(f"page: {files.page}")
    if picture is not None:
        output.say(f"picture: {picture}")
    paths = {"page": files.page, "result": files.result, "windows": files.windows, "trainings": files.trainings}
    drawn = {} if picture is None else {"picture": picture.absolute()}
    output.result(summarise(result) | {"files": {name: str(path) for name, path in (paths | drawn).items()}})


@contextmanager
def _progress(title: str) -> Iterator[Callable[[BacktestProgress], None]]:
    """Show how far it is and how long it takes yet: a bar on a terminal, elsewhere a line now and then."""
    from tasks.backtest.table import describe_progress

    if not sys.stderr.isatty():
        last = -_SECONDS_BETWEEN_LINES

        def tell(progress: BacktestProgress) -> None:
            nonlocal last
            if time.monotonic() - last >= _SECONDS_BETWEEN_LINES:
                last = time.monotonic()
                sys.stderr.write(f"{title}: {describe_progress(progress)}\n")
                sys.stderr.flush()

        yield tell
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("{task.fields[left]}", markup=False),
    )
    from tasks.batch.progress import describe_seconds

    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=None, left="")

        def show(progress: BacktestProgress) -> None:
            left = "" if progress.seconds_left is None else f"{describe_seconds(progress.seconds_left)} left"
            bar.update(
                task,
                completed=progress.done,
                total=progress.total,
                description=f"{title}: {progress.doing}" if progress.doing else title,
                left=left,
            )

        yield show
