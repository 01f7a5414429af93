"""The state file of a running ``everfit up``: who holds this home, and where its servers answer."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import psutil
from pydantic import BaseModel, ConfigDict, ValidationError

from base.errors import ArgumentError
from base.settings import Settings
from base.times import utc_now


class Addresses(BaseModel):
    """Where the embedded set-up answers."""

    model_config = ConfigDict(frozen=True)

    prefect_api: str
    prefect_ui: str
    service: str | None = None


class UpState(BaseModel):
    """One running ``everfit up``."""

    model_config = ConfigDict(frozen=True)

    pid: int
    process_started: float
    started_at: datetime
    addresses: Addresses

    def is_alive(self) -> bool:
        """Tell whether the process still runs; its number alone could be another's by now."""
        try:
            process = psutil.Process(self.pid)
            # create_time is computed from ticks and may differ in the last digits between processes.
            same = abs(process.create_time() - self.process_started) < 1
            return bool(same and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False


class AlreadyUp(ArgumentError):
    """Another ``everfit up`` runs in this home."""

    def __init__(self, home: Path, state: UpState | None) -> None:
        if state is None:
            who = "another process, which is just starting or stopping"
        else:
            who = (
                f"process {state.pid} since {state.started_at:%Y-%m-%d %H:%M:%S} UTC "
                f"(Prefect at {state.addresses.prefect_ui}, predictions at {state.addresses.service})"
            )
        super().__init__(
            f"`everfit up` runs already in {home}: {who}; use that one, stop it, or choose another EVERFIT_HOME"
        )
        self.state = state


def read_state(settings: Settings) -> UpState | None:
    """Return the ``everfit up`` that runs in this home, or None."""
    try:
        state = UpState.model_validate_json(_state_file(settings).read_bytes())
    except (OSError, ValidationError):
        return None
    return state if state.is_alive() else None


def write_state(settings: Settings, addresses: Addresses) -> UpState:
    """Record this process as the running ``everfit up``; readers see the old file or the new one, never a part."""
    state = UpState(
        pid=os.getpid(),
        process_started=psutil.Process().create_time(),
        started_at=utc_now(),
        addresses=addresses,
    )
    file = _state_file(settings)
    descriptor, temporary = tempfile.mkstemp(dir=file.parent, prefix="up.json.")
    with os.fdopen(descriptor, "w") as stream:
        stream.write(state.model_dump_json(indent=2))
    Path(temporary).replace(file)
    return state


@contextmanager
def hold_home(settings: Settings) -> Iterator[None]:
    """Hold this home for one ``everfit up``; the system lets go of it when the process ends, however it ends.

    Raises
    ------
    AlreadyUp
        If another process holds it.
    """
    home = settings.home.absolute()
    home.mkdir(parents=True, exist_ok=True)
    with (home / "up.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise AlreadyUp(home, read_state(settings)) from error
        try:
            yield
        finally:
            with contextlib.suppress(FileNotFoundError):
                _state_file(settings).unlink()


def _state_file(settings: Settings) -> Path:
    return settings.home.absolute() / "up.json"
