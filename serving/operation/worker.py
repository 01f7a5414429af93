"""One process that answers: the application behind a listener, until it is told to stop and has answered all."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import pickle
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import ExitStack, contextmanager
from math import ceil
from pathlib import Path
from types import FrameType

import uvicorn

from base.errors import EverfitError
from base.settings import Settings
from registry.store import open_registry
from registry.webhook_delivery import Courier
from serving.operation.connections import guarded_protocol
from serving.operation.last_connections import take_the_last
from serving.operation.logs import set_up_logs
from serving.operation.supervisor import hold_address
from serving.operation.tallies import Tallies
from serving.operation.tls import tls_options

_log = logging.getLogger(__name__)

# The kernel takes the smaller of this and its own limit, which is 4096 on Linux since 5.4.
BACKLOG = 4096
# A drain ends when all requests are answered; a client that never reads its answer is not waited for longer.
DRAIN_SECONDS = 30
_DRAIN_LOOK_SECONDS = 0.02
# Longer than the usual pools of clients keep a connection, so that they close it and not we under their feet.
_KEEP_ALIVE_SECONDS = 75
# How long a computing thread may keep the interpreter from another; Python has 5 ms.
_SWITCH_SECONDS = 0.0005


def run_worker(
    settings: Settings,
    listener: socket.socket,
    *,
    models: Collection[str] | None = None,
    numbers: Path | None = None,
    is_first: bool = True,
    is_replacement: bool = False,
    create: bool = True,
    announce: Callable[[], None],
    desk: str | None = None,
) -> None:
    """Answer what comes to a listener until SIGTERM or Ctrl-C, then what has been asked, and return.

    Parameters
    ----------
    numbers : Path, optional
        Where the workers of one service leave what they have counted.
    is_first : bool
        Whether this worker also delivers webhooks; one of a service is enough.
    is_replacement : bool
        Whether others answer already, so that this one accepts nothing before its models are loaded.
    create : bool
        Whether a registry that is not there is made; where this service has answered before, it is away.
    announce : callable
        Is called when requests are answered.
    desk : str, optional
        The function that takes what hooks ask for.
    """
    # Set before scikit-learn starts its threads: they spin while they wait, and the scorer is one of many.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    # A collector that runs while all is imported looks at more and more of what stays.
    gc.disable()
    # Shadow, follower and upkeep compute in threads: whoever answers would wait five milliseconds for the interpreter.
    sys.setswitchinterval(_SWITCH_SECONDS)
    set_up_logs(settings.log_format)
    _allow_many_connections()
    from serving.app import create_app

    registry = open_registry(settings, create=create)
    app = create_app(settings, registry, models=models, numbers=numbers, is_replacement=is_replacement, desk=desk)
    config = uvicorn.Config(
        app,
        http=guarded_protocol(
            most_header_bytes=settings.max_header_bytes,
            header_seconds=settings.header_seconds,
            body_seconds=settings.body_seconds,
            refuse=app.tallies.refuse,
        ),
        ws="none",
        interface="asgi3",
        backlog=BACKLOG,
        access_log=False,
        log_config=None,
        log_level="warning",
        server_header=False,
        # Each request would be looked at for headers that nobody is believed about.
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies,
        timeout_graceful_shutdown=DRAIN_SECONDS,
        timeout_keep_alive=_KEEP_ALIVE_SECONDS,
        **tls_options(settings),
    )
    with _stop_signals_return(), ExitStack() as stack:
        if is_first:
            stack.enter_context(Courier(registry.database, settings))
        _Server(config, app.tallies, settings.drain_seconds, announce).run(sockets=[listener])
    registry.database.close()


class _Server(uvicorn.Server):
    def __init__(
        self, config: uvicorn.Config, tallies: Tallies, drain_seconds: float, announce: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._tallies = tallies
        self._drain_seconds = drain_seconds
        self._announce = announce

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What was imported stays until the end; the collector need not look at it ever.
        gc.freeze()
        gc.enable()
        if not self.should_exit:
            self._announce()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        # From here on readiness fails and each answer asks its client to close the connection.
        self._tallies.is_draining = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._tallies.is_draining = True
        # Closing a server closes its listener, unless another has it too.
        spares = [listener.dup() for listener in sockets or []]
        for server in self.servers:
            server.close()
        await asyncio.sleep(0)
        for spare in spares:
            await take_the_last(spare, self._take, patience_seconds=self._drain_seconds)
        # A request may be on its way on a connection that is idle here: to close it now would lose that one. Clients
        # that ask again are told to close; who does not ask within this time has nothing to lose.
        # Looks are counted and not seconds: a process that had no processor for a second has heard nobody meanwhile.
        for _ in range(ceil(self._drain_seconds / _DRAIN_LOOK_SECONDS)):
            if self.force_exit or not self.server_state.connections:
                break
            await asyncio.sleep(_DRAIN_LOOK_SECONDS)
        await super().shutdown(sockets)

    async def _take(self, connection: socket.socket) -> None:
        await asyncio.get_running_loop().connect_accepted_socket(self._make_protocol, connection, ssl=self.config.ssl)

    def _make_protocol(self) -> asyncio.Protocol:
        make: Callable[..., asyncio.Protocol] = self.config.http_protocol_class
        return make(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)


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


@contextmanager
def _told_in_one_line() -> Iterator[None]:
    try:
        yield
    except EverfitError as error:
        # A registry that is away while this worker takes another's place: the parent tries again.
        _log.error("this worker cannot start: %s", error)
        sys.exit(1)


def _main() -> None:
    """Run as a child of :mod:`serving.operation.supervisor`: its orders come by the standard input, settings first."""
    host, port, ready_fd = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    # Pickled by the parent, which is this very program: settings hold secrets, and an argument is read by anybody.
    settings, models, numbers, is_first, is_replacement, create, desk = pickle.load(sys.stdin.buffer)

    def end_with_parent() -> None:
        # Not through the buffered stream: its lock, held here for ever, keeps the interpreter from ending in peace.
        os.read(sys.stdin.fileno(), 1)
        _log.warning("the parent of this worker has ended; so does it")
        os.kill(os.getpid(), signal.SIGTERM)

    def announce() -> None:
        os.write(ready_fd, b"!")
        os.close(ready_fd)
        # Not before: a signal that comes while nobody handles it ends the process, which is as well.
        threading.Thread(target=end_with_parent, name="everfit-parent-watch", daemon=True).start()

    # It listens when the application is ready: until then the kernel gives all connections to the others.
    with hold_address(host, port) as listener, _told_in_one_line():
        run_worker(
            settings,
            listener,
            models=models,
            numbers=numbers,
            is_first=is_first,
            is_replacement=is_replacement,
            create=create,
            announce=announce,
            desk=desk,
        )


if __name__ == "__main__":
    _main()
