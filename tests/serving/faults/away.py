"""Registries that can be taken away and given back: a database file's volume, a Postgres that stops or hangs."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
from abc import ABC, abstractmethod
from pathlib import Path

import pytest


class Away(ABC):
    """A database that a test takes away from a running service."""

    url: str

    @abstractmethod
    def take(self) -> None:
        """Take it away."""

    @abstractmethod
    def give_back(self) -> None:
        """Give it back as it was."""

    @abstractmethod
    def close(self) -> None:
        """Remove what it left."""


class Volume(Away):
    """SQLite in a folder that is unmounted, as far as anybody can tell."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._aside = folder / "volume", folder / "volume-away"
        self._folder.mkdir()
        self.url = f"sqlite:///{self._folder / 'everfit.db'}"

    def take(self) -> None:
        self._folder.rename(self._aside)

    def give_back(self) -> None:
        self._aside.rename(self._folder)

    def close(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)


class Postgres(Away):
    """A Postgres of the test's own, which is shut down at once and started again."""

    def __init__(self) -> None:
        found = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[-2]))
        if not found:
            pytest.skip("Postgres's server binaries are not installed (Debian: apt-get install postgresql)")
        pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'everfit[postgres]'")
        self._binaries = found[-1]
        self._folder = Path(tempfile.mkdtemp(prefix="everfit-postgres-"))
        self._folder.chmod(0o777)
        self._data = self._folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self._switches = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
        self._run("initdb", "-D", self._data, "-U", "everfit", "-A", "trust", "-E", "UTF8", "--no-sync")
        self.give_back()
        self.url = f"postgresql://everfit@127.0.0.1:{port}/postgres"

    def take(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-m", "immediate", "-w", "stop")

    def give_back(self) -> None:
        self._run("pg_ctl", "-D", self._data, "-w", "-l", self._folder / "log", "-o", self._switches, "start")

    def close(self) -> None:
        if (self._data / "postmaster.pid").exists():
            self._run("pg_ctl", "-D", self._data, "-m", "immediate", "stop")
        shutil.rmtree(self._folder, ignore_errors=True)

    @property
    def processes(self) -> list[int]:
        """The server's processes, the first of which is their parent."""
        parent = int((self._data / "postmaster.pid").read_text().split()[0])
        children = Path(f"/proc/{parent}/task/{parent}/children").read_text()
        return [parent, *map(int, children.split())]

    def _run(self, command: str, *arguments: object) -> None:
        # Postgres refuses to run as root, which is who runs the tests in many containers.
        prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
        subprocess.run(
            [*prefix, str(self._binaries / command), *map(str, arguments)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=60,
            check=True,
        )


class HungPostgres(Postgres):
    """A Postgres that takes connections and says nothing: what a lost network or a frozen disk looks like."""

    def take(self) -> None:
        for pid in self.processes:
            os.kill(pid, signal.SIGSTOP)

    def give_back(self) -> None:
        if not (self._data / "postmaster.pid").exists():
            super().give_back()
            return
        for pid in reversed(self.processes):
            os.kill(pid, signal.SIGCONT)

    def close(self) -> None:
        self.give_back()
        super().close()
