"""`everfit train`: one run of continuous training, orchestrated by Prefect in this process."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from datetime import datetime
from typing import TYPE_CHECKING, Any

from base.errors import ArgumentError
from base.expectations.asking import load_expectations_ahead, take_expectations
from base.imports_ahead import undisturbed_imports
from base.settings import Settings
from base.times import parse_moment
from console.installation import read_settings
from console.prefect_logs import steps_as_progress

if TYPE_CHECKING:
    from console.output import Output

N_STEPS = 8


def train_command(
    pipeline: str, *, as_of: str | None, reason: str | None, output: Output, snapshot: str | None = None
) -> None:
    """Train a pipeline: from its source to a verdict, and to a promotion where the verdict allows it."""
    settings = read_settings()
    moment = _read_moment(as_of)
    # The library that takes longest to load does so beside all that follows.
    load_expectations_ahead()
    try:
        with undisturbed_imports():
            from registry.pipelines import find_pipeline
            from registry.store import open_registry

            definition = find_pipeline(open_registry(settings), pipeline)
        with output.progress(f"train {definition.name}", total=N_STEPS) as step_done:
            result = train_in_this_process(
                settings, str(definition.file), moment, reason or "", step_done, snapshot=snapshot
            )
    finally:
        take_expectations().close()
    if result["outcome"] in ("nothing new", "merge", "suppress", "wait"):
        output.say(f"{result['model']}: {result['reason']}")
        output.result(result)
        return
    output.say(f"{result['model']} version {result['version']} {_served(result)}: {result['reason']}")
    if extracted := result.get("extracted"):
        output.say("rows at the source: " + ", ".join(f"{count:,} {what}" for what, count in extracted.items()))
    if reused := result.get("extraction_reused"):
        output.say(f"source: {reused}")
    output.say(f"fitted on {result['rows_fitted']:,} rows, judged on the newest {result['rows_judged']:,}")
    for what, count in result["quarantined"].items():
        output.say(f"set aside: {count:,} rows, {what}")
    for change in result["changes"]:
        output.say(f"changed: {change}")
    for what, count in result["warnings"].items():
        output.say(f"warning: {count:,} rows, {what}; they stay")
    for why, count in result["rows_left_out"].items():
        output.say(f"left out: {count:,} rows {why}")
    for column, why in result["left_out"].items():
        output.say(f"left out: column {column!r} {why}")
    output.table(["metric", "value"], [[name, f"{value:.4f}"] for name, value in result["metrics"].items()])
    if result["validation"] is not None:
        output.say(f"validation: {result['validation']}")
    output.say(f"report: {result['report']}")
    output.result(result)


def _served(result: dict[str, Any]) -> str:
    if result["promoted"]:
        return "is the champion now"
    if result["waiting"]:
        return f"waits for approval (everfit approve {result['run']} --reason ...)"
    stays = result["champion_before"]
    return "is registered; " + ("there is no champion yet" if stays is None else f"version {stays} stays champion")


def train_in_this_process(
    settings: Settings,
    pipeline: str,
    as_of: datetime | None,
    reason: str,
    step_done: Callable[[str], None],
    *,
    snapshot: str | None = None,
) -> dict[str, Any]:
    """Run the flow here, against a Prefect server that is up or is started for it."""
    from deployments.prefect_server import use_server

    with ExitStack() as until_the_end:
        with undisturbed_imports():
            until_the_end.enter_context(use_server(settings, progress=step_done))
            from flows.continuous_training import continuous_training
        until_the_end.enter_context(steps_as_progress(step_done))
        result: Any = continuous_training(pipeline, as_of=as_of, trigger="person", reason=reason, snapshot=snapshot)
        return dict(result)


def _read_moment(as_of: str | None) -> datetime | None:
    if as_of is None:
        return None
    try:
        return parse_moment(as_of)
    except ValueError as error:
        raise ArgumentError(f"--as-of: {error}") from error
