"""Fits in a process of their own, which is ended when a fit takes too long.

``python -P -m tasks.watched_fits`` reads one job a line from its input and writes one result a line. It keeps the rows
that it has read for the next job, and ends as soon as its input does: with whoever started it, by ``kill -9`` too.
"""

from __future__ import annotations

import contextlib
import os
import queue
import select
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import IO

from base.artifacts import ArtifactStore
from base.references import Reference
from base.settings import Settings
from tasks.fit_jobs import OUT_OF_BUDGET, FitJob, FitResult, Ground, run_stored_job

# What a process needs to begin: a fit is not blamed for the import of scikit-learn.
_START_SECONDS = 120.0


class _Order(Reference):
    """What the child is asked to do."""

    job: FitJob
    ground: Ground
    home: Path


class FitProcess:
    """One child process that fits, one job after the other."""

    def __init__(self) -> None:
        self._complaints: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "tasks.watched_fits"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            bufsize=0,
        )
        self._is_ready = False

    def wait(self) -> None:
        """Wait until it is ready to fit; what that takes is no fit's time."""
        if not self._is_ready:
            self._read_line(_START_SECONDS)
            self._is_ready = True

    def run(self, job: FitJob, ground: Ground, home: Path) -> FitResult:
        """Do a job, or end the process when it takes longer than the job allows."""
        self.wait()
        limits = [] if job.seconds is None else [job.seconds]
        if job.until is not None:
            limits.append(job.until - time.time())
        started = time.perf_counter()
        if limits and min(limits) <= 0:
            return FitResult(error=OUT_OF_BUDGET, ran_out=True)
        order = _Order(job=job, ground=ground, home=home).model_dump_json().encode()
        assert self._child.stdin is not None
        try:
            self._child.stdin.write(order + b"\n")
            line = self._read_line(min(limits) if limits else None)
        except OSError:
            line = b""
        seconds = time.perf_counter() - started
        if line is None:
            self.close()
            is_own = job.seconds is not None and seconds >= job.seconds
            what = (
                f"it took longer than {job.seconds:g} s and was ended"
                if is_own
                else "the budget was spent while it was fitted"
            )
            return FitResult(error=what, ran_out=not is_own, seconds=seconds)
        if not line:
            return FitResult(error=self._describe_end(), seconds=seconds)
        return FitResult.model_validate_json(line)

    @property
    def is_alive(self) -> bool:
        """Tell whether it can take another job."""
        return self._child.poll() is None

    def close(self) -> None:
        """End it, whatever it does."""
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout, self._complaints):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()

    def _read_line(self, seconds: float | None) -> bytes | None:
        """Read one line; empty where the child has ended, None where it said nothing in time."""
        assert self._child.stdout is not None
        deadline = None if seconds is None else time.monotonic() + seconds
        received = b""
        while not received.endswith(b"\n"):
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            if not select.select([self._child.stdout], [], [], left)[0]:
                return None
            chunk = os.read(self._child.stdout.fileno(), 1 << 16)
            if not chunk:
                return b""
            received += chunk
        return received

    def _describe_end(self) -> str:
        code = self._child.wait()
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip().splitlines()[-1:]
        return f"the process of the fit ended with code {code}{f': {said[0][:200]}' if said else ''}"


class FitProcesses:
    """Child processes to take and give back; as many as there are fits at a time."""

    def __init__(self) -> None:
        self._idle: list[FitProcess] = []
        self._lock = threading.Lock()

    def start(self, n_processes: int) -> None:
        """Have so many ready: a budget begins when fits can."""
        started = [FitProcess() for _ in range(n_processes)]
        for process in started:
            process.wait()
        with self._lock:
            self._idle += started

    def run(self, job: FitJob, ground: Ground, home: Path) -> FitResult:
        """Do a job in an idle child, or in a new one."""
        with self._lock:
            process = self._idle.pop() if self._idle else None
        process = process if process is not None and process.is_alive else FitProcess()
        try:
            return process.run(job, ground, home)
        finally:
            if process.is_alive:
                with self._lock:
                    self._idle.append(process)
            else:
                process.close()

    def close(self) -> None:
        """End all children."""
        with self._lock:
            idle, self._idle = self._idle, []
        for process in idle:
            process.close()


def _work() -> None:
    import sklearn.ensemble  # noqa: F401 - so that the first fit does not pay for it
    from threadpoolctl import threadpool_limits

    answers = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    # What the user's own estimators print is no answer.
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    orders: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    threading.Thread(target=_read_orders, args=(orders,), daemon=True).start()
    answers.write(b"ready\n")
    while True:
        order = _Order.model_validate_json(orders.get())
        artifacts = ArtifactStore.from_settings(Settings(home=order.home))
        with threadpool_limits(order.ground.threads):
            result = run_stored_job(order.job, order.ground, artifacts)
        answers.write(result.model_dump_json().encode() + b"\n")


def _read_orders(orders: queue.SimpleQueue[bytes]) -> None:
    for line in sys.stdin.buffer:
        orders.put(line)
    # Nobody is there any more to hear of the fit under way.
    os._exit(0)


if __name__ == "__main__":
    _work()
