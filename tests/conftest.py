"""Fixtures that every floor's tests share: settings with a home of their own, and registries on both databases."""

from __future__ import annotations

import os

# Before anything loads OpenMP: its threads spin while they wait, and a fit of half a second takes twenty.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

import secrets
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr

from base.settings import Settings
from registry.store import Registry, open_registry
from tests.prefect_server import prefect_server

# One server for all floors.
__all__ = ["prefect_server"]

# The machines are slow and shared: a law is judged by its cases, never by the time that they take.
hypothesis_settings.register_profile(
    "everfit", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("everfit")

_START_SECONDS = 30


@pytest.fixture(autouse=True)
def no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own EVERFIT_* must not reach a test, nor a test the developer's home."""
    for name in [name for name in os.environ if name.startswith("EVERFIT_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings with a home of their own."""
    return Settings(home=tmp_path / "home")


@pytest.fixture
def registry(settings: Settings) -> Iterator[Registry]:
    """An empty registry on SQLite."""
    opened = open_registry(settings)
    yield opened
    opened.database.close()


@pytest.fixture(scope="session")
def postgres_url() -> Iterator[str]:
    """The URL of an empty Postgres server of this session, for databases to be created in."""
    binaries = _postgres_binaries()
    if binaries is None:
        pytest.skip("Postgres's server binaries are not installed (Debian: apt-get install postgresql)")
    pytest.importorskip("psycopg", reason="psycopg is not installed: pip install 'everfit[postgres]'")
    folder = Path(tempfile.mkdtemp(prefix="everfit-postgres-"))
    folder.chmod(0o777)
    data, port = folder / "data", _free_port()
    switches = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='' -c fsync=off"
    try:
        _as_nobody(binaries / "initdb", "-D", data, "-U", "everfit", "-A", "trust", "-E", "UTF8", "--no-sync")
        _as_nobody(binaries / "pg_ctl", "-D", data, "-w", "-l", folder / "log", "-o", switches, "start")
        yield f"postgresql://everfit@127.0.0.1:{port}"
    finally:
        if (data / "postmaster.pid").exists():
            _as_nobody(binaries / "pg_ctl", "-D", data, "-m", "immediate", "stop")
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty Postgres database of this test."""
    import psycopg

    name = f"test_{secrets.token_hex(4)}"
    with psycopg.connect(f"{postgres_url}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres_url}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings on SQLite, and on Postgres."""
    url = None if request.param == "sqlite" else SecretStr(request.getfixturevalue("postgres_database"))
    return Settings(home=tmp_path / "home", database_url=url)


@pytest.fixture
def any_registry(any_settings: Settings) -> Iterator[Registry]:
    """An empty registry on SQLite, and on Postgres."""
    opened = open_registry(any_settings)
    yield opened
    opened.database.close()


def _postgres_binaries() -> Path | None:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).resolve().parent if on_path else None


def _as_nobody(*command: object) -> None:
    # Postgres refuses to run as root, which is who runs the tests in many containers.
    prefix = ["setpriv", "--reuid=nobody", "--regid=nogroup", "--clear-groups"] if os.geteuid() == 0 else []
    finished = subprocess.run(
        [*prefix, *map(str, command)],
        cwd="/",
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        timeout=_START_SECONDS,
        check=False,
    )
    assert finished.returncode == 0, f"{command[0]} ended with {finished.returncode}"


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])
