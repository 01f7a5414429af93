"""A version in service, and one that was refused."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import datetime

from base.errors import EverfitError
from registry.manifest import ModelManifest
from registry.tables import ModelVersion
from serving.scoring.batcher import Batcher
from serving.scoring.scorer import Scorer

# What fails to load may load later (a store that was away, memory that was short), but seldom soon.
_FIRST_RETRY_SECONDS = 10.0
_LAST_RETRY_SECONDS = 600.0


@dataclass(frozen=True)
class Served:
    """A version in service; a request that began with it ends with it."""

    version: ModelVersion
    scorer: Scorer
    batcher: Batcher
    loaded_at: datetime
    number: int = field(init=False)

    def __post_init__(self) -> None:
        # Asked for by each request, and dear to ask the table's row for.
        object.__setattr__(self, "number", self.version.number)

    @property
    def manifest(self) -> ModelManifest:
        """What the version carries."""
        return self.scorer.manifest


@dataclass(frozen=True)
class Refused:
    """A version that should serve and does not, and why."""

    number: int
    reason: str
    retry_at: float
    wait_seconds: float

    @classmethod
    def after(cls, error: Exception, number: int, last: Refused | None) -> Refused:
        """Say why a version was refused, and wait twice as long as after its last refusal."""
        reason = str(error) if isinstance(error, EverfitError) else f"{type(error).__name__}: {error}"
        is_known = last is not None and last.number == number
        wait = min(last.wait_seconds * 2, _LAST_RETRY_SECONDS) if last and is_known else _FIRST_RETRY_SECONDS
        return cls(number, reason, time.monotonic() + wait, wait)

    @property
    def is_due(self) -> bool:
        """Whether it is time to try again."""
        return time.monotonic() >= self.retry_at
