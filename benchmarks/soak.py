"""A soak: a real service under mixed load while all that may happen to it happens, and its accounts at the end.

``python -m benchmarks.soak --seconds 120`` trains a model, starts a service with two workers, asks it by four
protocols, sends labels, and meanwhile promotes to and fro, starts and stops rollouts, kills workers and takes the
registry away. It prints a table and exits with 1 where a check failed.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pandas as pd
import psutil
from pydantic import SecretStr

from base.settings import Settings
from benchmarks.measuring import MEGABYTE, clean_environment, everfit
from benchmarks.served_model import NAME, register_twin, write_bodies, write_pipeline
from benchmarks.soak_clients import Client, Notes, add_up, ask_arrow, ask_infer, ask_invocations, ask_predict
from benchmarks.soak_moves import begin_rollout, end_rollout, promote
from registry.store import Registry, open_registry
from serving.log.upkeep import move_all

_PORT, _PREFECT = 8481, 8482
_WORKERS = 2
_AWAY_SECONDS = 4.0
_PAUSE_SECONDS = 3.0
_SAMPLE_SECONDS = 1.0
# Both versions loaded, buffers and caches filled.
_WARM_SECONDS = 15.0
_MOST_GROWTH_MB = 48.0
_MOST_NEW_FILES = 24
_PATIENCE_SECONDS = 60.0


@dataclass
class Samples:
    """What one worker process had in use, from when it was warm."""

    born: float
    megabytes: list[float] = field(default_factory=list)
    n_files: list[int] = field(default_factory=list)


class Soak:
    """The service, the clients, and what is done to both."""

    def __init__(self, folder: Path) -> None:
        self._volume = folder / "volume"
        self._aside = folder / "volume-away"
        self._volume.mkdir()
        self.settings = Settings(
            home=folder / "home",
            database_url=SecretStr(f"sqlite:///{self._volume / 'everfit.db'}"),
            prefect_port=_PREFECT,
            service_port=_PORT,
        )
        self.environment = clean_environment(
            EVERFIT_HOME=str(self.settings.home),
            EVERFIT_DATABASE_URL=self.settings.database,
            EVERFIT_SERVICE_PORT=str(_PORT),
            EVERFIT_PREFECT_PORT=str(_PREFECT),
            EVERFIT_SEGMENT_ROWS="5000",
            EVERFIT_LOG_UPKEEP_SECONDS="2",
        )
        self.done: dict[str, int] = {}
        self.troubles: list[str] = []
        self.samples: dict[int, Samples] = {}
        self._log = folder / "service.log"

    def prepare(self, folder: Path) -> list[dict[str, object]]:
        """Train the model, register it once more, and return rows to ask."""
        definition = write_pipeline(folder / "pipeline", n_rows=4000)
        environment = self.environment
        _say("training the model that is asked")
        subprocess.run(everfit("train", str(definition)), env=environment, check=True, stdout=subprocess.DEVNULL)
        registry = open_registry(self.settings)
        self._twin = register_twin(registry, self.settings)
        registry.database.close()
        _, thousand = write_bodies(folder / "pipeline")
        rows: list[dict[str, object]] = json.loads(thousand.read_text())["rows"]
        return rows

    def run(self, rows: list[dict[str, object]], seconds: float) -> Notes:
        """Serve and ask for so many seconds, then drain, and return what the clients noted."""
        with self._log.open("wb") as log:
            service = subprocess.Popen(
                everfit("serve", "--workers", str(_WORKERS)), env=self.environment, stdout=log, stderr=log
            )
        stopping = threading.Event()
        try:
            _wait_for(lambda: len(self._ready_workers(service)) == _WORKERS, "the workers")
            # The first one listens before its models are loaded; each connection goes to any of them.
            _wait_for(lambda: all(_is_ready() for _ in range(24)), "readiness")
            kinds = [(ask_predict, 1), (ask_predict, 20), (ask_infer, 5), (ask_invocations, 5), (ask_arrow, 500)]
            clients = [Client(_PORT, NAME, rows, protocol, n_rows, stopping) for protocol, n_rows in kinds]
            for client in clients:
                client.start()
            self._disturb(service, time.monotonic() + seconds)
            stopping.set()
            for client in clients:
                client.join()
            service.terminate()
            if (code := service.wait(60)) != 0:
                self.troubles.append(f"the service ended with {code}")
            return add_up(clients)
        finally:
            stopping.set()
            with suppress(ProcessLookupError):
                service.kill()
            service.wait()

    def _disturb(self, service: subprocess.Popen[bytes], until: float) -> None:
        registry = open_registry(self.settings)
        duties: Iterator[tuple[str, Callable[[], None]]] = itertools.cycle(
            [
                ("promotions", lambda: promote(registry, NAME, self._twin)),
                ("workers killed", lambda: self._kill_worker(service)),
                ("rollouts started", lambda: begin_rollout(registry, NAME, (1, self._twin))),
                ("registry away", lambda: self._take_registry_away(service)),
                ("rollouts stopped", lambda: end_rollout(registry, NAME)),
                ("promotions", lambda: promote(registry, NAME, 1)),
            ]
        )
        while time.monotonic() < until:
            for _ in range(round(_PAUSE_SECONDS / _SAMPLE_SECONDS)):
                self._sample(service)
                time.sleep(_SAMPLE_SECONDS)
            what, work = next(duties)
            work()
            self.done[what] = self.done.get(what, 0) + 1
        registry.database.close()

    def _sample(self, service: subprocess.Popen[bytes]) -> None:
        for process in self._workers(service):
            with suppress(psutil.NoSuchProcess):
                samples = self.samples.setdefault(process.pid, Samples(process.create_time()))
                if time.time() - samples.born > _WARM_SECONDS:
                    samples.megabytes.append(process.memory_info().rss / MEGABYTE)
                    samples.n_files.append(process.num_fds())

    def _workers(self, service: subprocess.Popen[bytes]) -> list[psutil.Process]:
        with suppress(psutil.NoSuchProcess):
            found = psutil.Process(service.pid).children()
            return [process for process in found if "serving.operation.worker" in process.cmdline()]
        return []

    def _ready_workers(self, service: subprocess.Popen[bytes]) -> list[psutil.Process]:
        """Those that listen."""
        return [
            process
            for process in self._workers(service)
            if any(one.status == psutil.CONN_LISTEN for one in process.net_connections("tcp"))
        ]

    def _kill_worker(self, service: subprocess.Popen[bytes]) -> None:
        _wait_for(lambda: len(self._ready_workers(service)) == _WORKERS, "both workers before one is killed")
        os.kill(random.choice(self._ready_workers(service)).pid, signal.SIGKILL)

    def _take_registry_away(self, service: subprocess.Popen[bytes]) -> None:
        _wait_for(lambda: len(self._ready_workers(service)) == _WORKERS, "both workers before the registry goes")
        self._volume.rename(self._aside)
        time.sleep(_AWAY_SECONDS)
        self._aside.rename(self._volume)

    def check(self, notes: Notes) -> list[tuple[str, str, str, bool]]:
        """Hold the accounts against the log, and both against what clients were told: name, found, wanted, is right."""
        registry = open_registry(self.settings)
        move_all(self.settings.home, registry)
        found = _read_ids(self.settings.home, registry)
        registry.database.close()
        status = subprocess.run(
            everfit("traffic", "status", "--json"), env=self.environment, stdout=subprocess.PIPE, check=False
        )
        n_twice = len(found) - found.nunique()
        n_missing = len(set(notes.ids) - set(found))
        refused = {f"{path} {code}": n for (path, code), n in notes.statuses.items() if code != 200}
        growth = max((samples.megabytes[-1] - samples.megabytes[0] for samples in self._warm()), default=0.0)
        files = max((samples.n_files[-1] - samples.n_files[0] for samples in self._warm()), default=0)
        seconds = sorted(notes.seconds)
        p99 = seconds[int(len(seconds) * 0.99)] * 1e3
        traces = self._log.read_text(errors="replace").count("Traceback")
        return [
            ("requests answered", f"{len(seconds):,}", "", True),
            ("rows acknowledged with an id", f"{len(notes.ids):,}", "", True),
            ("rows in the log", f"{len(found):,}", "", len(found) >= len(notes.ids)),
            *((what, str(n), "", True) for what, n in sorted(self.done.items())),
            ("connections lost to killed workers", str(sum(notes.lost.values())), "", True),
            ("answers of each version", str(dict(sorted(notes.versions.items()))), "both", len(notes.versions) == 2),
            ("requests refused", str(refused or 0), "0", not refused),
            ("acknowledged and not in the log", str(n_missing), "0", n_missing == 0),
            ("in the log twice", str(n_twice), "0", n_twice == 0),
            ("exit code of `everfit traffic status`", str(status.returncode), "0", status.returncode == 0),
            ("growth of a warm worker's memory", f"{growth:.1f} MB", f"{_MOST_GROWTH_MB:g}", growth < _MOST_GROWTH_MB),
            ("its megabytes, in ten steps", self._course(), "", True),
            ("growth of its open files", str(files), str(_MOST_NEW_FILES), files < _MOST_NEW_FILES),
            ("median answer", f"{statistics.median(seconds) * 1e3:.1f} ms", "", True),
            ("99th percentile", f"{p99:.0f} ms", "", True),
            ("stack traces in the service's log", str(traces), "0", traces == 0),
            *((trouble, "", "", False) for trouble in self.troubles),
        ]

    def _course(self) -> str:
        """Tell how the memory of the worker that grew most went, so that one step is told from a slope."""
        worst = max(self._warm(), key=lambda one: one.megabytes[-1] - one.megabytes[0], default=None)
        if worst is None:
            return "none was warm"
        last = len(worst.megabytes) - 1
        return " ".join(f"{worst.megabytes[last * step // 9]:.0f}" for step in range(10))

    def _warm(self) -> list[Samples]:
        return [samples for samples in self.samples.values() if len(samples.megabytes) > 1]

    def last_words(self, n_lines: int = 20) -> str:
        """Return the end of the service's log."""
        return "\n".join(self._log.read_text(errors="replace").splitlines()[-n_lines:])


def main() -> int:
    """Run the soak, print its table, and return 1 where a check failed."""
    parser = argparse.ArgumentParser(description="Serve under mixed load while all kinds of things happen.")
    parser.add_argument("--seconds", type=float, default=120.0)
    seconds = parser.parse_args().seconds
    with tempfile.TemporaryDirectory(prefix="everfit-soak-") as name:
        folder = Path(name)
        soak = Soak(folder)
        rows = soak.prepare(folder)
        _say(f"soaking for {seconds:g} seconds")
        try:
            notes = soak.run(rows, seconds)
        except Exception:
            print(soak.last_words(), file=sys.stderr)
            raise
        _say("counting")
        checks = soak.check(notes)
        width = max(len(check[0]) for check in checks)
        for what, found, wanted, is_right in checks:
            mark = "" if is_right else "   WRONG"
            print(f"{what:<{width}}  {found:>14}" + (f"   wanted {wanted}" if wanted else "") + mark)
        is_right = all(check[3] for check in checks)
        if not is_right:
            print("\n".join([*notes.refusals[:10], soak.last_words()]), file=sys.stderr)
        return 0 if is_right else 1


def _read_ids(home: Path, registry: Registry) -> pd.Series[str]:
    from serving.log.traffic import read_traffic

    ids: pd.Series[str] = read_traffic(home, NAME, registry=registry, shadow="without")["id"]
    return ids


def _is_ready() -> bool:
    return httpx.get(f"http://127.0.0.1:{_PORT}/readyz").status_code == 200


def _wait_for(is_true: Callable[[], object], what: str) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while not is_true():
        if time.monotonic() > give_up:
            raise RuntimeError(f"{what} did not come within {_PATIENCE_SECONDS:g} seconds")
        time.sleep(0.05)


def _say(what: str) -> None:
    print(what, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
