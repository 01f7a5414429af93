"""The claim that a backtest is no second implementation: a live replay of the same stream takes the same decisions."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlmodel import select

from base.settings import Settings
from monitoring.cutting import list_windows
from registry.manifest import ModelManifest
from registry.models import find_alias, find_version
from registry.runs import list_runs
from registry.store import Registry
from registry.tables import Run
from tasks.backtest.moments import list_moments
from tasks.backtest.policies import OWN, choose_policies
from tasks.backtest.walk import Walk
from tasks.drift_detection import detect_drift
from tests.monitoring.traffic import serve
from tests.pipelines import make_pipeline
from tests.tasks.backtest.histories import DELAY, START, definition, make_ground, make_history, walk_whole
from tests.trainings import Trainings, training_server, trainings

__all__ = ["training_server", "trainings"]

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


@dataclass(frozen=True)
class Decision:
    """What was decided on a window, and what came of the training."""

    window: pd.Timestamp
    outcome: str
    asked: str | None
    ruling: str | None
    reason: str


@pytest.mark.parametrize(
    "triggers",
    [
        {"price": 0.1},
        {"price": 0.05, "cooldown": "20 days"},
        {"policy": "level"},
        {"policy": "sequential", "budget": "1 per 30 days"},
    ],
    ids=["cost-aware", "with a cooldown", "level", "sequential with a budget"],
)
def test_a_live_replay_takes_the_decisions_of_the_backtest(
    triggers: dict[str, Any], trainings: Trainings, registry: Registry, settings: Settings, tmp_path: Path
) -> None:
    trips = make_history()
    pipeline = make_pipeline(tmp_path / "trips", trips, definition(triggers={"price": 0.1} | triggers))
    ground = make_ground(pipeline, tmp_path / "backtest")
    own = next(policy for policy in choose_policies(pipeline) if policy.name == OWN)
    walk = walk_whole(own, ground, price=float(pipeline.spec.triggers.price))

    live = _replay_live(walk, trips, trainings, registry, settings, tmp_path / "trips" / "pipeline.yaml")

    asked = [decision for decision in live if decision.asked]
    assert asked, "a change of the world that nobody asks a training for tells nothing"
    assert [_told(window) for window in walk.state.windows] == [
        (decision.window, decision.outcome, decision.asked, decision.ruling) for decision in live
    ]
    for window, decision in zip(walk.state.windows, live, strict=True):
        assert window.reason.startswith(decision.reason)
    with registry.database.read() as session:
        runs = sorted(list_runs(session), key=lambda run: run.started_at)
        verdicts = [(_verdict(session, run), run.status == "promoted") for run in runs]
        alias = find_alias(session, registry.environment, "trips")
    assert [(done.verdict, done.promoted) for done in walk.state.done] == verdicts
    assert alias is not None
    assert len(walk.state.reigns) == sum(promoted for _, promoted in verdicts)


def _replay_live(
    walk: Walk, trips: pd.DataFrame, trainings: Trainings, registry: Registry, settings: Settings, file: Path
) -> list[Decision]:
    """Serve and label the rows as time goes by, look when the monitor would, and train what was granted."""
    pipeline = walk.pipeline
    assert trainings.train(file, as_of=START) == 0
    served = START
    asked: dict[pd.Timestamp, tuple[str, str]] = {}
    for moment in list_moments(walk.ground.history, pipeline, looks=True):
        rows = trips[(trips["at"] >= served) & (trips["at"] < moment.at)]
        if len(rows):
            number, manifest = _champion(registry)
            serve(settings.home, registry, manifest, rows, number=number, label_delay=DELAY)
            served = moment.at
        for checked in detect_drift(pipeline, registry, settings, until=moment.at):
            if checked.taken is None or checked.conclusion.asks is None:
                continue
            asked[pd.Timestamp(checked.measured.start)] = checked.conclusion.asks, checked.taken.outcome
            if checked.taken.outcome == "start":
                assert trainings.train(
                    file,
                    as_of=moment.at,
                    trigger=checked.conclusion.asks,
                    reason=checked.conclusion.reason,
                    launch=checked.taken.launch_id,
                ) in (0,)
    with registry.database.read() as session:
        windows = list_windows(session, "trips")
    found = []
    for row in windows:
        kind, word = asked.get(pd.Timestamp(row.start)) or (None, None)
        found.append(Decision(pd.Timestamp(row.start), row.outcome, kind, word, row.reason))
    return found


def _champion(registry: Registry) -> tuple[int, ModelManifest]:
    with registry.database.read() as session:
        alias = find_alias(session, registry.environment, "trips")
        assert alias is not None
        version = find_version(session, "trips", alias.number)
        assert version is not None
        return version.number, ModelManifest.model_validate(version.manifest)


def _told(window: Any) -> tuple[pd.Timestamp, str, str | None, str | None]:
    return pd.Timestamp(window.start), window.outcome, window.asked, window.ruling


def _verdict(session: Any, run: Run) -> str:
    from registry.tables import Decision as Entry

    entries = session.exec(select(Entry).where(Entry.run_id == run.id, Entry.kind == "gate")).all()
    assert len(entries) == 1
    return str(entries[0].outcome)
