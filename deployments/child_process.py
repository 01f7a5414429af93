"""A child process of the embedded set-up: started, asked for its health, stopped with all that it started."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from pydantic import BaseModel, Secret, SecretStr

from base.errors import ArgumentError, RunFailed
from base.settings import Settings

_POLL_SECONDS = 0.05
_LAST_LINES = 15
_CLEAR_SECONDS = 2.0


class ChildFailed(RunFailed):
    """A process of the embedded set-up did not become healthy."""

    def __init__(self, name: str, problem: str, log: Path) -> None:
        tail = "".join(f"\n  | {line}" for line in _last_lines(log))
        super().__init__(f"the {name} {problem}; the end of its log, {log}:{tail or ' (empty)'}")
        self.name = name
        self.log = log


class PortInUse(ArgumentError):
    """Another process listens where a child of the embedded set-up should."""

    def __init__(self, name: str, host: str, port: int, setting: str) -> None:
        super().__init__(
            f"port {port} on {host}, where the {name} should listen, is in use by another process; "
            f"stop that one, or choose another port by {setting}"
        )
        self.port = port
        self.setting = setting


@dataclass(frozen=True)
class ChildSpec:
    """What to run and how to know that it works.

    *module* is run as ``python -m module arguments…``; *is_healthy* is asked until it says yes. A child that
    listens names its place and the setting that moves it, so that a port in use is told before anything starts.
    """

    name: str
    module: str
    arguments: Sequence[str] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_healthy: Callable[[], bool] = lambda: True
    host: str | None = None
    port: int = 0
    port_setting: str = ""
    start_seconds: float = 60.0
    stop_seconds: float = 10.0

    def check_port(self) -> None:
        """Refuse a port that is in use.

        Raises
        ------
        PortInUse
            If another process listens there.
        """
        if self.host is not None and not is_free(self.host, self.port):
            raise PortInUse(self.name, self.host, self.port, self.port_setting)


class ChildProcess:
    """One run of a :class:`ChildSpec`, in a process group of its own, its output in *log*.

    The child dies with this process, even when this one is killed: see :mod:`deployments.bound_child`.
    """

    def __init__(self, spec: ChildSpec, log: Path) -> None:
        self.spec = spec
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        self._started_at = time.monotonic()
        reading, self._pipe = os.pipe()
        try:
            with log.open("ab") as output:
                self._process = subprocess.Popen(
                    # -P: the user's folder may hold a features.py, which must not hide the package of that name.
                    [sys.executable, "-P", "-m", "deployments.bound_child", str(reading), spec.module, *spec.arguments],
                    env={**os.environ, "PYTHONSAFEPATH": "1", **spec.environment},
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    pass_fds=(reading,),
                    start_new_session=True,
                )
        except BaseException:
            os.close(self._pipe)
            raise
        finally:
            os.close(reading)

    @property
    def pid(self) -> int:
        """The process's number, which is its group's number too."""
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """What the process ended with (negative: the signal), None while it lives."""
        return self._process.poll()

    def wait_until_healthy(self) -> None:
        """Wait until the health check says yes.

        Raises
        ------
        ChildFailed
            If the process ends, or is not healthy in time; it is stopped then.
        """
        while not self.has_started():
            time.sleep(_POLL_SECONDS)

    def has_started(self) -> bool:
        """Tell whether the process has become healthy.

        Raises
        ------
        ChildFailed
            If the process has ended, or is not healthy in time; it is stopped then.
        """
        if self.spec.is_healthy():
            return True
        if (code := self.exit_code) is not None:
            self.stop()
            raise ChildFailed(self.spec.name, f"ended with code {code} before it was healthy", self.log)
        if time.monotonic() - self._started_at > self.spec.start_seconds:
            self.stop()
            raise ChildFailed(self.spec.name, f"was not healthy within {self.spec.start_seconds:g} s", self.log)
        return False

    def stop(self) -> None:
        """End the process: SIGTERM, then after a grace SIGKILL to its whole group, so that nothing stays behind."""
        if self.exit_code is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(self.spec.stop_seconds)
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
            self._process.wait()
            # The others of the group are not ours to wait for; the system takes a moment to clear them away.
            deadline = time.monotonic() + _CLEAR_SECONDS
            while time.monotonic() < deadline:
                os.killpg(self.pid, 0)
                time.sleep(_POLL_SECONDS / 5)
        self._process.wait()
        if self._pipe >= 0:
            os.close(self._pipe)
            self._pipe = -1


def child_environment(settings: Settings) -> dict[str, str]:
    """Write *settings*, the secret ones as well, as the variables from which a child reads the same ones."""
    values = {name: _reveal(getattr(settings, name)) for name in type(settings).model_fields}
    values["home"] = str(settings.home.absolute())
    return {
        f"EVERFIT_{name.upper()}": json.dumps(value) if isinstance(value, dict | list) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _reveal(value: object) -> object:
    if isinstance(value, Secret | SecretStr):
        return _reveal(value.get_secret_value())
    if isinstance(value, dict):
        return {name: _reveal(item) for name, item in value.items()}
    if isinstance(value, BaseModel):
        return {name: _reveal(getattr(value, name)) for name in type(value).model_fields}
    return [_reveal(item) for item in value] if isinstance(value, list | tuple) else value


def is_free(host: str, port: int) -> bool:
    """Tell whether a server could listen at *port*."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do it: a port whose last connections are only fading out is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def free_port(host: str = "127.0.0.1") -> int:
    """Return a port on which nothing listens now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def answers(url: str, *, timeout_seconds: float = 2.0) -> bool:
    """Tell whether a GET of *url* is answered by a 200."""
    import httpx

    try:
        return httpx.get(url, timeout=timeout_seconds, trust_env=False).status_code == httpx.codes.OK
    except (httpx.HTTPError, httpx.InvalidURL):
        return False


def _last_lines(log: Path) -> list[str]:
    try:
        return log.read_text(encoding="utf-8", errors="replace").splitlines()[-_LAST_LINES:]
    except OSError:
        return []
