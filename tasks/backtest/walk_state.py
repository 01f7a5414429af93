"""How far one policy has come, as a document: a backtest that was killed goes on from it."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from base.artifacts import Artifact, ArtifactStore
from base.references import TrainingData, Trigger
from monitoring.alarms.alarm import AlarmState
from monitoring.alarms.quiet_history import QuietWindow
from monitoring.arbiter import Training
from monitoring.performance import ScoredEstimate
from monitoring.policies.cost_aware import PolicyState
from registry.manifest import ModelManifest
from tasks.backtest.result import ReplayedWindow


class Reign(BaseModel):
    """A version and since when it has served; ``rows`` names the rows that its training saw."""

    model_config = ConfigDict(frozen=True)

    number: int
    since: datetime
    manifest: Artifact
    data: TrainingData
    learnt_until: datetime | None = None

    def load(self, artifacts: ArtifactStore) -> ModelManifest:
        """Read the version's manifest."""
        return _load_manifest(artifacts, self.manifest)


class Waiting(BaseModel):
    """A training that was granted, and waits for quiet hours to end."""

    model_config = ConfigDict(frozen=True)

    not_before: datetime
    trigger: Trigger
    reason: str
    window: int
    as_of: datetime | None = None


class Done(BaseModel):
    """A training that was done: as the arbiter looks at it, and what came of it."""

    model_config = ConfigDict(frozen=True)

    training: Training
    window: int
    verdict: str
    promoted: bool
    reason: str
    seconds: float
    number: int | None = None

    @property
    def counts(self) -> bool:
        """Whether it has answered anything: one that failed has not."""
        return self.verdict not in ("failed", "unchanged")


class WalkState(BaseModel):
    """All that a walk remembers between two of its steps.

    ``quiet`` are the windows that say what is usual, ``open`` by number those whose labels are waited for, as
    monitoring writes them.
    """

    model_config = ConfigDict(frozen=True)

    n_steps: int = 0
    n_windows: int = 0
    reigns: tuple[Reign, ...] = ()
    last_rows: str | None = None
    n_last: int = 0
    keys: frozenset[str] = frozenset()
    alarms: AlarmState = AlarmState()
    quiet: tuple[QuietWindow, ...] = ()
    open: dict[int, dict[str, Any]] = Field({})
    policy: PolicyState = PolicyState()
    estimates: tuple[tuple[int, ScoredEstimate], ...] = ()
    waiting: Waiting | None = None
    done: tuple[Done, ...] = ()
    windows: tuple[ReplayedWindow, ...] = ()


@lru_cache(maxsize=64)
def _load_manifest(artifacts: ArtifactStore, artifact: Artifact) -> ModelManifest:
    return ModelManifest.model_validate_json(artifacts.read_bytes(artifact))
