"""What the tests of rollouts share: a follower without a service, and a rollout of two small models."""

from __future__ import annotations

from concurrent.futures import Executor
from typing import Any

from base.rollout_spec import RolloutKind, RolloutSpec
from registry.rollouts import start_rollout
from registry.store import Registry
from registry.tables import Rollout
from serving.loading.follower import Follower
from serving.scoring.batcher import Batcher


def make_follower(registry: Registry, pool: Executor, *, retired: list[tuple[str, int]] | None = None) -> Follower:
    """Make a follower that nobody starts; its versions are never asked through their queue."""
    gone = [] if retired is None else retired
    return Follower(
        registry,
        models=None,
        seconds=0.05,
        trusted=(),
        make_batcher=lambda scorer, _number: Batcher(scorer, lambda _batches, done: done(None), pool),
        on_retired=lambda model, number: gone.append((model, number)),
    )


def begin(
    registry: Registry, *challengers: int, kind: RolloutKind = "canary", model: str = "trips", **spec: Any
) -> Rollout:
    """Start a rollout."""
    with registry.database.write() as session:
        return start_rollout(
            session,
            registry.environment,
            model,
            kind=kind,
            challengers=challengers or (2,),
            spec=RolloutSpec(**spec),
            actor="test",
            reason="a test wants it",
        )
