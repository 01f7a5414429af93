"""What people do to a registry while a soak goes on."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import get_args

from base.rollout_spec import RolloutKind, RolloutSpec
from base.times import utc_now
from registry.models import find_alias, find_version, promote_version
from registry.rollouts import close_rollout, find_running, start_rollout
from registry.store import Registry

_ACTOR = "soak"


def promote(registry: Registry, model: str, number: int) -> None:
    """Make a version the champion, unless it is."""
    with registry.database.write() as session:
        version = find_version(session, model, number)
        alias = find_alias(session, registry.environment, model)
        assert version is not None
        assert alias is not None
        if alias.number != number:
            promote_version(
                session,
                registry.environment,
                version,
                expected_revision=alias.revision,
                actor=_ACTOR,
                reason="to and fro",
            )


def begin_rollout(registry: Registry, model: str, versions: Sequence[int]) -> None:
    """Start a rollout of any kind with whichever version is not the champion, unless one is running."""
    kinds: tuple[RolloutKind, ...] = get_args(RolloutKind)
    with registry.database.write() as session:
        alias = find_alias(session, registry.environment, model)
        assert alias is not None
        if find_running(session, registry.environment, model) is None:
            start_rollout(
                session,
                registry.environment,
                model,
                kind=random.choice(kinds),
                challengers=[number for number in versions if number != alias.number],
                spec=RolloutSpec(steps=(25, 100), bake="1 hour"),
                actor=_ACTOR,
                reason="a soak",
            )


def end_rollout(registry: Registry, model: str) -> None:
    """Stop the rollout that is running."""
    with registry.database.write() as session:
        running = find_running(session, registry.environment, model)
        if running is not None:
            close_rollout(session, running, status="stopped", actor=_ACTOR, reason="enough", now=utc_now())
