"""Looking at rollouts in a process of its own: no request waits while evidence is read and judged."""

from __future__ import annotations

import fcntl
import logging
import os
import pickle
import select
import subprocess
import sys
import time
from collections.abc import Collection
from contextlib import suppress
from pathlib import Path

from base.errors import EverfitError
from base.settings import Settings

_log = logging.getLogger(__name__)

_ROOT = Path(__file__).parents[2]
_NICENESS = 10
# One that ends at once, since the registry is away, say, is not started again and again.
_WAIT_SECONDS = 10.0
_STOP_SECONDS = 3.0
_LOCK_SECONDS = 1.0


class LookerProcess:
    """The process that looks at the rollouts of some models, kept running for as long as there are any.

    Of the services on one machine and home, one process looks; the others' wait for its end, and have loaded nothing.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._process: subprocess.Popen[bytes] | None = None
        self._models: frozenset[str] = frozenset()
        self._started = -_WAIT_SECONDS

    def watch(self, models: Collection[str]) -> None:
        """Have the rollouts of these models looked at, and of no others."""
        wanted = frozenset(models)
        if wanted != self._models:
            self.stop()
            self._models, self._started = wanted, -_WAIT_SECONDS
        if not wanted or (self._process is not None and self._process.poll() is None):
            return
        if time.monotonic() - self._started < _WAIT_SECONDS:
            return
        self._started = time.monotonic()
        paths = os.pathsep.join(filter(None, (str(_ROOT), os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            # -P: a file in the working directory must not hide a package.
            [sys.executable, "-P", "-m", "serving.rollout.looker_process"],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": paths, "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        # It may have ended already, which the next call will see.
        with suppress(BrokenPipeError):
            # Pickled by the service, which is this very program: an argument would be read by anybody.
            self._process.stdin.write(pickle.dumps((self._settings, sorted(wanted))))
            self._process.stdin.flush()

    def stop(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _main() -> int:
    settings, models = pickle.load(sys.stdin.buffer)
    with suppress(OSError):
        os.nice(_NICENESS)
    from serving.operation.logs import set_up_logs

    set_up_logs(settings.log_format)
    descriptor = os.open(settings.home.absolute() / "rollout-looker.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if not _wait_for_turn(descriptor):
            return 0
        _look(settings, models)
    except EverfitError as error:
        _log.warning("rollouts are not looked at: %s", error)
        return error.exit_code
    finally:
        os.close(descriptor)
    return 0


def _look(settings: Settings, models: list[str]) -> None:
    from concurrent.futures import ThreadPoolExecutor
    from functools import partial

    from base.rows.personal import personal_key
    from features.online_store import OnlineStore
    from registry.store import open_registry
    from serving.loading.follower import Follower
    from serving.loading.servability import Admission
    from serving.rollout.controller import Controller
    from serving.rollout.counts import Counters
    from serving.scoring.batcher import Batcher

    registry = open_registry(settings, create=False)
    online = OnlineStore.from_settings(settings)
    with ThreadPoolExecutor(1) as pool:
        follower = Follower(
            registry,
            models=models,
            seconds=settings.follow_seconds,
            trusted=settings.trusted_types,
            # Nobody asks this process.
            make_batcher=lambda scorer, _number: Batcher(scorer, lambda _batches, done: done(None), pool),
            on_retired=lambda _model, _number: None,
            online=online,
            read_key=partial(personal_key, settings),
            admit=Admission(registry, settings).admit,
            compiled=settings.compiled,
        )
        controller = Controller(
            registry, settings.home.absolute(), follower, Counters(), seconds=settings.rollout_seconds
        )
        follower.start()
        controller.start()
        _wait_for_end(None)
        controller.stop()
        follower.stop()
    online.close()
    registry.database.close()


def _wait_for_turn(descriptor: int) -> bool:
    """Wait until no other process of this home looks; False when the service ended meanwhile."""
    while True:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        if _wait_for_end(_LOCK_SECONDS):
            return False


def _wait_for_end(seconds: float | None) -> bool:
    """Wait until the service closes the standard input, as it does when it dies."""
    readable, _, _ = select.select([sys.stdin.fileno()], [], [], seconds)
    return bool(readable)


if __name__ == "__main__":
    sys.exit(_main())
