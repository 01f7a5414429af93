"""Run a module in this process, which ends when the process that started it ends, however that happens.

``python -P -m deployments.bound_child FD MODULE ARGUMENTS…`` runs MODULE as ``python -m`` would. FD is the reading
end of a pipe whose other end only the parent holds: the system closes it when the parent dies, by ``kill -9`` too.
(Linux's parent-death signal would do less: it is bound to the parent's *thread*, and leaves no time to clean up.)
"""

from __future__ import annotations

import contextlib
import os
import runpy
import signal
import sys
import threading
import time
from typing import NoReturn

# What a child gets to end its runs and close its database, before it is killed with its whole process group.
ORPHAN_GRACE_SECONDS = 5.0


def watch_parent(pipe: int) -> None:
    """End this process and its group when the parent's end of *pipe* closes."""
    threading.Thread(target=_end_with_parent, args=(pipe,), name="watch-parent", daemon=True).start()


def _end_with_parent(pipe: int) -> None:
    with contextlib.suppress(OSError):
        while os.read(pipe, 1):
            pass
    this_process = os.getpid()
    # A module without a handler of its own dies of the signal at once, and could not look after its group.
    if os.fork() == 0:
        _clear_away(this_process)
    os.kill(this_process, signal.SIGTERM)


def _clear_away(process: int) -> NoReturn:
    """Wait until *process* has ended or its grace is over, then kill what is left of its group, this one included."""
    deadline = time.monotonic() + ORPHAN_GRACE_SECONDS
    while os.getppid() == process and time.monotonic() < deadline:
        time.sleep(0.05)
    if os.getpgrp() == process:
        os.killpg(process, signal.SIGKILL)
    elif os.getppid() == process:
        os.kill(process, signal.SIGKILL)
    os._exit(0)


def main() -> None:
    """Watch the parent and become the module."""
    pipe, module, *arguments = sys.argv[1:]
    watch_parent(int(pipe))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
