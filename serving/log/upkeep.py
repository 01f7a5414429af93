"""Upkeep of the log: seal what is left, move it, end what is kept no longer, count it all."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
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


def keep_up(home: Path, registry: Registry, *, with_count: bool) -> list[str]:
    """Do one round of upkeep, and return what failed; one failure keeps nothing else from being done.

    Parameters
    ----------
    with_count : bool
        Hold what is stored against what was counted as well, which opens every segment that is still here.
    """
    failures: list[str] = []
    for task in (_move, _remove, *([_count] if with_count else [])):
        try:
            failures += task(home, registry)
        except Exception as error:
            failures.append(f"{type(error).__name__}: {error}")
    return failures


def _move(home: Path, registry: Registry) -> list[str]:
    moved = move_all(home, registry)
    if moved.n_segments:
        _log.info("moved %d segments (%d rows) to the artifact store", moved.n_segments, moved.n_rows)
    return list(moved.failures)


def _remove(_home: Path, registry: Registry) -> list[str]:
    for removed in remove_old(registry):
        _log.info("removed %d rows of %r: %s", removed.n_rows, removed.model, removed.reason)
    return []


def _count(home: Path, registry: Registry) -> list[str]:
    return [gap for status in read_status(home, registry) for gap in status.gaps]


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
