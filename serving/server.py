"""Run the prediction service as a process: bind, announce, drain when told to stop."""

from __future__ import annotations

import logging
import os
import resource
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

import uvicorn

from base.errors import ArgumentError
from base.settings import Settings
from registry.store import open_registry
from registry.webhook_delivery import Courier

_log = logging.getLogger(__name__)

# The kernel takes the smaller of this and its own limit, which is 4096 on Linux since 5.4.
_BACKLOG = 4096
# A drain ends when all requests are answered; a client that never reads its answer is not waited for longer.
_DRAIN_SECONDS = 30
# Longer than the usual pools of clients keep a connection, so that they close it and not we under their feet.
_KEEP_ALIVE_SECONDS = 75


def serve(
    settings: Settings,
    *,
    models: Collection[str] | None = None,
    host: str | None = None,
    port: int | None = None,
    announce: Callable[[str], None] | None = None,
) -> None:
    """Serve the champions until SIGTERM or Ctrl-C, then answer what has been asked and return.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion.
    host, port : optional
        Where to bind, by default as the settings say; port 0 takes a free one.
    announce : callable, optional
        Is told the address when requests are answered there; default: it is logged.

    Raises
    ------
    ArgumentError
        If the address cannot be bound.
    """
    # Set before scikit-learn starts its threads: they spin while they wait, and the scorer is one of many.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if not logging.getLogger().handlers:
        logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _allow_many_connections()
    listener = _bind(settings.service_host if host is None else host, settings.service_port if port is None else port)
    with listener:
        from serving.app import create_app

        registry = open_registry(settings)
        app = create_app(settings, registry, models=models)
        config = uvicorn.Config(
            app,
            backlog=_BACKLOG,
            access_log=False,
            log_config=None,
            log_level="warning",
            server_header=False,
            timeout_graceful_shutdown=_DRAIN_SECONDS,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        )
        with _stop_signals_return(), Courier(registry.database, settings):
            _Server(config, _address(listener), announce or _announce).run(sockets=[listener])
        registry.database.close()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, address: str, announce: Callable[[str], None]) -> None:
        super().__init__(config)
        self._address = address
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if not self.should_exit:
            self._announce(self._address)


def _announce(address: str) -> None:
    _log.info("predictions at %s/v1/models", address)


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_BACKLOG)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ArgumentError(
            f"the prediction service cannot bind {host}:{port}: {reason}; "
            "stop what runs there, or choose another port with --port or EVERFIT_SERVICE_PORT"
        ) from error


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _allow_many_connections() -> None:
    # Each connection is an open file, and shells usually allow 1,024 of them where the system allows far more.
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 65_536 if hard == resource.RLIM_INFINITY else min(hard, 65_536)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


@contextmanager
def _stop_signals_return() -> Iterator[None]:
    # After its drain, uvicorn raises the signal again for whoever handled it before; a service that did what it
    # was told should return instead of dying by the signal.
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    serve(Settings())
