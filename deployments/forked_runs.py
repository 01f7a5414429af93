"""The worker's side of the fork server: ask for a run, learn its process, wait for its end."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from base.errors import RunFailed

_STOP_SECONDS = 5.0


class ForkServerFailed(RunFailed):
    """The process that forks flow runs could not start, or died."""


@dataclass
class ForkedRun:
    """The process of one flow run; the two attributes that Prefect asks a process for, and its end."""

    flow_run_id: str
    pid: int | None = None
    returncode: int | None = None
    started: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the run and to all that it started."""
        if self.pid is not None and self.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)


class ForkedRuns:
    """Starts flow runs in forks of one process with *preload* imported; a dead one is replaced at the next run."""

    def __init__(self, preload: Sequence[str]) -> None:
        self._preload = list(preload)
        self._process: subprocess.Popen[bytes] | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._listener: asyncio.Task[None] | None = None
        self._runs: dict[str, ForkedRun] = {}
        self._starting = asyncio.Lock()

    @property
    def pid(self) -> int | None:
        """The fork server's process, None before it was started."""
        return None if self._process is None else self._process.pid

    async def start(self) -> None:
        """Start the fork server, if none is alive, and wait until it has imported everything.

        Raises
        ------
        ForkServerFailed
            If an import fails; the traceback is in this process's log.
        """
        async with self._starting:
            if self._listener is not None and not self._listener.done():
                return
            await self._close()
            ours, theirs = socket.socketpair()
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-P", "-m", "deployments.fork_server", str(theirs.fileno()), *self._preload],
                    pass_fds=(theirs.fileno(),),
                    stdin=subprocess.DEVNULL,
                )
            reader, self._writer = await asyncio.open_connection(sock=ours)
            if not await reader.readline():
                code = await asyncio.to_thread(self._process.wait)
                raise ForkServerFailed(
                    f"the process that forks flow runs ended with code {code} while it imported "
                    f"{', '.join(self._preload)}; its traceback stands above"
                )
            self._listener = asyncio.create_task(self._listen(reader))

    async def fork(self, flow_run_id: str, environment: Mapping[str, str], folder: str | None) -> ForkedRun:
        """Start a flow run and return its process.

        Raises
        ------
        ForkServerFailed
            If the fork server died and a new one cannot be started, or dies again.
        """
        await self.start()
        if self._writer is None:
            raise ForkServerFailed("the process that forks flow runs has been stopped")
        run = self._runs[flow_run_id] = ForkedRun(flow_run_id)
        request = {"id": flow_run_id, "environment": dict(environment), "folder": folder}
        self._writer.write(json.dumps(request).encode() + b"\n")
        with contextlib.suppress(ConnectionError):
            await self._writer.drain()
        await run.started.wait()
        if run.pid is None:
            raise ForkServerFailed("the process that forks flow runs died before it had started this one")
        return run

    async def stop_runs(self) -> None:
        """End all runs: SIGTERM, after a grace SIGKILL; return when all have ended."""
        for number in (signal.SIGTERM, signal.SIGKILL):
            runs = list(self._runs.values())
            for run in runs:
                run.signal(number)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_STOP_SECONDS):
                    await asyncio.gather(*(run.ended.wait() for run in runs))

    async def stop(self) -> None:
        """End the fork server and what it forked."""
        await self._close()

    async def _listen(self, reader: asyncio.StreamReader) -> None:
        while line := await reader.readline():
            message = json.loads(line)
            run = self._runs.get(message["id"])
            if run is None:
                continue
            if "pid" in message:
                run.pid = message["pid"]
                run.started.set()
            else:
                self._end(run, message["exit_code"])
        # The fork server is gone, and the system has killed what it had forked.
        for run in list(self._runs.values()):
            self._end(run, -signal.SIGKILL)

    def _end(self, run: ForkedRun, exit_code: int) -> None:
        self._runs.pop(run.flow_run_id, None)
        run.returncode = exit_code
        run.started.set()
        run.ended.set()

    async def _close(self) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._listener is not None:
            await self._listener
            self._listener = None
        if self._process is not None:
            await asyncio.to_thread(self._process.wait)
            self._process = None
