"""Prefect's server as a child process: its database below the home folder, its analytics off, never ephemeral."""

from __future__ import annotations

import contextlib
import fcntl
import gc
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from base.settings import Settings
from deployments.child_process import ChildProcess, ChildSpec, answers, child_environment, free_port
from deployments.prefect_settings import reread_settings
from deployments.up_state import read_state

# Services that act by the clock. A server that lives for one command has no worker to hand scheduled runs to.
_CLOCK_SERVICES = ("SCHEDULER", "LATE_RUNS", "FOREMAN", "PAUSE_EXPIRATIONS", "CANCELLATION_CLEANUP", "REPOSSESSOR")
_DRAIN_SECONDS = 5.0


@dataclass(frozen=True)
class ServerInUse:
    """The Prefect server that a command works with, and where it was found."""

    api_url: str
    found: Literal["up", "environment", "started"]


def prefect_environment(settings: Settings, api_url: str | None = None) -> dict[str, str]:
    """Give the variables that every process of the set-up needs before it imports Prefect."""
    home = prefect_home(settings)
    variables = {
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "DO_NOT_TRACK": "1",
        # A server started unasked costs every process 10 to 20 seconds, and never evaluates an automation.
        "PREFECT_SERVER_ALLOW_EPHEMERAL_MODE": "false",
        # A person who calls a step outside a flow wants its result, not a warning about a log that has no run.
        "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
        "OMP_NUM_THREADS": str(settings.fit_threads),
        "OMP_WAIT_POLICY": "PASSIVE",
    }
    if api_url is not None:
        variables["PREFECT_API_URL"] = api_url
    return variables


def prefect_home(settings: Settings) -> Path:
    """Return the folder of Prefect's database, profiles and results; created if it is not there."""
    home = settings.home.absolute() / "prefect"
    home.mkdir(parents=True, exist_ok=True)
    return home


def server_spec(settings: Settings, *, host: str, port: int, by_the_clock: bool = True) -> ChildSpec:
    """Describe the server's process; *by_the_clock* is False for one that lives for a single command."""
    home = prefect_home(settings)
    api_url = server_url(host, port) + "/api"
    environment = {
        **child_environment(settings),
        **prefect_environment(settings, api_url),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": f"sqlite+aiosqlite:///{home / 'prefect.db'}",
        # By default the console's files are copied into site-packages, which may not be writable.
        "PREFECT_SERVER_UI_STATIC_DIRECTORY": str(home / "ui"),
        "PREFECT_SERVER_UI_API_URL": api_url,
        "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
        # How soon a run that waits for another of its deployment is looked at again; 30 by default.
        "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "2",
    }
    if not by_the_clock:
        environment["PREFECT_SERVER_UI_ENABLED"] = "false"
        environment |= {f"PREFECT_SERVER_SERVICES_{service}_ENABLED": "false" for service in _CLOCK_SERVICES}
    return ChildSpec(
        name="Prefect server",
        module="deployments.prefect_server",
        arguments=(host, str(port)),
        environment=environment,
        is_healthy=lambda: answers(f"{api_url}/health"),
        host=host,
        port=port,
        port_setting="EVERFIT_PREFECT_PORT",
        start_seconds=120,
    )


def server_url(host: str, port: int) -> str:
    """Write the address at which a server that binds *host* is reached from this machine."""
    reachable = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(host, f"[{host}]" if ":" in host else host)
    return f"http://{reachable}:{port}"


@contextmanager
def use_server(settings: Settings, *, progress: Callable[[str], None] = lambda _: None) -> Iterator[ServerInUse]:
    """Work with a Prefect server: the one of a running ``everfit up``, else the user's, else one of our own.

    The first is found by the home's state file, the second by ``PREFECT_API_URL``, if they answer. The third
    lives as long as the context. Within it, Prefect's client in this process talks to that server.

    Raises
    ------
    ChildFailed
        If a server had to be started and did not become healthy.
    """
    in_use = running_server(settings)
    if in_use is not None:
        with use_client(settings, in_use.api_url):
            yield in_use
        return
    progress("starting a Prefect server for this command; `everfit up` keeps one running")
    with _started_server(settings) as api_url, use_client(settings, api_url):
        yield ServerInUse(api_url, "started")


def running_server(settings: Settings) -> ServerInUse | None:
    """Find the Prefect server that a running ``everfit up`` or the environment names, if it answers."""
    state = read_state(settings)
    if state is not None and answers(f"{state.addresses.prefect_api}/health"):
        return ServerInUse(state.addresses.prefect_api, "up")
    given = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if given and answers(f"{given}/health"):
        return ServerInUse(given, "environment")
    return None


@contextmanager
def _started_server(settings: Settings) -> Iterator[str]:
    port = free_port()
    spec = server_spec(settings, host="127.0.0.1", port=port, by_the_clock=False)
    log = settings.home.absolute() / "logs" / "prefect-server-of-command.log"
    with (prefect_home(settings) / "start.lock").open("w") as lock:
        # Two servers that migrate one database at once disturb each other: they start in turn.
        fcntl.flock(lock, fcntl.LOCK_EX)
        child = ChildProcess(spec, log)
        try:
            # Both take a second or more, and there are two of us.
            import prefect.context  # noqa: F401

            child.wait_until_healthy()
        except BaseException:
            child.stop()
            raise
    try:
        yield f"{server_url('127.0.0.1', port)}/api"
    finally:
        child.stop()


@contextmanager
def use_client(settings: Settings, api_url: str) -> Iterator[None]:
    """Let Prefect's client in this process talk to the server at *api_url*, and send what it holds back at the end."""
    variables = prefect_environment(settings, api_url)
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    reread_settings()
    try:
        yield
    finally:
        _send_what_waits()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        reread_settings()


def _send_what_waits() -> None:
    # Logs and events leave by threads in the background; what they still hold is lost once the server is gone.
    from prefect.events.worker import EventsWorker
    from prefect.logging.handlers import APILogWorker

    for worker in (APILogWorker, EventsWorker):
        with contextlib.suppress(Exception):
            worker.drain_all(timeout=_DRAIN_SECONDS)


def _let_writers_wait() -> None:
    """Begin each of the server's transactions on SQLite as a writer, so that two of them take turns.

    By default one that reads first and writes later is turned away at once when another wrote in between
    (``SQLITE_BUSY_SNAPSHOT``, which no busy timeout helps): Prefect's own client asks again, but the console
    tells the person who clicked *Run* that it failed.
    """
    from prefect.server.database.configurations import AioSqliteConfiguration
    from sqlalchemy.ext.asyncio import AsyncSession, AsyncSessionTransaction

    begin = AioSqliteConfiguration.begin_transaction

    def begin_as_writer(
        self: AioSqliteConfiguration,
        session: AsyncSession,
        with_for_update: bool = False,  # noqa: ARG001
    ) -> contextlib._AsyncGeneratorContextManager[AsyncSessionTransaction]:
        return begin(self, session, with_for_update=True)

    AioSqliteConfiguration.begin_transaction = begin_as_writer  # type: ignore[method-assign]


def main() -> None:
    """Serve, as the child process: ``python -m deployments.prefect_server HOST PORT``."""
    host, port = sys.argv[1:]
    # Thousands of classes are made while the server is imported and none is thrown away: without the
    # collector's passes over them the server is up a fifth sooner.
    gc.disable()
    import uvicorn
    from prefect.server.api.server import create_app

    _let_writers_wait()
    app = create_app(final=True)
    gc.freeze()
    gc.enable()
    uvicorn.run(app, host=host, port=int(port), log_level="warning", timeout_graceful_shutdown=2)


if __name__ == "__main__":
    main()
