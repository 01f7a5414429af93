"""A process that has the heavy imports done and forks one child for each flow run, which starts at once.

Why not multiprocessing's forkserver: that one runs the caller's main module again in each child, forgets imports
that failed, gives no process group to a run, and kills nobody when its parent dies.

The two sides speak JSON lines over a socket pair: the worker asks ``{"id", "environment", "folder"}``, the server
answers ``{"ready"}`` once, ``{"id", "pid"}`` when a run was forked, and ``{"id", "exit_code"}`` when it has ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import ssl
import sys
import threading
import time
import types
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

ORPHAN_GRACE_SECONDS = 5.0
_PR_SET_PDEATHSIG = 1


@dataclass
class _ForkServer:
    """The server's side: one thread, so that a fork copies no lock that another thread holds."""

    connection: socket.socket

    def __post_init__(self) -> None:
        self._runs: dict[int, str] = {}
        self._selector = selectors.DefaultSelector()
        self._buffer = b""
        # A child that ends writes a byte here, which wakes the selector.
        self._ended, signalled = socket.socketpair()
        self._ended.setblocking(False)
        signalled.setblocking(False)
        self._signalled = signalled
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
        self._selector.register(self.connection, selectors.EVENT_READ)
        self._selector.register(self._ended, selectors.EVENT_READ)

    def serve(self) -> dict[str, Any] | None:
        """Fork what is asked for; return the request in the child, None in the server when the worker is gone."""
        self._send({"ready": os.getpid()})
        while True:
            for key, _ in self._selector.select():
                if key.fileobj is self._ended:
                    with contextlib.suppress(BlockingIOError):
                        self._ended.recv(4096)
                    self._reap()
                    continue
                received = self.connection.recv(1 << 16)
                if not received:
                    self._end_all()
                    return None
                *lines, self._buffer = (self._buffer + received).split(b"\n")
                for line in lines:
                    request: dict[str, Any] = json.loads(line)
                    if self._fork(request):
                        return request

    def _fork(self, request: dict[str, Any]) -> bool:
        server = os.getpid()
        pid = os.fork()
        if pid == 0:
            _end_with(server)
            os.setsid()
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for end in (self.connection, self._ended, self._signalled):
                end.close()
            self._selector.close()
            return True
        self._runs[pid] = request["id"]
        self._send({"id": request["id"], "pid": pid})
        return False

    def _reap(self) -> None:
        while self._runs:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            # What a run started and left behind goes with it.
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
            with contextlib.suppress(OSError):
                self._send({"id": self._runs.pop(pid, ""), "exit_code": os.waitstatus_to_exitcode(status)})

    def _end_all(self) -> None:
        deadline = time.monotonic() + ORPHAN_GRACE_SECONDS
        for number in (signal.SIGTERM, signal.SIGKILL):
            for pid in list(self._runs):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, number)
            while self._runs and (number == signal.SIGKILL or time.monotonic() < deadline):
                self._reap()
                time.sleep(0.02)

    def _send(self, message: dict[str, Any]) -> None:
        self.connection.sendall(json.dumps(message).encode() + b"\n")


def _end_with(server: int) -> None:
    """Let the system kill this process when the fork server dies; that one has one thread, which is what counts."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != server:
            os._exit(1)


def run_flow(request: dict[str, Any], settings: Mapping[str, str]) -> None:
    """Run one flow run in a forked child, just as ``python -m prefect.engine`` would in a new process.

    *settings* are those that Prefect has read in the server. They are read anew where the run brings others, or a
    folder, which may hold a file of them.
    """
    os.environ.update(request["environment"])
    if request["folder"]:
        os.chdir(request["folder"])
    # Two underscores mark what a worker tells its run, such as a token; those are no settings.
    brought = {
        name: value
        for name, value in request["environment"].items()
        if name.startswith("PREFECT_") and not name.startswith("PREFECT__")
    }
    if request["folder"] or not brought.items() <= settings.items():
        read_settings()
    sys.argv = ["prefect.engine", request["id"]]
    warnings.filterwarnings("ignore", message=".*'prefect.engine' found in sys.modules", category=RuntimeWarning)
    runpy.run_module("prefect.engine", run_name="__main__", alter_sys=False)


def read_settings() -> dict[str, str]:
    """Let Prefect read its settings and set up its logging by them; done beforehand, runs start a third sooner."""
    from prefect.logging.configuration import setup_logging
    from prefect.settings import get_current_settings

    from deployments.prefect_settings import reread_settings

    reread_settings()
    setup_logging(incremental=False)
    _share_tls_context()
    # As a worker writes them for its runs.
    return get_current_settings().to_environment_variables(exclude_unset=True)


def _share_tls_context() -> None:
    """Read the certificates once for Prefect's clients of all runs: it takes each 35 ms, over plain http as well."""
    from prefect.client import orchestration

    create = functools.cache(ssl.create_default_context)
    vars(orchestration)["ssl"] = types.SimpleNamespace(**(vars(ssl) | {"create_default_context": create}))
    orchestration.get_client(sync_client=True)


def main() -> None:
    """Import what is asked for, then fork: ``python -m deployments.fork_server FD MODULE…``."""
    connection = socket.socket(fileno=int(sys.argv[1]))
    # Interrupts are the worker's to handle; this process lives as long as the worker does.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for module in sys.argv[2:]:
        importlib.import_module(module)
    settings = read_settings()
    if others := [thread.name for thread in threading.enumerate() if thread is not threading.main_thread()]:
        raise RuntimeError(f"an import started threads ({', '.join(others)}), so this process must not fork")
    # What is loaded now is shared with every child for as long as nobody touches it; the collector would.
    gc.collect()
    gc.freeze()
    request = _ForkServer(connection).serve()
    if request is not None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        run_flow(request, settings)


if __name__ == "__main__":
    main()
