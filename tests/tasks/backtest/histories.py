"""Histories with a known change, and walks through them in this process."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from base.artifacts import ArtifactStore
from base.pipeline import Pipeline
from base.settings import Settings
from registry.store import open_registry
from tasks.backtest.answers import Answers
from tasks.backtest.history import read_history
from tasks.backtest.policies import Policy
from tasks.backtest.walk import Ground, Walk
from tests.pipelines import TREE, define, make_trips

START = datetime(2013, 3, 4, tzinfo=UTC)
WEEK = timedelta(days=7)
DELAY = timedelta(days=2)
N_BEFORE = 62 * 24


def make_history(n_weeks: int = 9, *, changes_in: int | None = 2, seed: int = 0) -> pd.DataFrame:
    """Trips of every hour; from one week on, short trips are late too: an old model is wrong of a quarter of them."""
    n_rows = N_BEFORE + n_weeks * 7 * 24
    trips = make_trips(n_rows, seed=seed, start="2013-01-01")
    trips = trips.assign(at=trips["at"].dt.as_unit("us"))
    if changes_in is not None:
        is_new = (trips["at"] >= pd.Timestamp(START + changes_in * WEEK)).to_numpy()
        is_turned = is_new & trips["distance"].between(5, 10).to_numpy()
        trips["late"] = trips["late"].where(~is_turned, ~trips["late"])
    return trips


def definition(**changes: Any) -> dict[str, Any]:
    """A definition with weekly windows, labels two days late, and the cost-aware policy."""
    given: dict[str, Any] = {
        "extract": {"source": "data.parquet", "label_delay": "2 days"},
        "train": {"estimators": [TREE], "window": "21 days"},
        "monitor": {"window": "7 days", "min_rows": 50},
        "triggers": {"price": 0.1},
    }
    return define(**given | changes)


def make_ground(pipeline: Pipeline, folder: Path, **stretch: Any) -> Ground:
    """Read a history into a folder, for walks in this process."""
    settings = Settings(home=folder / "home")
    registry = open_registry(settings)
    artifacts = ArtifactStore(str(folder / "work" / "artifacts"))
    stretch.setdefault("start", START)
    history = read_history(pipeline, registry, settings, artifacts, **stretch).open(pipeline, artifacts)
    answers = Answers(history, artifacts, n_first=history.slice_of(history.spans[0]).start)
    own = replace(registry, artifacts=artifacts)
    return Ground(history=history, registry=own, settings=settings, answers=answers, probes={}, versions={})


def walk_whole(policy: Policy, ground: Ground, *, price: float = 0.1) -> Walk:
    """Walk one policy from the first window to the last."""
    walk = Walk(policy, policy.apply(ground.history.pipeline, price=price), ground)
    walk.begin()
    walk.go(walk.n_steps)
    return walk
