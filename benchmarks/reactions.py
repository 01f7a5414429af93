"""How soon: from a signed webhook to a training's first step, from a promotion to the new model's first answer."""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TypeVar

import httpx
from pydantic import SecretStr
from sqlmodel import col, select

from base.settings import Settings
from base.webhooks import Webhook
from benchmarks.figures import Figure
from benchmarks.measuring import clean_environment, everfit, run_timed
from benchmarks.served_model import NAME, register_twin, write_bodies, write_pipeline
from benchmarks.soak_moves import promote
from benchmarks.start_of_runs import PROCESS, WARM, StartOfRuns
from deployments.child_process import free_port
from deployments.prefect_server import server_url, use_client
from registry.launches import find_launch
from registry.models import find_alias
from registry.store import Registry, open_registry
from registry.tables import Launch, StepExecution

_HOOK_TARGET, _ANSWER_TARGET = 3.0, 2.0
_N_PROMOTIONS = 10
_PATIENCE_SECONDS = 180.0
_LOOK_SECONDS = 0.02
_REST_SECONDS = 1.5
_Found = TypeVar("_Found")


def measure_reactions(rounds: int) -> list[Figure]:
    """Measure both on a real `everfit up` with a small pipeline, warmed up by a first training."""
    with tempfile.TemporaryDirectory(prefix="everfit-reactions-") as name:
        folder = Path(name)
        settings = Settings(
            home=folder / "home",
            database_url=None,
            artifacts_url=None,
            prefect_port=free_port(),
            service_port=free_port(),
        )
        environment = clean_environment(
            EVERFIT_HOME=str(settings.home),
            EVERFIT_PREFECT_PORT=str(settings.prefect_port),
            EVERFIT_SERVICE_PORT=str(settings.service_port),
        )
        definition = write_pipeline(folder / "pipeline", n_rows=4_000)
        # Its own work pool beside that of `everfit up`, which stands idle meanwhile.
        with _everfit_up(definition, environment):
            registry = open_registry(settings)
            secret = json.loads(run_timed(everfit("hooks", "add", "bench", "--json"), environment).output)["secret"]
            sender = Webhook(url=SecretStr(f"{_address(settings)}/v1/hooks/{NAME}"), secret=SecretStr(secret))
            _ask_for_training(registry, sender)
            with registry.database.read() as session:
                if find_alias(session, registry.environment, NAME) is None:
                    raise RuntimeError("the first training promoted nothing")
            hooks = [_ask_for_training(registry, sender) for _ in range(rounds)]
            answers = _measure_promotions(registry, settings, folder / "pipeline")
            registry.database.close()
            worker = _measure_workers(settings, folder / "starts")
    return [
        Figure(
            "webhook_to_first_step_seconds",
            statistics.median(hooks),
            "s",
            f"{min(hooks):.2f} to {max(hooks):.2f} in {len(hooks)}; a flow run alone, asked for to running: "
            f"{worker[WARM]:.2f} s on the warm worker, {worker[PROCESS]:.2f} s with Prefect's process worker; "
            f"target {_HOOK_TARGET:g}",
        ),
        Figure(
            "promotion_to_first_answer_seconds",
            statistics.median(answers),
            "s",
            f"{min(answers):.2f} to {max(answers):.2f} in {len(answers)}; target {_ANSWER_TARGET:g}",
        ),
    ]


@contextmanager
def _everfit_up(definition: Path, environment: dict[str, str]) -> Iterator[None]:
    """Keep `everfit up` running, as anybody starts it."""
    process = subprocess.Popen(
        everfit("up", str(definition), "--json"), env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"`everfit up` ended with code {process.wait()}")
        yield
    finally:
        process.terminate()
        process.wait(_PATIENCE_SECONDS)


def _ask_for_training(registry: Registry, sender: Webhook) -> float:
    """Send a signed hook, and return the seconds until the run's first step began, when the run has ended."""
    # A hook's moment is a whole second: within the one in which the last run ended it would be that run's.
    time.sleep(_REST_SECONDS)
    body = json.dumps({"reason": f"asked at {time.time()}"})
    asked = time.time()
    headers = sender.sign(f"msg-{time.time_ns()}", int(asked), body) | {"content-type": "application/json"}
    answer = httpx.post(sender.url.get_secret_value(), content=body, headers=headers, timeout=60)
    answer.raise_for_status()
    said = answer.json()
    if said["outcome"] != "start":
        raise RuntimeError(f"the hook was to start a training, and the answer is {said}")
    launch = _wait_for(lambda: _ended(registry, said["launch"]), "the run's end")
    with registry.database.read() as session:
        of_run = select(StepExecution).where(StepExecution.run_id == launch.run_id)
        first = session.exec(of_run.order_by(col(StepExecution.finished_at))).first()
    if first is None:
        raise RuntimeError(f"launch {launch.id} came to no step: {launch.outcome or launch.trouble}")
    began = first.finished_at - timedelta(seconds=first.seconds)
    return began.timestamp() - asked


def _ended(registry: Registry, launch_id: str) -> Launch | None:
    with registry.database.read() as session:
        launch = find_launch(session, launch_id)
    return launch if launch.ended_at is not None else None


def _measure_promotions(registry: Registry, settings: Settings, folder: Path) -> list[float]:
    """Promote to and fro between two versions, and ask until the promoted one answers."""
    twin = register_twin(registry, settings)
    one, _ = write_bodies(folder)
    found = []
    with httpx.Client(base_url=_address(settings), timeout=10) as client:

        def answering() -> int | None:
            answer = client.post(f"/v1/models/{NAME}/predict", content=one.read_bytes(), headers=_JSON)
            return int(answer.json()["version"]) if answer.status_code == 200 else None

        def is_answering(number: int) -> bool | None:
            return answering() == number or None

        _wait_for(answering, "the first answer")
        for number in [twin, 1] * (_N_PROMOTIONS // 2):
            promote(registry, NAME, number)
            promoted = time.perf_counter()
            _wait_for(partial(is_answering, number), f"an answer by version {number}")
            found.append(time.perf_counter() - promoted)
    return found


_JSON = {"content-type": "application/json"}


def _measure_workers(settings: Settings, folder: Path) -> dict[str, float]:
    """Measure how soon Prefect's own worker starts a flow, and the warm one, on the same server."""
    api_url = f"{server_url(settings.prefect_host, settings.prefect_port)}/api"
    starts = StartOfRuns(settings, api_url, folder)
    with use_client(settings, api_url), starts.workers():
        for _ in range(2):
            starts.run_round()
    return {name: statistics.median(seconds) for name, seconds in starts.seconds.items()}


def _address(settings: Settings) -> str:
    return f"http://{settings.service_host}:{settings.service_port}"


def _wait_for(look: Callable[[], _Found | None], what: str) -> _Found:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while (found := look()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{what} did not come within {_PATIENCE_SECONDS:.0f} s")
        time.sleep(_LOOK_SECONDS)
    return found
