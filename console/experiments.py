"""`everfit experiments`: what a training tried, and what came of it."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from console.installation import is_registry_new, open_registry, read_settings

if TYPE_CHECKING:
    from console.output import Output
    from registry.tables import Experiment

_LONGEST = 90


def experiments_command(pipeline: str | None, *, run: str | None, limit: int, output: Output) -> None:
    """List experiments: the newest run first, and of each run the chosen candidate, the others, the windows.

    Raises
    ------
    ArgumentError
        If there is no such run or pipeline.
    """
    settings = read_settings()
    if pipeline is None and run is None and is_registry_new(settings):
        output.say("Nothing was tried here yet; `everfit train` begins.")
        output.result([])
        return
    from registry.experiments import find_origin, list_experiments
    from registry.tables import Run

    registry = open_registry(settings)
    with registry.database.read() as session:
        if run is not None and session.get(Run, run) is None:
            raise ArgumentError(f"there is no run {run!r}; `everfit experiments` lists experiments with their runs")
        if pipeline is not None:
            _check_pipeline(session, pipeline)
        origin = None if run is None else find_origin(session, run)
        found = list_experiments(session, pipeline=pipeline, run_id=origin, limit=limit)
    if origin is not None and origin != run:
        output.say(f"Run {run} reused the fits of run {origin}.")
    if not found:
        output.say("No experiment is recorded; runs of earlier versions of Everfit have none.")
    for run_id in dict.fromkeys(each.run_id for each in found):
        rows = [each for each in found if each.run_id == run_id]
        output.say(f"run {run_id} of {rows[0].pipeline}, seed {rows[0].seed}")
        output.table(
            ["", "what", "parameters", "loss", "folds", "rows", "fits", "seconds", "outcome"],
            [_cells(each) for each in rows],
        )
    output.result([as_json(each) for each in found])


def as_json(experiment: Experiment) -> dict[str, Any]:
    """Give one experiment as a document, with its folds, metrics and curves."""
    return {
        "run": experiment.run_id,
        "pipeline": experiment.pipeline,
        "number": experiment.number,
        "kind": experiment.kind,
        "estimator": experiment.estimator,
        "parameters": experiment.parameters,
        "seed": experiment.seed,
        "window": experiment.window or None,
        "loss": experiment.loss,
        "rows": experiment.n_rows,
        "seconds": experiment.seconds,
        "error": experiment.error,
        "is_chosen": experiment.is_chosen,
        "recorded_at": experiment.recorded_at.isoformat(),
        **{name: experiment.document[name] for name in _DETAILS if name in experiment.document},
    }


_DETAILS = ("fold_losses", "losses", "metrics", "curves", "n_fits", "share", "origin")


def _cells(experiment: Experiment) -> list[str]:
    document = experiment.document
    is_window = experiment.kind == "window"
    losses = document.get("losses" if is_window else "fold_losses") or ()
    return [
        "*" if experiment.is_chosen else "",
        f"window {experiment.window}" if is_window else experiment.estimator.rpartition(".")[2],
        "(a probe of the chosen)" if is_window else _shorten(json.dumps(experiment.parameters)),
        "" if experiment.loss is None else f"{experiment.loss:.4g}",
        " ".join(f"{loss:.4g}" for loss in losses),
        "" if experiment.n_rows is None else f"{experiment.n_rows:,}",
        str(document.get("n_fits", 1)),
        f"{experiment.seconds:.1f}",
        _outcome(experiment),
    ]


def _outcome(experiment: Experiment) -> str:
    if experiment.error is not None:
        return f"failed: {_shorten(experiment.error)}"
    if experiment.is_chosen:
        return "chosen" if experiment.kind == "window" else f"chosen, window {experiment.window}"
    share = experiment.document.get("share", 1.0)
    outdone = f"outdone with {share:.0%} of the rows or iterations" if share < 1 else ""
    origin = experiment.document.get("origin", "")
    return ", ".join(part for part in (outdone, "the champion's recipe" if origin == "champion" else "") if part)


def _shorten(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


def _check_pipeline(session: Any, pipeline: str) -> None:
    from base.errors import nearest
    from registry.pipelines import list_pipelines

    known = list_pipelines(session)
    if pipeline not in known:
        raise ArgumentError(
            f"there is no pipeline {pipeline!r}; registered are {', '.join(known) or 'none'}{nearest(pipeline, known)}"
        )
