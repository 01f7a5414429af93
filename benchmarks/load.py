"""Load on a service by wrk: requests a second, latencies, and what was not answered with 200."""

from __future__ import annotations

import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from benchmarks.measuring import clean_environment

# Prints what the summary rounds; latencies are in microseconds.
_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local file = io.open("{body}", "rb")
wrk.body = file:read("*a")
file:close()
{delay}
done = function(summary, latency, requests)
  local failed = summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout
  io.write(string.format("FOUND %d %d %d %.1f %.1f %d\\n", summary.requests, summary.duration, summary.errors.status,
    latency:percentile(50.0), latency:percentile(99.0), failed))
end
"""


@dataclass(frozen=True)
class Load:
    """What came of some seconds of load; latencies in milliseconds."""

    n_requests: int
    rps: float
    n_refused: int
    n_broken: int
    p50_ms: float
    p99_ms: float

    @property
    def n_failed(self) -> int:
        """Requests without the answer that they asked for."""
        return self.n_refused + self.n_broken


def press(url: str, body: Path, *, seconds: float, connections: int = 32, delay_ms: float = 0.0) -> Load:
    """Ask *url* again and again over some connections, each after its last answer and *delay_ms* more.

    Raises
    ------
    RuntimeError
        If wrk is not installed, or nothing was answered.
    """
    if shutil.which("wrk") is None:
        raise RuntimeError("the benchmark of serving needs wrk; on Debian: apt-get install wrk")
    delay = f"function delay() return {delay_ms:.3f} end" if delay_ms else ""
    script = body.with_suffix(".lua")
    script.write_text(_SCRIPT.format(body=body, delay=delay), encoding="utf-8")
    done = subprocess.run(
        ["wrk", "-t1", "--timeout", "30s", f"-c{connections}", f"-d{max(1, round(seconds))}s", "-s", str(script), url],
        env=clean_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"FOUND (\d+) (\d+) (\d+) (\S+) (\S+) (\d+)", done.stdout)
    if found is None or not int(found[1]):
        raise RuntimeError(f"wrk got no answer from {url}:\n{done.stdout}{done.stderr}")
    n_requests, micros, n_refused = (int(found[place]) for place in (1, 2, 3))
    return Load(
        n_requests,
        n_requests / (micros / 1e6),
        n_refused,
        int(found[6]),
        float(found[4]) / 1e3,
        float(found[5]) / 1e3,
    )
