"""Several workers at one address: started, watched, started again when they die, drained together.

Each listens on a socket of its own (SO_REUSEPORT), so that the kernel spreads the connections evenly. Were one socket
shared, the worker that wakes first would take all that have come at once, and keep them.
"""

from __future__ import annotations

import logging
import os
import pickle
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from select import select
from types import FrameType

from base.errors import RunFailed
from base.settings import Settings

_log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.1
# A worker that ends sooner than this is started again later and later.
_STEADY_SECONDS = 30.0
_FIRST_WAIT_SECONDS = 0.5
_LAST_WAIT_SECONDS = 30.0
# The worker's own drain, and some time to close what it has open.
_STOP_SECONDS = 45.0


@dataclass
class _Worker:
    """One place for a worker, and who has it."""

    number: int
    process: subprocess.Popen[bytes] | None = None
    ready: int | None = None
    is_ready: bool = False
    started: float = 0.0
    due: float = 0.0
    n_quick_ends: int = 0


def hold_address(host: str, port: int) -> socket.socket:
    """Bind an address for sockets of several processes, without listening: nothing that comes waits here."""
    held = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    held.bind((host, port))
    return held


class Workers:
    """The workers of one service.

    Parameters
    ----------
    address : socket
        Holds the address, as :func:`hold_address` made it.
    announce : callable
        Is called when the first worker answers.
    desk : str, optional
        The function that takes what hooks ask for.
    """

    def __init__(
        self,
        settings: Settings,
        address: socket.socket,
        *,
        n_workers: int,
        models: Collection[str] | None,
        announce: Callable[[], None],
        desk: str | None = None,
    ) -> None:
        self._settings = settings
        self._address = address
        self._models = models
        self._desk = desk
        self._announce: Callable[[], None] | None = announce
        self._workers = [_Worker(number) for number in range(n_workers)]
        self._numbers = Path(tempfile.mkdtemp(prefix="everfit-numbers-"))
        self._is_stopping = threading.Event()

    def run(self) -> None:
        """Keep the workers running until SIGTERM or Ctrl-C, then let them answer what they were asked.

        Raises
        ------
        RunFailed
            If a worker ends before any has answered: the next one would end in the same way.
        """
        before = {}
        if threading.current_thread() is threading.main_thread():
            before = {number: signal.signal(number, self._stop_on) for number in (signal.SIGTERM, signal.SIGINT)}
        try:
            while not self._is_stopping.is_set():
                for worker in self._workers:
                    self._look_after(worker)
                self._is_stopping.wait(_LOOK_SECONDS)
        finally:
            self._stop()
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop_on(self, _number: int, _frame: FrameType | None) -> None:
        self._is_stopping.set()

    def _look_after(self, worker: _Worker) -> None:
        if worker.process is None:
            if time.monotonic() >= worker.due:
                self._start(worker)
            return
        if not worker.is_ready and self._has_announced(worker):
            worker.is_ready = True
            if self._announce is not None:
                self._announce()
                self._announce = None
        code = worker.process.poll()
        if code is None:
            return
        if self._announce is not None:
            raise RunFailed(
                f"worker {worker.number} ended with {code} before any worker answered; its last lines above say why"
            )
        self._let_go(worker)
        lasted = time.monotonic() - worker.started
        worker.n_quick_ends = 0 if lasted >= _STEADY_SECONDS else worker.n_quick_ends + 1
        wait = 0.0
        if worker.n_quick_ends > 1:
            wait = min(_FIRST_WAIT_SECONDS * 2 ** (worker.n_quick_ends - 2), _LAST_WAIT_SECONDS)
        worker.due = time.monotonic() + wait
        how = f"by {signal.Signals(-code).name}" if code < 0 else f"with {code}"
        _log.error("worker %d ended %s after %.0f seconds; it starts again in %.1f", worker.number, how, lasted, wait)

    def _start(self, worker: _Worker) -> None:
        reading, writing = os.pipe()
        host, port = self._address.getsockname()[:2]
        command = [sys.executable, "-m", "serving.operation.worker", host, str(port), str(writing)]
        try:
            worker.process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                pass_fds=(writing,),
                # Whatever a feature function prints must not mix with the answer of `everfit serve --json`.
                stdout=sys.stderr.fileno(),
                # Ctrl-C reaches the parent alone, which lets all of them drain.
                start_new_session=True,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
            )
        finally:
            os.close(writing)
        worker.ready, worker.is_ready, worker.started = reading, False, time.monotonic()
        assert worker.process.stdin is not None
        with suppress(BrokenPipeError):
            # It stays open: its end tells the worker that this process has ended, however that came about.
            # One worker tells that the service is starting; the others take no connection before they can answer it.
            is_first, has_answered = worker.number == 0, self._announce is None
            is_replacement = has_answered or worker.number > 0
            worker.process.stdin.write(
                pickle.dumps(
                    (
                        self._settings,
                        self._models,
                        self._numbers,
                        is_first,
                        is_replacement,
                        not has_answered,
                        self._desk,
                    )
                )
            )
            worker.process.stdin.flush()

    def _has_announced(self, worker: _Worker) -> bool:
        if worker.ready is None or not select([worker.ready], [], [], 0)[0]:
            return False
        told = os.read(worker.ready, 1)
        os.close(worker.ready)
        worker.ready = None
        return told == b"!"

    def _let_go(self, worker: _Worker) -> None:
        if worker.process is not None and worker.process.stdin is not None:
            with suppress(BrokenPipeError):
                worker.process.stdin.close()
        if worker.ready is not None:
            os.close(worker.ready)
        worker.process = worker.ready = None

    def _stop(self) -> None:
        running = [worker.process for worker in self._workers if worker.process is not None]
        for process in running:
            process.terminate()
        deadline = time.monotonic() + _STOP_SECONDS
        for process in running:
            try:
                process.wait(max(0.0, deadline - time.monotonic()))
            except subprocess.TimeoutExpired:
                _log.error("worker process %d does not end; it is killed", process.pid)
                process.kill()
                process.wait()
        for worker in self._workers:
            self._let_go(worker)
        self._address.close()
        shutil.rmtree(self._numbers, ignore_errors=True)
