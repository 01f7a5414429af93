"""Run the prediction service: bind, announce, answer in this process or in several, drain when told to stop."""

from __future__ import annotations

import logging
import socket
import sys
from collections.abc import Callable, Collection

from base.errors import ArgumentError
from base.settings import Settings

# What answers is imported where it runs: a parent of several workers needs none of it.

_log = logging.getLogger(__name__)

# The kernel takes the smaller of this and its own limit, which is 4096 on Linux since 5.4.
_BACKLOG = 4096


def serve(
    settings: Settings,
    *,
    models: Collection[str] | None = None,
    host: str | None = None,
    port: int | None = None,
    workers: int | None = None,
    announce: Callable[[str], None] | None = None,
    desk: str | None = None,
) -> None:
    """Serve the champions until SIGTERM or Ctrl-C, then answer what has been asked and return.

    Parameters
    ----------
    models : collection of str, optional
        Serve these only; default: every model that has a champion.
    host, port : optional
        Where to bind, by default as the settings say; port 0 takes a free one.
    workers : int, optional
        Processes that answer behind the one address, by default as the settings say; 1: this one.
    announce : callable, optional
        Is told the address when requests are answered there; default: it is logged.
    desk : str, optional
        The function that takes what hooks ask for, such as ``monitoring.desk:take``; default: hooks are refused.

    Raises
    ------
    ArgumentError
        If the address cannot be bound, or the certificate's files are wrong.
    RunFailed
        If the first workers end before they answer.
    """
    from serving.operation.logs import set_up_logs
    from serving.operation.tls import tls_options

    set_up_logs(settings.log_format)
    given = {"service_host": host, "service_port": port}
    # Who asks which host it is bound to (whether tokens are needed, say) asks the settings.
    settings = settings.model_copy(update={name: value for name, value in given.items() if value is not None})
    protocol = "https" if tls_options(settings) else "http"
    listener = _bind(settings.service_host, settings.service_port)
    address = _address(listener, protocol)
    n_workers = settings.workers if workers is None else workers
    with listener:
        if n_workers == 1:
            from serving.operation.worker import run_worker

            run_worker(settings, listener, models=models, announce=lambda: (announce or _announce)(address), desk=desk)
        else:
            from serving.operation.supervisor import Workers, hold_address

            # It was free a moment ago; from here on other sockets of this service may listen there beside each other.
            host, port = listener.getsockname()[:2]
            listener.close()
            Workers(
                settings,
                hold_address(host, port),
                n_workers=n_workers,
                models=models,
                announce=lambda: (announce or _announce)(address),
                desk=desk,
            ).run()


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


def _address(listener: socket.socket, protocol: str) -> str:
    host, port = listener.getsockname()[:2]
    return f"{protocol}://[{host}]:{port}" if ":" in host else f"{protocol}://{host}:{port}"


if __name__ == "__main__":
    # What lies on the floors above is named by whoever starts this.
    serve(Settings(), desk=sys.argv[1] if len(sys.argv) > 1 else None)
