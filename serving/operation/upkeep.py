"""What a service does beside answering: small duties in one thread, each in its own rhythm."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from base.background import Background

_log = logging.getLogger(__name__)


@dataclass
class _Duty:
    what: str
    work: Callable[[], object]
    seconds: float
    due: float = 0.0
    has_failed: bool = False


class Upkeep:
    """A thread that does duties again and again; one that fails is told of once, and tried again."""

    def __init__(self) -> None:
        self._duties: list[_Duty] = []
        self._background = Background(self._run, name="everfit-upkeep")

    def add(self, what: str, work: Callable[[], object], *, seconds: float) -> None:
        """Have something done every *seconds*; *what* names it in the log, as in ``reading the tokens``."""
        self._duties.append(_Duty(what, work, seconds))

    def start(self) -> None:
        """Begin."""
        self._background.start()

    def stop(self) -> None:
        """End; a duty that waits for a lost database is not waited for."""
        self._background.stop()

    def _run(self) -> None:
        while not self._background.is_stopping:
            for duty in self._duties:
                if time.monotonic() >= duty.due:
                    self._do(duty)
            soonest = min((duty.due for duty in self._duties), default=time.monotonic() + 1)
            self._background.sleep(max(0.01, soonest - time.monotonic()))

    def _do(self, duty: _Duty) -> None:
        try:
            duty.work()
        except Exception as error:
            if not duty.has_failed:
                _log.warning("%s failed, what is known goes on: %s: %s", duty.what, type(error).__name__, error)
            duty.has_failed = True
        else:
            if duty.has_failed:
                _log.info("%s goes well again", duty.what)
            duty.has_failed = False
        duty.due = time.monotonic() + duty.seconds
