"""Claims about the watch over a replay's trainings: it sees what launches become, and says what keeps one away."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from base.errors import RunFailed
from base.pipeline import Pipeline
from base.times import utc_now
from deployments import training_watch
from deployments.training_watch import TrainingWatch
from monitoring.desk import TriggerRequest, take
from registry.launches import give_up, release
from registry.pipelines import register_pipeline
from registry.runs import begin_run, finish_run, this_process
from registry.store import Registry
from registry.tables import Run


@pytest.fixture
def launch(
    registry: Registry, make_pipeline: Callable[[str], Pipeline], monkeypatch: pytest.MonkeyPatch
) -> tuple[Pipeline, str]:
    """A training that monitoring asked for and was granted; nobody has sent it yet."""
    monkeypatch.setattr(training_watch, "_PACED_SECONDS", 0.0)
    pipeline = make_pipeline("trips")
    register_pipeline(registry, pipeline)
    request = TriggerRequest(pipeline="trips", kind="performance", key="w1", reason="loss +12 %", actor="monitoring")
    granted = take(registry, request, now=utc_now()).launch_id
    assert granted is not None
    return pipeline, granted


def test_a_training_is_told_when_the_run_that_its_launch_became_has_ended(
    registry: Registry, launch: tuple[Pipeline, str]
) -> None:
    said: list[str] = []
    watch = TrainingWatch(registry, "trips", said.append)
    pipeline, granted = launch
    watch.look()
    watch.expect()
    watch.look()
    version = register_pipeline(registry, pipeline)
    with registry.database.write() as session:
        run, _ = begin_run(
            session,
            version,
            parameters={},
            trigger="performance",
            owner=this_process(),
            lease=timedelta(minutes=1),
            launch=granted,
        )
    watch.look()
    before = list(said)
    with registry.database.write() as session:
        finish_run(session, session.get_one(Run, run.id), status="promoted", reason="better")

    watch.finish()

    assert (before, said) == ([], [f"run {run.id} (performance) promoted: better"])


@pytest.mark.parametrize(
    ("what", "told"),
    [
        ("waits", "launch {launch} waits to begin; Prefect's server is away"),
        ("given up", "launch {launch} has ended: no module named features"),
    ],
)
def test_a_launch_that_comes_to_nothing_is_named_with_the_reason(
    registry: Registry, launch: tuple[Pipeline, str], monkeypatch: pytest.MonkeyPatch, what: str, told: str
) -> None:
    monkeypatch.setattr(training_watch, "_START_SECONDS", 0.0)
    with registry.database.write() as session:
        if what == "waits":
            release(session, launch[1], now=utc_now(), trouble="Prefect's server is away")
        else:
            give_up(session, launch[1], now=utc_now(), trouble="no module named features")
    watch = TrainingWatch(registry, "trips", lambda _: None)
    watch.expect()

    with pytest.raises(RunFailed, match="did not begin") as failed:
        watch.finish()

    assert told.format(launch=launch[1]) in str(failed.value)
