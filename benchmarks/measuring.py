"""Run a command and measure it: seconds by the wall, peak memory of it and of all that it starts."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

_SAMPLE_SECONDS = 0.02
_MOST_SECONDS = 300.0
MEGABYTE = 1 << 20


@dataclass(frozen=True)
class Measured:
    """One run of a command: when it began (seconds since 1970), how long it took, and what it said."""

    began: float
    seconds: float
    output: str

    @property
    def ended(self) -> float:
        """When it ended, in seconds since 1970."""
        return self.began + self.seconds


def clean_environment(**variables: str) -> dict[str, str]:
    """Return this process's environment without settings of Everfit or Prefect, and with *variables*.

    One thread for all: a ratio of runs whose threads disturb one another would say little. Bytecode may be written, as
    an installation does: no start is measured together with the compilation of its sources.
    """
    dropped = ("EVERFIT_", "PREFECT_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    threads = {"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE", "DO_NOT_TRACK": "1"}
    return {**kept, **threads, **variables}


def everfit(*arguments: str) -> list[str]:
    """Write a command of Everfit as it is installed beside this Python."""
    return [str(Path(sys.executable).with_name("everfit")), *arguments]


def python(*arguments: str) -> list[str]:
    """Write a command of this Python."""
    return [sys.executable, "-P", *arguments]


def run_timed(
    command: Sequence[str], environment: Mapping[str, str], *, most_seconds: float = _MOST_SECONDS
) -> Measured:
    """Run a command to its end, and time it.

    Raises
    ------
    RuntimeError
        If it fails, with what it said.
    """
    began, clock = time.time(), time.perf_counter()
    done = subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=most_seconds, check=False
    )
    seconds = time.perf_counter() - clock
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with code {done.returncode}:\n{done.stdout}{done.stderr}")
    return Measured(began, seconds, done.stdout)


def measure_peak(command: Sequence[str], environment: Mapping[str, str]) -> float:
    """Run a command and return the peak of its memory, children included, in megabytes.

    The sum over the process tree of the proportional set size, in which a page that several processes share is
    counted once, looked at fifty times a second. Looking takes time of its own, so what is timed is another run.

    Raises
    ------
    RuntimeError
        If it fails.
    """
    peak = 0
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        root = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, sum(_proportional_bytes(each) for each in _tree(root)))
            time.sleep(_SAMPLE_SECONDS)
    if process.returncode != 0:
        raise RuntimeError(f"{' '.join(command)} ended with code {process.returncode}")
    return peak / MEGABYTE


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the ratios of runs that followed one another: a busy minute slows both.

    Examples
    --------
    >>> median_ratio([2.0, 20.0, 3.0], [1.0, 10.0, 1.0])
    2.0
    """
    return statistics.median(our / their for our, their in zip(ours, theirs, strict=True))


def _tree(root: psutil.Process) -> list[int]:
    try:
        return [root.pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _proportional_bytes(pid: int) -> int:
    # psutil adds up the map of each library; the kernel's own sum costs a tenth of that.
    try:
        rollup = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0
    return next((int(line.split()[1]) << 10 for line in rollup.splitlines() if line.startswith("Pss:")), 0)
