"""Watch for the trainings that monitoring asks for, while a replay goes on."""

from __future__ import annotations

import time
from collections.abc import Callable

from sqlmodel import col, select

from base.errors import RunFailed
from registry.launches import describe_launch, list_launches
from registry.store import Registry
from registry.tables import Run

# While a training is under way the replay slows down, so that it takes about a day of the replayed time.
_PACED_SECONDS = 0.12
_START_SECONDS = 90.0
_END_SECONDS = 300.0


class TrainingWatch:
    """Follows the trainings that monitoring asked for, while requests go on."""

    def __init__(self, registry: Registry, name: str, say: Callable[[str], None]) -> None:
        self._registry = registry
        self._name = name
        self._say = say
        self._known = self._finished()
        self._asked_at: float | None = None

    def expect(self) -> None:
        """A training was asked for: slow down, and look for it."""
        self._asked_at = time.monotonic()

    def look(self) -> None:
        """Between two requests: has the training ended?"""
        if self._asked_at is None:
            return
        time.sleep(_PACED_SECONDS)
        finished = self._finished()
        if len(finished) > len(self._known):
            run = finished[-1]
            self._say(f"run {run.id} ({run.trigger}) {run.status}: {run.reason}")
            self._known, self._asked_at = finished, None
            return
        waited = time.monotonic() - self._asked_at
        if waited > _END_SECONDS or (waited > _START_SECONDS and not self._is_under_way()):
            problem = "end" if self._is_under_way() else "begin"
            raise RunFailed(
                f"the training that was asked for {waited:.0f} s ago did not {problem}: {self._tell_launch()}; "
                "the worker's log is in the home's logs folder"
            )

    def finish(self) -> None:
        """Wait for a training that is still under way at the end."""
        while self._asked_at is not None:
            self.look()

    def _finished(self) -> list[Run]:
        with self._registry.database.read() as session:
            query = select(Run).where(Run.pipeline == self._name, col(Run.under_way).is_(None))
            return list(session.exec(query.order_by(col(Run.finished_at))))

    def _tell_launch(self) -> str:
        with self._registry.database.read() as session:
            newest = list_launches(session, pipeline=self._name, limit=1)
        if not newest:
            return "no launch was granted"
        told = f"launch {newest[0].id} {describe_launch(newest[0])}"
        return f"{told}; {newest[0].trouble}" if newest[0].trouble else told

    def _is_under_way(self) -> bool:
        with self._registry.database.read() as session:
            return session.exec(select(Run).where(Run.under_way == self._name)).first() is not None
