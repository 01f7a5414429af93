"""Trainings and commands in processes of their own, forked from one that has imported everything.

Such a process is a real one, to be killed at any place, and starts in a blink. The fixtures are taken over by
``from tests.trainings import trainings, training_server``.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from multiprocessing.forkserver import ensure_running
from pathlib import Path
from typing import Any

import pytest

from base.errors import EverfitError
from base.settings import Settings
from deployments.prefect_server import use_client
from tests.prefect_server import TestServer

__all__ = ["Finished", "Place", "Trainings", "training_server", "trainings", "was_killed"]

_SERVER = multiprocessing.get_context("forkserver")
_PATIENCE_SECONDS = 120
# What a training imports one time or another, by way of a module that imports it.
_IMPORTED = (
    __name__,
    "anyio._backends._asyncio",
    "console.training",
    "deployments.prefect_server",
    "fastapi",
    "flows.continuous_training",
    "great_expectations.core.expectation_suite",
    "great_expectations.validator.validator",
    "narwhals._pandas_like.dataframe",
    "prefect.concurrency._sync",
    "prefect.flow_engine",
    "prefect.task_engine",
    "prefect.utilities.visualization",
    "pyarrow.dataset",
    "pyarrow.pandas_compat",
    "scipy.stats",
    "sklearn.compose",
    "sklearn.ensemble",
    "sklearn.impute",
    "sklearn.linear_model",
    "sklearn.tree",
    "skops.io",
)


@dataclass(frozen=True)
class Place:
    """A place in a run: before or after a function of a module is called."""

    module: str
    function: str
    after: bool = False

    def __str__(self) -> str:
        return f"{'after' if self.after else 'before'} {self.function}"


@dataclass(frozen=True)
class Finished:
    """What a command left behind."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """The one JSON document on the standard output."""
        return json.loads(self.out)

    @property
    def steps(self) -> dict[str, str]:
        """What the command said of each step: ``executed (why)`` or ``reused from run …``."""
        said = [line.split(": ", 2)[1:] for line in self.err.splitlines() if line.count(": ") >= 2]
        return {step: what for step, what in said if what.startswith(("executed", "reused"))}


class Trainings:
    """Trains the pipelines of one home against one Prefect server; each training is a process."""

    def __init__(self, settings: Settings, server: TestServer, folder: Path) -> None:
        self.home = settings.home
        self._server = server
        self._folder = folder

    def train(
        self,
        definition: Path | str,
        *,
        killed: Place | None = None,
        environment: Mapping[str, str] | None = None,
        **parameters: Any,
    ) -> int:
        """Call the flow, and return the exit code of the process: 0, an error's own, or -9 where it was killed.

        *environment* is added to that of the process.
        """
        return self._run(_train, str(definition), parameters, killed, dict(environment or {}))

    def everfit(self, *arguments: str) -> Finished:
        """Run a command."""
        out, err = self._folder / "out.txt", self._folder / "err.txt"
        code = self._run(_everfit, arguments, out, err)
        return Finished(code, out.read_text(), err.read_text())

    def _run(self, work: Callable[..., int], *arguments: Any) -> int:
        child = _SERVER.Process(target=_work, args=(self.home, self._server.api_url, work, *arguments), daemon=True)
        child.start()
        try:
            child.join(_PATIENCE_SECONDS)
            assert child.exitcode is not None, "the training neither ended nor died"
            return child.exitcode
        finally:
            child.kill()
            child.join()


def was_killed(code: int) -> bool:
    """Tell whether a process was killed by SIGKILL."""
    return code == -signal.SIGKILL


@pytest.fixture(scope="session")
def training_server() -> None:
    """The process that has imported everything; it does so while Prefect's server starts."""
    _SERVER.set_forkserver_preload(list(_IMPORTED))
    ensure_running()


@pytest.fixture
def trainings(training_server: None, prefect_server: TestServer, settings: Settings, tmp_path: Path) -> Trainings:
    """Trainings of a home of one's own."""
    return Trainings(settings, prefect_server, tmp_path)


def _work(home: Path, api_url: str, work: Callable[..., int], *arguments: Any) -> None:
    # As in a command's own process; with the method that this one was started by, locks would outlive its death.
    multiprocessing.set_start_method("fork", force=True)
    os.environ["EVERFIT_HOME"] = str(home)
    with use_client(Settings(home=home), api_url):
        code = work(*arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _train(definition: str, parameters: dict[str, Any], killed: Place | None, environment: dict[str, str]) -> int:
    os.environ.update(environment)
    from flows.continuous_training import continuous_training

    if killed is not None:
        _die_at(killed)
    try:
        continuous_training(definition, **parameters)
    except EverfitError as error:
        return error.exit_code
    return 0


def _everfit(arguments: tuple[str, ...], out: Path, err: Path) -> int:
    from console.cli import run

    sys.stdout, sys.stderr = out.open("w"), err.open("w")
    return run(list(arguments))


def _die_at(place: Place) -> None:
    module = importlib.import_module(place.module)
    original: Callable[..., Any] = getattr(module, place.function)

    def die(*arguments: Any, **options: Any) -> Any:
        if place.after:
            original(*arguments, **options)
        os.kill(os.getpid(), signal.SIGKILL)

    setattr(module, place.function, die)
