"""Let several real processes do a thing at once, and gather what each of them got."""

from __future__ import annotations

import gc
import multiprocessing
import os
import traceback
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.synchronize import Barrier
from typing import Any

_FORK = multiprocessing.get_context("fork")
_PATIENCE_SECONDS = 60


def run_at_once(n_processes: int, work: Callable[[int], Any]) -> list[Any]:
    """Call ``work(0)`` … ``work(n_processes - 1)``, each in a process of its own, all started by one signal.

    A call that raises gives its exception instead of a result.
    """
    barrier = _FORK.Barrier(n_processes)
    pipes = [_FORK.Pipe(duplex=False) for _ in range(n_processes)]
    children = [
        _FORK.Process(target=_work, args=(barrier, sender, work, number), daemon=True)
        for number, (_, sender) in enumerate(pipes)
    ]
    try:
        for child in children:
            child.start()
        return [_receive(receiver) for receiver, _ in pipes]
    finally:
        for child in children:
            child.join(1)
            child.kill()


def start_process(work: Callable[[], Any]) -> multiprocessing.process.BaseProcess:
    """Start *work* in a process of its own, to be killed by the test."""
    child = _FORK.Process(target=_start, args=(work,), daemon=True)
    child.start()
    return child


def _start(work: Callable[[], Any]) -> None:
    _keep_memory_shared()
    work()


def _keep_memory_shared() -> None:
    # A collection looks at all that the parent has made, and copies each page of it in each child.
    gc.freeze()


def _receive(receiver: Connection) -> Any:
    assert receiver.poll(_PATIENCE_SECONDS), "a process gave no answer"
    return receiver.recv()


def _work(barrier: Barrier, sender: Connection, work: Callable[[int], Any], number: int) -> None:
    _keep_memory_shared()
    try:
        barrier.wait(_PATIENCE_SECONDS)
        result = work(number)
    except BaseException as error:
        traceback.print_exc()
        result = error
    try:
        sender.send(result)
    finally:
        # Nothing of the parent's (pytest, its fixtures) may be torn down by a child.
        os._exit(0)
