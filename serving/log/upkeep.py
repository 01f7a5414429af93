"""Upkeep of the log in the background: seal what is old or left, move it, end what is kept no longer, count it all."""

from __future__ import annotations

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import orjson

from base.times import utc_now
from registry.store import Registry
from registry.traffic import list_traffic_models, record_writer
from serving.log.kinds import KINDS
from serving.log.moving import Moved, move_segments
from serving.log.retention import Removed, find_policy, remove_traffic
from serving.log.sealing import adopt_segments
from serving.log.status import read_status

_log = logging.getLogger(__name__)

ACTOR = "prediction log"
"""Who removes what the definition does not keep, in the ledger."""

# Counting opens every segment that is still here.
_ROUNDS_PER_COUNT = 10
# A service that starts has better things to do; its models are loaded first.
_FIRST_ROUND_SECONDS = 3.0


def adopt_all(home: Path) -> int:
    """Seal the segments of all models that nobody appends to any more, and return how many there were."""
    count = 0
    for kind in KINDS:
        for folder in sorted((home / "traffic").glob(f"*/{kind}")):
            if n_adopted := adopt_segments(folder, kind):
                _log.info("sealed %d segments in %s that dead processes had left", n_adopted, folder)
                count += n_adopted
    return count


def copy_accounts(home: Path, registry: Registry) -> None:
    """Copy this machine's accounts to where other hosts read them."""
    files = sorted((home / "traffic" / "accounts").glob("*.json"))
    documents = [orjson.loads(path.read_bytes()) for path in files]
    if documents:
        with registry.database.write() as session:
            for document in documents:
                record_writer(session, document)


def move_all(home: Path, registry: Registry) -> Moved:
    """Seal what dead processes have left, move what is sealed, and copy the accounts; one process at a time."""
    with _turn(home) as has_turn:
        if not has_turn:
            return Moved()
        adopt_all(home)
        moved = move_segments(home, registry)
        copy_accounts(home, registry)
        return moved


def remove_old(registry: Registry) -> list[Removed]:
    """Remove what the definitions do not keep."""
    with registry.database.read() as session:
        policies = {model: find_policy(session, model, registry.environment) for model in list_traffic_models(session)}
    removed = [
        remove_traffic(registry, model, policy, now=utc_now(), actor=ACTOR)
        for model, policy in policies.items()
        if policy.keep_for is not None or policy.keep_bytes is not None
    ]
    return [one for one in removed if one.segments]


class Upkeep:
    """A thread that does all of it about each *seconds*; what fails is said once and tried again.

    Parameters
    ----------
    rotate : callable
        Hands the process's own segments over to be sealed that are old enough.
    """

    def __init__(self, home: Path, registry: Registry, *, seconds: float, rotate: Callable[[], None]) -> None:
        self._home = home
        self._registry = registry
        self._seconds = seconds
        self._rotate = rotate
        self._told: set[str] = set()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep_up, name="everfit-log-upkeep", daemon=True)

    def start(self) -> None:
        """Begin, in a thread of its own."""
        self._thread.start()

    def stop(self) -> None:
        """Stop; a thread that waits for a lost database or store is not waited for."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)

    def _keep_up(self) -> None:
        n_rounds = 0
        self._stopping.wait(min(self._seconds, _FIRST_ROUND_SECONDS))
        while not self._stopping.is_set():
            failures = list(self._do_round(with_count=n_rounds % _ROUNDS_PER_COUNT == 0))
            for failure in failures:
                if failure not in self._told:
                    _log.error("upkeep of the prediction log: %s", failure)
            self._told = set(failures)
            n_rounds += 1
            self._stopping.wait(self._seconds)

    def _do_round(self, *, with_count: bool) -> Iterator[str]:
        tasks: list[Callable[[], Iterator[str]]] = [self._rotate_old, self._move, self._remove]
        tasks += [self._count] if with_count else []
        for task in tasks:
            try:
                yield from task()
            except Exception as error:
                yield f"{type(error).__name__}: {error}"

    def _rotate_old(self) -> Iterator[str]:
        self._rotate()
        yield from ()

    def _move(self) -> Iterator[str]:
        moved = move_all(self._home, self._registry)
        if moved.n_segments:
            _log.info("moved %d segments (%d rows) to the artifact store", moved.n_segments, moved.n_rows)
        yield from moved.failures

    def _remove(self) -> Iterator[str]:
        for removed in remove_old(self._registry):
            _log.info("removed %d rows of %r: %s", removed.n_rows, removed.model, removed.reason)
        yield from ()

    def _count(self) -> Iterator[str]:
        for status in read_status(self._home, self._registry):
            yield from status.gaps


@contextmanager
def _turn(home: Path) -> Iterator[bool]:
    folder = home / "traffic"
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / "upkeep.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield True
            return
        yield False
    finally:
        os.close(descriptor)
