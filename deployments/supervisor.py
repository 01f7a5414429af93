"""Start the processes of the embedded set-up, restart what dies, stop them all and leave nothing behind."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from base.errors import EverfitError
from deployments.child_process import ChildProcess, ChildSpec

_LOOK_SECONDS = 0.2
_START_LOOK_SECONDS = 0.05
# A child that lived for so long before it died is restarted at once; one that keeps dying waits twice as long
# each time, up to the last figure.
_STEADY_SECONDS = 60.0
_FIRST_WAIT_SECONDS = 0.5
_LONGEST_WAIT_SECONDS = 30.0
# A child that lives but does not answer: asked so often, restarted after so long.
_HEALTH_EVERY_SECONDS = 5.0
_DEAF_SECONDS = 60.0


@dataclass
class _Watched:
    spec: ChildSpec
    child: ChildProcess
    started_at: float
    healthy_at: float
    asked_at: float
    wait_seconds: float = _FIRST_WAIT_SECONDS
    restart_at: float | None = None
    n_restarts: int = 0
    # Until its start has been waited for, a failure is the waiter's to tell.
    is_started: bool = False


class Supervisor:
    """Keeps child processes alive, in the order in which they were started; a context manager that stops them.

    Each child writes to ``logs/NAME.log``. *progress* is told what happens, from any thread.
    """

    def __init__(self, logs: Path, *, progress: Callable[[str], None] = lambda _: None) -> None:
        self._logs = logs
        self._progress = progress
        self._watched: list[_Watched] = []
        self._lock = threading.RLock()
        self._stopping = threading.Event()
        self._watcher: threading.Thread | None = None

    def __enter__(self) -> Supervisor:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self, *specs: ChildSpec) -> None:
        """Start children side by side, wait until each is healthy, and watch them from then on.

        Raises
        ------
        PortInUse
            If another process listens where one of them should; none is started then.
        ChildFailed
            If one of them does not become healthy.
        """
        self.begin(*specs).wait()

    def begin(self, *specs: ChildSpec) -> Starting:
        """Start children without waiting for them; :meth:`Starting.wait` does."""
        for spec in specs:
            spec.check_port()
        return Starting(self, [self._spawn_watched(spec) for spec in specs])

    def stop(self) -> None:
        """Stop all children, the last started first, with all that they started."""
        self._stopping.set()
        if self._watcher is not None:
            self._watcher.join()
        with self._lock:
            watched, self._watched = self._watched, []
        for one in reversed(watched):
            self._progress(f"stopping the {one.spec.name}")
            one.child.stop()

    def pids(self) -> dict[str, int]:
        """Return the process of each child by its name."""
        with self._lock:
            return {one.spec.name: one.child.pid for one in self._watched}

    def restarts(self) -> dict[str, int]:
        """Return how often each child was restarted."""
        with self._lock:
            return {one.spec.name: one.n_restarts for one in self._watched}

    def _spawn_watched(self, spec: ChildSpec) -> _Watched:
        self._progress(f"starting the {spec.name}")
        now = time.monotonic()
        watched = _Watched(spec, self._spawn(spec), started_at=now, healthy_at=now, asked_at=now)
        with self._lock:
            self._watched.append(watched)
        return watched

    def _wait(self, starting: list[_Watched]) -> None:
        while waiting := [one for one in starting if not one.is_started]:
            for one in waiting:
                if one.child.has_started():
                    one.healthy_at = one.asked_at = time.monotonic()
                    one.is_started = True
                    self._progress(f"the {one.spec.name} is up after {one.healthy_at - one.started_at:.1f} s")
            time.sleep(_START_LOOK_SECONDS)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._watch, name="supervisor", daemon=True)
            self._watcher.start()

    def _spawn(self, spec: ChildSpec) -> ChildProcess:
        return ChildProcess(spec, self._logs / f"{spec.name.lower().replace(' ', '-')}.log")

    def _watch(self) -> None:
        while not self._stopping.wait(_LOOK_SECONDS):
            with self._lock:
                watched = [one for one in self._watched if one.is_started]
            for one in watched:
                # What goes wrong with one child must not end the watch over the others.
                with contextlib.suppress(EverfitError, OSError):
                    self._look_after(one)

    def _look_after(self, one: _Watched) -> None:
        now = time.monotonic()
        if one.restart_at is not None:
            if now >= one.restart_at:
                one.child = self._spawn(one.spec)
                one.restart_at = None
                one.started_at = one.healthy_at = one.asked_at = now
                one.n_restarts += 1
            return
        if (code := one.child.exit_code) is not None:
            self._plan_restart(one, now, f"ended with code {code}")
        elif now - one.asked_at >= _HEALTH_EVERY_SECONDS:
            one.asked_at = now
            if one.spec.is_healthy():
                one.healthy_at = now
            elif now - one.healthy_at > max(_DEAF_SECONDS, one.spec.start_seconds):
                self._plan_restart(one, now, f"has not answered for {now - one.healthy_at:.0f} s")

    def _plan_restart(self, one: _Watched, now: float, problem: str) -> None:
        one.child.stop()
        if now - one.started_at > _STEADY_SECONDS:
            one.wait_seconds = _FIRST_WAIT_SECONDS
        self._progress(f"the {one.spec.name} {problem}; starting it again in {one.wait_seconds:g} s")
        one.restart_at = now + one.wait_seconds
        one.wait_seconds = min(2 * one.wait_seconds, _LONGEST_WAIT_SECONDS)


@dataclass(frozen=True)
class Starting:
    """Children that were started and have yet to become healthy."""

    _supervisor: Supervisor
    _children: list[_Watched]

    def wait(self) -> None:
        """Wait until all are healthy.

        Raises
        ------
        ChildFailed
            If one of them does not become healthy.
        """
        self._supervisor._wait(self._children)
