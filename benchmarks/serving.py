"""Serving: requests a second beside a plain FastAPI service and the bare HTTP stack, with the durable log on."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from base.settings import Settings
from benchmarks.figures import Figure
from benchmarks.load import Load, press
from benchmarks.measuring import MEGABYTE, clean_environment, everfit, median_ratio, python, run_timed
from benchmarks.served_model import NAME, register_twin, train, write_bodies, write_model_file, write_pipeline
from registry.models import CHAMPION, find_alias, find_version, promote_version
from registry.store import Registry, open_registry

_ECHO, _PLAIN, _OURS, _PREFECT = 8471, 8472, 8473, 8474
_SECONDS = 4.0
_CONNECTIONS = 32
_PATIENCE_SECONDS = 60.0
_SWAPS = 10


def measure(rounds: int) -> list[Figure]:
    """Measure all figures of serving; each round presses echo, plain service and ours one after the other."""
    with tempfile.TemporaryDirectory(prefix="everfit-benchmark-") as name:
        folder = Path(name)
        settings = Settings(home=folder / "home", prefect_port=_PREFECT, service_port=_OURS)
        _say("training the model that is asked")
        train(write_pipeline(folder / "pipeline"), settings)
        registry = open_registry(settings)
        twin = register_twin(registry, settings)
        model_file = write_model_file(registry, folder)
        one, thousand = write_bodies(folder / "pipeline")
        bench = _Serving(registry, settings, one, thousand, twin)
        echo = python("-m", "benchmarks.echo_service", str(_ECHO))
        plain = python("-m", "benchmarks.plain_service", str(_PLAIN), str(model_file))
        with _running(echo, f"http://127.0.0.1:{_ECHO}/"), _running(plain, f"http://127.0.0.1:{_PLAIN}/docs"):
            with _running(_serve(), f"http://127.0.0.1:{_OURS}/readyz", **bench.environment) as process:
                for number in range(rounds):
                    _say(f"round {number + 1} of {rounds}")
                    bench.press_all()
                _say("half of the load")
                bench.press_half()
                _say("a shadow beside it")
                bench.press_with_shadow(rounds)
                _say("swaps under load")
                bench.press_with_swaps(bench.move_champion)
                _say("swaps under load, by the command")
                bench.press_with_swaps(bench.promote_by_command)
                memory = psutil.Process(process.pid).memory_full_info().pss / MEGABYTE
        _say("cold starts")
        starts = [bench.start_cold() for _ in range(rounds)]
        registry.database.close()
    return [*bench.figures(), *_figures_of_starts(starts, memory)]


def _figures_of_starts(starts: list[tuple[float, float]], memory: float) -> list[Figure]:
    return [
        Figure(
            "cold_start_seconds",
            statistics.median(seconds for seconds, _ in starts),
            "s",
            "from the command to the first answered prediction; target 1.5",
        ),
        Figure("memory_mb", statistics.median(each for _, each in starts), "MB", "after the first answer; target 250"),
        Figure("memory_under_load_mb", memory, "MB", "after all of the load above, two versions loaded meanwhile"),
    ]


class _Serving:
    """The three services under load, and what came of it."""

    def __init__(self, registry: Registry, settings: Settings, one: Path, thousand: Path, twin: int) -> None:
        self._registry = registry
        self.environment = {
            "EVERFIT_HOME": str(settings.home),
            "EVERFIT_SERVICE_PORT": str(settings.service_port),
            "EVERFIT_PREFECT_PORT": str(settings.prefect_port),
        }
        self._url = f"http://127.0.0.1:{_OURS}/v1/models/{NAME}/predict"
        self._one, self._thousand, self._twin = one, thousand, twin
        names = ("echo", "bare", "plain", "ours", "plain_1000", "ours_1000")
        self._rps: dict[str, list[float]] = {name: [] for name in names}
        self._half: Load | None = None
        self._shadow: list[tuple[float, float]] = []
        self._swaps: dict[str, list[Load]] = {}
        self._quiet: dict[str, float] = {}

    def press_all(self) -> None:
        """Press each service with one row and with a thousand rows a request."""
        plain = f"http://127.0.0.1:{_PLAIN}/predict"
        asked = [
            ("echo", f"http://127.0.0.1:{_ECHO}/", self._one),
            ("ours", self._url, self._one),
            ("bare", f"http://127.0.0.1:{_ECHO}/bare", self._one),
            ("plain", plain, self._one),
            ("plain_1000", plain, self._thousand),
            ("ours_1000", self._url, self._thousand),
        ]
        for name, url, body in asked:
            load = press(url, body, seconds=_SECONDS, connections=_CONNECTIONS if body == self._one else 4)
            if load.n_failed:
                raise RuntimeError(f"{load.n_failed:,} of {load.n_requests:,} requests to {url} failed")
            self._rps[name].append(load.rps)

    def press_half(self) -> None:
        """Press with about half of what the service can take."""
        self._half = self._press_at_half()

    def press_with_shadow(self, rounds: int) -> None:
        """Press with half of the load, without and with a shadow; twice as often, since a percentile varies most."""
        for _ in range(2 * rounds):
            before = self._press_at_half()
            self._everfit("rollout", "start", NAME, str(self._twin), "--kind", "shadow", "--reason", "measured")
            time.sleep(3)
            self._shadow.append((before.p99_ms, self._press_at_half().p99_ms))
            self._everfit("rollout", "stop", NAME, "--reason", "measured")
            time.sleep(3)

    def press_with_swaps(self, promote: Callable[[int], None]) -> None:
        """Press with half of the load while another version becomes the champion, again and again."""

        def swap() -> None:
            for number in range(_SWAPS):
                time.sleep(1.0)
                promote(self._twin if number % 2 == 0 else 1)

        name = promote.__name__
        self._quiet[name] = statistics.median(self._press_at_half().p99_ms for _ in range(3))
        self._swaps[name] = []
        swapper = threading.Thread(target=swap)
        swapper.start()
        while swapper.is_alive():
            self._swaps[name].append(self._press_at_half())
        swapper.join()

    def move_champion(self, number: int) -> None:
        """Move the champion's alias, as a promotion does once all has been looked at."""
        with self._registry.database.write() as session:
            version = find_version(session, NAME, number)
            alias = find_alias(session, self._registry.environment, NAME, CHAMPION)
            assert version is not None
            assert alias is not None
            promote_version(
                session,
                self._registry.environment,
                version,
                expected_revision=alias.revision,
                actor="benchmark",
                reason="measured",
            )

    def promote_by_command(self, number: int) -> None:
        """Promote by hand, which looks at signature, files and first load before."""
        self._everfit("promote", f"{NAME}@{number}", "--reason", "measured")

    def start_cold(self) -> tuple[float, float]:
        """Start the service, and return the seconds to its first answer and its memory then, in megabytes."""
        began = time.perf_counter()
        with _running(_serve(), None, **self.environment) as process:
            _ask_until_answered(self._url, self._one.read_bytes())
            seconds = time.perf_counter() - began
            return seconds, psutil.Process(process.pid).memory_full_info().pss / MEGABYTE

    def figures(self) -> list[Figure]:
        """Sum up what the load showed."""
        rps = {name: statistics.median(found) for name, found in self._rps.items()}
        assert self._half is not None
        swaps = [load for loads in self._swaps.values() for load in loads]
        return [
            Figure(
                "rps_ratio_to_plain",
                median_ratio(self._rps["ours"], self._rps["plain"]),
                "x",
                f"{rps['ours']:,.0f} beside {rps['plain']:,.0f} requests/s of FastAPI + predict_proba; target 20",
            ),
            Figure(
                "rps_ratio_to_echo",
                median_ratio(self._rps["ours"], self._rps["echo"]),
                "x",
                f"{rps['echo']:,.0f} requests/s of an echo by Starlette on uvicorn, log durable; target 0.3",
            ),
            Figure(
                "rps_ratio_to_bare_server",
                median_ratio(self._rps["ours"], self._rps["bare"]),
                "x",
                f"{rps['bare']:,.0f} requests/s of an echo on uvicorn alone",
            ),
            Figure(
                "rps_ratio_1000_rows",
                median_ratio(self._rps["ours_1000"], self._rps["plain_1000"]),
                "x",
                f"{rps['ours_1000']:,.0f} beside {rps['plain_1000']:,.0f} requests/s of 1,000 rows; target 2",
            ),
            Figure("p99_ms_at_half", self._half.p99_ms, "ms", f"at {self._half.rps:,.0f} requests/s; target below 20"),
            Figure(
                "shadow_p99_ratio",
                median_ratio([shadowed for _, shadowed in self._shadow], [before for before, _ in self._shadow]),
                "x",
                f"{statistics.median(shadowed for _, shadowed in self._shadow):.2f} ms with a shadow; target 1.2",
            ),
            Figure(
                "swap_failed_requests",
                sum(load.n_failed for load in swaps),
                "",
                f"of {sum(load.n_requests for load in swaps):,} requests while the champion moved "
                f"{_SWAPS * len(self._swaps)} times; target 0",
            ),
            self._swap_figure("swap_p99_ratio", self.move_champion, "while the champion moves once a second; target 2"),
            self._swap_figure(
                "swap_p99_ratio_by_command",
                self.promote_by_command,
                "while `everfit promote` computes on the same two cores",
            ),
        ]

    def _swap_figure(self, name: str, promote: Callable[[int], None], told: str) -> Figure:
        quiet, found = self._quiet[promote.__name__], [load.p99_ms for load in self._swaps[promote.__name__]]
        seen = statistics.median(found)
        return Figure(name, seen / quiet, "x", f"{seen:.1f} ms beside {quiet:.1f} ms, {told}")

    def _press_at_half(self) -> Load:
        saturated = statistics.median(self._rps["ours"])
        # Each connection asks once per delay and answer.
        delay = _CONNECTIONS / (saturated / 2) * 1e3 - 1.0
        return press(self._url, self._one, seconds=_SECONDS, connections=_CONNECTIONS, delay_ms=max(delay, 0.5))

    def _everfit(self, *arguments: str) -> None:
        # Whoever gives the order sits elsewhere: on two cores, its own second of computing would be measured here.
        run_timed(["nice", "-n", "19", *everfit(*arguments)], clean_environment(**self.environment))


def _serve() -> list[str]:
    return everfit("serve")


@contextmanager
def _running(command: list[str], url: str | None, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(
        command, env=clean_environment(**variables), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            if url is not None:
                _ask_until_answered(url, None)
            yield process
        finally:
            process.terminate()
            process.wait()


def _ask_until_answered(url: str, body: bytes | None) -> None:
    give_up = time.monotonic() + _PATIENCE_SECONDS
    headers = {"Content-Type": "application/json"}
    while True:
        try:
            with urllib.request.urlopen(urllib.request.Request(url, data=body, headers=headers), timeout=5) as answer:
                json.loads(answer.read() or b"{}") if body is not None else answer.read()
                return
        except OSError as error:
            # The bare echo knows no GET with a body and answers it all the same; others say 503 until they are ready.
            if time.monotonic() > give_up:
                raise RuntimeError(f"{url} did not answer: {error}") from error
            time.sleep(0.02)


def _say(what: str) -> None:
    print(what, file=sys.stderr)
