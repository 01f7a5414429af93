"""Real services under steady load, and what can be asked about their processes from outside."""

from __future__ import annotations

import http.client
import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

import httpx

from tests.serving.conftest import wait_until
from tests.serving.models import make_rows

PREDICT = "/v1/models/trips/predict"
ROWS = make_rows(40, seed=3)
_ROOT = Path(__file__).parents[3]

_SERVE = """
import sys
from base.settings import Settings
from serving.server import serve

serve(Settings(), port=0, workers=int(sys.argv[1]), announce=lambda address: print(address, flush=True))
"""


@dataclass(frozen=True)
class Running:
    """A running service; with several workers *process* is their parent, else the one that answers."""

    process: subprocess.Popen[str]
    address: str
    n_workers: int
    log: Path

    def get(self, path: str) -> httpx.Response:
        """Ask over a connection of its own."""
        return httpx.get(f"{self.address}{path}", timeout=30)

    def readiness(self) -> tuple[int, dict[str, Any]]:
        """Return what ``/readyz`` says."""
        answer = self.get("/readyz")
        return answer.status_code, answer.json()

    def metric(self, name: str) -> float:
        """Add up the samples of a metric whose line begins so."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith(name))

    def workers(self) -> list[int]:
        """List the processes that answer, or will."""
        if self.n_workers == 1:
            return [self.process.pid]
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text()
        return [int(pid) for pid in children.split()]

    def kill(self) -> None:
        """Kill it with all of its workers, without a word, and wait until the system has taken their locks."""
        # Stopped first, so that it starts nobody meanwhile.
        self.process.send_signal(signal.SIGSTOP)
        workers = self.workers() if self.n_workers > 1 else []
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        self.process.kill()
        self.process.wait()
        wait_until(lambda: not any(_lives(pid) for pid in workers), "the end of the workers")

    def stop(self) -> int:
        """Ask it to stop, and return how it ended."""
        self.process.terminate()
        return self.process.wait(60)


@contextmanager
def run_service(home: Path, *, workers: int = 1, **settings: object) -> Iterator[Running]:
    """Start a service on a free port, with settings by name, and wait until all of its workers are ready."""
    log = home.parent / "service.log"
    with log.open("ab") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-c", _SERVE, str(workers)],
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            cwd=_ROOT,
            env=os.environ
            | {"OMP_NUM_THREADS": "1", "EVERFIT_HOME": str(home)}
            | {f"EVERFIT_{name.upper()}": str(value) for name, value in settings.items()},
        )
    assert process.stdout is not None
    try:
        service = Running(process, process.stdout.readline().strip(), workers, log)
        assert service.address, log.read_text()
        wait_until(lambda: _is_ready(service), "readiness")
        yield service
    finally:
        if process.poll() is None:
            # The workers of a parent that is gone drain and end; nobody waits for that here.
            Running(process, "", workers, log).kill()
        process.stdout.close()


def _is_ready(service: Running) -> bool:
    if service.n_workers > 1 and service.metric("everfit_workers") < service.n_workers:
        return False
    # The kernel gives each connection to any of the workers.
    return all(service.get("/readyz").status_code == 200 for _ in range(24 if service.n_workers > 1 else 1))


def serves(pid: int) -> bool:
    """Tell whether a worker has answered something: its segment of the log is open."""
    with suppress(OSError):
        return any(path.readlink().suffix == ".jsonl" for path in Path(f"/proc/{pid}/fd").iterdir())
    return False


def _lives(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


def count_files(pid: int) -> int:
    """Count what a process holds open."""
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has in use."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@dataclass
class Load:
    """Clients, each in a thread, that ask one after the other until the block ends, and note what they got."""

    service: Running
    n_clients: int = 4
    n_rows: int = 3
    pause_seconds: float = 0.0
    ids: list[str] = field(default_factory=list)
    statuses: Counter[int] = field(default_factory=Counter)
    others: list[Any] = field(default_factory=list)
    lost: Counter[str] = field(default_factory=Counter)
    versions: Counter[int] = field(default_factory=Counter)

    def __enter__(self) -> Load:
        self._stopping = threading.Event()
        self._threads = [threading.Thread(target=self._ask) for _ in range(self.n_clients)]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopping.set()
        for thread in self._threads:
            thread.join()

    def wait_for_answers(self, n_more: int = 20) -> None:
        """Wait until so many more rows have been answered."""
        wanted = len(self.ids) + n_more
        wait_until(lambda: len(self.ids) >= wanted, f"{n_more} answered rows")

    def _ask(self) -> None:
        parts = urlsplit(self.service.address)
        connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
        while not self._stopping.wait(self.pause_seconds):
            body = json.dumps({"rows": random.choices(ROWS, k=self.n_rows)})
            try:
                connection.request("POST", PREDICT, body)
                answer = connection.getresponse()
                read = answer.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost[type(error).__name__] += 1
                connection.close()
                time.sleep(0.02)
                continue
            self.statuses[answer.status] += 1
            document = json.loads(read)
            if answer.status == 200:
                self.versions[document["version"]] += 1
                self.ids.extend(one["id"] for one in document["predictions"])
            else:
                self.others.append((answer.status, dict(answer.headers), document))
        connection.close()
