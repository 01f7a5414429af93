"""The loop as a whole: what `everfit train` costs, how soon a granted run begins, how soon commands answer."""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from base.settings import Settings
from benchmarks.answering import Answering
from benchmarks.figures import Figure
from benchmarks.start_of_runs import StartOfRuns
from benchmarks.training_cost import TrainingCost
from deployments.child_process import ChildProcess, free_port
from deployments.prefect_server import server_spec, server_url, use_client

_COLD_ROUNDS = 3


def measure(rounds: int) -> list[Figure]:
    """Measure all figures of the loop, each kind *rounds* times."""
    with tempfile.TemporaryDirectory(prefix="everfit-benchmark-") as name:
        folder = Path(name)
        settings = Settings(home=folder / "up", database_url=None, artifacts_url=None, prefect_port=free_port())
        with _server(settings) as api_url:
            cost = TrainingCost(folder / "train", api_url)
            _say("warming up")
            cost.warm_up()
            for number in range(rounds):
                _say(f"training, round {number + 1} of {rounds}")
                cost.run_round(number)
            _say("memory")
            cost.measure_memory()
            starts = StartOfRuns(settings, api_url, folder / "starts")
            with use_client(settings, api_url), starts.workers():
                for number in range(rounds):
                    _say(f"start of runs, round {number + 1} of {rounds}")
                    starts.run_round()
        answering = Answering(folder / "train" / "round-0")
        for number in range(rounds):
            _say(f"small commands, round {number + 1} of {rounds}")
            answering.run_round()
        for number in range(min(rounds, _COLD_ROUNDS)):
            _say(f"cold start, round {number + 1}")
            cost.measure_cold_start(number)
    return [*cost.figures(), *starts.figures(), *answering.figures()]


@contextmanager
def _server(settings: Settings) -> Iterator[str]:
    """Keep a Prefect server up, as `everfit up` does."""
    spec = server_spec(settings, host=settings.prefect_host, port=settings.prefect_port)
    server = ChildProcess(spec, settings.home / "logs" / "prefect-server.log")
    try:
        server.wait_until_healthy()
        yield f"{server_url(settings.prefect_host, settings.prefect_port)}/api"
    finally:
        server.stop()


def _say(text: str) -> None:
    print(f"loop: {text}", file=sys.stderr, flush=True)
