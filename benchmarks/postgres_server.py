"""A Postgres server of a benchmark's own, in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


class PostgresMissing(Exception):
    """Postgres's server or its driver is not installed."""


@contextmanager
def start_postgres(n_databases: int) -> Iterator[list[str]]:
    """Start a server and give the URLs of empty databases in it; fsync is on, since what it costs is measured.

    Raises
    ------
    PostgresMissing
        If the server's binaries or psycopg are not installed.
    """
    try:
        import psycopg
    except ModuleNotFoundError:
        raise PostgresMissing("psycopg is not installed (pip install 'everfit[postgres]')") from None
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    if not found:
        raise PostgresMissing("its server is not installed (Debian: apt-get install postgresql)")
    folder = Path(tempfile.mkdtemp(prefix="everfit-postgres-"))
    folder.chmod(0o777)
    data, port = folder / "data", _free_port()
    switches = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
    try:
        _run(found[-1], "-D", data, "-U", "everfit", "-A", "trust", "-E", "UTF8", "--no-sync")
        _run(found[-1].with_name("pg_ctl"), "-D", data, "-w", "-l", folder / "log", "-o", switches, "start")
        names = [f"race_{number}" for number in range(n_databases)]
        with psycopg.connect(f"postgresql://everfit@127.0.0.1:{port}/postgres", autocommit=True) as connection:
            for name in names:
                connection.execute(f"CREATE DATABASE {name}".encode())
        yield [f"postgresql://everfit@127.0.0.1:{port}/{name}" for name in names]
    finally:
        if (data / "postmaster.pid").exists():
            _run(found[-1].with_name("pg_ctl"), "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


def _run(*command: object) -> None:
    # Postgres refuses to be run by root.
    user = pwd.getpwnam("nobody").pw_uid if os.geteuid() == 0 else None
    subprocess.run(
        list(map(str, command)),
        check=True,
        user=user,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=60,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
