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
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck
from hypothesis import settings as hypothesis_settings
from pydantic import SecretStr

from base.settings import Settings
from registry.store import Registry, open_registry
from tests.prefect_server import prefect_server

if TYPE_CHECKING:
    import psycopg

# One server for all floors.
__all__ = ["prefect_server"]

# The machines are slow and shared: a law is judged by its cases, never by the time that they take.
hypothesis_settings.register_profile(
    "everfit", deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture]
)
hypothesis_settings.load_profile("everfit")

_START_SECONDS = 30
_FILE = "everfit.db"


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
def plain_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows have a page that says nothing: Evidently's takes longer than all else that is done about a window."""
    monkeypatch.setattr("monitoring.drift.page.render_page", lambda *_: "<html></html>")


@pytest.fixture(scope="session")
def migrated_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty registry on SQLite, to be copied: that takes a tenth of the time in which its tables are made."""
    settings = Settings(home=tmp_path_factory.mktemp("migrated"), database_url=None)
    open_registry(settings).database.close()
    return settings.home / _FILE


@pytest.fixture
def registry(settings: Settings, migrated_file: Path) -> Iterator[Registry]:
    """An empty registry on SQLite."""
    _copy(migrated_file, settings)
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


@pytest.fixture(scope="session")
def migrated_template(postgres_url: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The name of a Postgres database that is an empty registry, to be copied."""
    name = "migrated"
    with _connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    url = SecretStr(f"{postgres_url}/{name}")
    open_registry(Settings(home=tmp_path_factory.mktemp(name), database_url=url)).database.close()
    return name


@pytest.fixture
def postgres_database(postgres_url: str) -> Iterator[str]:
    """The URL of an empty Postgres database of this test."""
    with _database(postgres_url, template="template1") as url:
        yield url


@pytest.fixture
def postgres_registry(postgres_url: str, migrated_template: str) -> Iterator[str]:
    """The URL of a Postgres database of this test with an empty registry."""
    with _database(postgres_url, template=migrated_template) as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def any_settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Settings on SQLite, and on Postgres."""
    url = None
    if request.param == "postgres":
        is_opened = "any_registry" in request.fixturenames
        url = SecretStr(request.getfixturevalue("postgres_registry" if is_opened else "postgres_database"))
    return Settings(home=tmp_path / "home", database_url=url)


@pytest.fixture
def any_registry(any_settings: Settings, migrated_file: Path) -> Iterator[Registry]:
    """An empty registry on SQLite, and on Postgres."""
    _copy(migrated_file, any_settings)
    opened = open_registry(any_settings)
    yield opened
    opened.database.close()


def _copy(migrated_file: Path, settings: Settings) -> None:
    if settings.database_url is None and not (settings.home / _FILE).exists():
        settings.home.mkdir(parents=True, exist_ok=True)
        shutil.copy(migrated_file, settings.home / _FILE)


def _connect(postgres_url: str) -> psycopg.Connection:
    import psycopg

    return psycopg.connect(f"{postgres_url}/postgres", autocommit=True)


@contextmanager
def _database(postgres_url: str, *, template: str) -> Iterator[str]:
    name = f"test_{secrets.token_hex(4)}"
    with _connect(postgres_url) as connection:
        connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        yield f"{postgres_url}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


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
