"""The embedded set-up: Prefect's server, a warm worker and the prediction service on this machine, as one."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from base.errors import EverfitError
from base.pipeline import Pipeline
from base.settings import Settings
from deployments.child_process import ChildSpec, answers, child_environment
from deployments.launching.duty import dispatching
from deployments.prefect_server import prefect_environment, server_spec, server_url, use_client
from deployments.registration import POOL, register_deployments
from deployments.supervisor import Supervisor
from deployments.up_state import Addresses, hold_home, write_state
from registry.pipelines import find_pipeline, list_pipelines, register_pipeline
from registry.store import open_registry
from registry.webhook_delivery import Courier

Progress = Callable[[str], None]

# The worker touches a file whenever it asks for runs; the server's answer may be late when the machine is busy.
_BEAT_SECONDS = 30.0


@dataclass(frozen=True)
class Embedded:
    """A running embedded set-up: where it answers, what is registered, and the supervisor of its processes."""

    addresses: Addresses
    deployments: list[str]
    supervisor: Supervisor
    logs: Path


@contextmanager
def up(
    settings: Settings,
    pipelines: Sequence[Pipeline] = (),
    *,
    progress: Progress = lambda _: None,
    service: bool = True,
) -> Iterator[Embedded]:
    """Start everything, register *pipelines* and those the registry knows, and stop everything at the end.

    Within the context, Prefect's client in this process talks to the set-up's server. *service* is False where
    no predictions are to be served.

    Raises
    ------
    AlreadyUp
        If another process has set up this home.
    PortInUse
        If another process listens on one of the ports; nothing is started then.
    ChildFailed
        If one of the processes does not become healthy; the others are stopped.
    """
    server = server_spec(settings, host=settings.prefect_host, port=settings.prefect_port)
    others = [worker_spec(settings)] + ([service_spec(settings)] if service else [])
    address = server_url(settings.prefect_host, settings.prefect_port)
    addresses = Addresses(
        prefect_api=f"{address}/api",
        prefect_ui=address,
        service=server_url(settings.service_host, settings.service_port) if service else None,
    )
    logs = settings.home.absolute() / "logs"
    with (
        _ended_by_sigterm(),
        hold_home(settings),
        _courier(settings),
        Supervisor(logs, progress=progress) as supervisor,
    ):
        for spec in (server, *others):
            spec.check_port()
        known = _register_pipelines(settings, pipelines, progress)
        supervisor.start(server)
        with use_client(settings, addresses.prefect_api):
            # The worker takes its time to import everything; meanwhile the deployments are registered.
            starting = supervisor.begin(*others)
            deployments = register_deployments(known)
            starting.wait()
            write_state(settings, addresses)
            with dispatching(settings):
                yield Embedded(addresses, deployments, supervisor, logs)


def wait_for_signal() -> int:
    """Block until SIGINT or SIGTERM and return it; both then mean "stop", not "die"."""
    received: list[int] = []
    stop = threading.Event()

    def note(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        stop.set()

    before = {number: signal.signal(number, note) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        # With a timeout, since a wait without one would not let the handler run on every platform.
        while not stop.wait(1.0):
            pass
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    return received[0]


def worker_spec(settings: Settings) -> ChildSpec:
    """Describe the warm worker's process."""
    address = server_url(settings.prefect_host, settings.prefect_port)
    beat = settings.home.absolute() / "prefect" / "warm-worker.beat"
    beat.unlink(missing_ok=True)
    return ChildSpec(
        name="warm worker",
        module="deployments.warm_worker",
        arguments=(POOL,),
        environment={
            **child_environment(settings),
            **prefect_environment(settings, f"{address}/api"),
            "EVERFIT_WORKER_BEAT": str(beat),
        },
        is_healthy=lambda: _beats(beat),
        start_seconds=90,
        stop_seconds=15,
    )


def service_spec(settings: Settings) -> ChildSpec:
    """Describe the prediction service's process."""
    address = server_url(settings.service_host, settings.service_port)
    return ChildSpec(
        name="prediction service",
        module="serving.server",
        arguments=("monitoring.desk:take",),
        environment=child_environment(settings),
        is_healthy=lambda: answers(f"{address}/healthz"),
        host=settings.service_host,
        port=settings.service_port,
        port_setting="EVERFIT_SERVICE_PORT",
        start_seconds=60,
    )


def _beats(beat: Path) -> bool:
    try:
        return time.time() - beat.stat().st_mtime < _BEAT_SECONDS
    except FileNotFoundError:
        return False


def _register_pipelines(settings: Settings, pipelines: Sequence[Pipeline], progress: Progress) -> list[Pipeline]:
    registry = open_registry(settings)
    try:
        for pipeline in pipelines:
            register_pipeline(registry, pipeline)
        known = {pipeline.name: pipeline for pipeline in pipelines}
        with registry.database.read() as session:
            others = [name for name in list_pipelines(session) if name not in known]
        for name in others:
            # A definition that was moved or broken since must not keep the others from running.
            try:
                known[name] = find_pipeline(registry, name)
            except EverfitError as error:
                progress(f"pipeline {name!r} is left out: {error}")
    finally:
        registry.database.close()
    return list(known.values())


@contextmanager
def _courier(settings: Settings) -> Iterator[None]:
    """Send webhooks while the set-up is up, where the settings name a receiver."""
    if not settings.webhooks:
        yield
        return
    database = open_registry(settings).database
    try:
        with Courier(database, settings):
            yield
    finally:
        database.close()


@contextmanager
def _ended_by_sigterm() -> Iterator[None]:
    """Let SIGTERM unwind the stack, as Ctrl-C does, so that everything is stopped in its order."""
    if threading.current_thread() is not threading.main_thread() or signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        yield
        return

    def leave(number: int, _frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
