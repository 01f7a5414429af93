"""How soon the small commands answer, beside the least that such a process must import."""

from __future__ import annotations

import statistics
from pathlib import Path

from benchmarks.figures import Figure
from benchmarks.measuring import clean_environment, everfit, python, run_timed

_COMMANDS = {
    "help": everfit("--help"),
    "python": python("-c", "pass"),
    "versions": everfit("versions"),
    "sqlmodel": python("-c", "import sqlmodel"),
}
_RUNS_PER_ROUND = 3


class Answering:
    """Rounds of `everfit --help` and `everfit versions`, each beside its floor."""

    def __init__(self, home: Path) -> None:
        self._environment = clean_environment(EVERFIT_HOME=str(home))
        self.seconds: dict[str, list[float]] = {name: [] for name in _COMMANDS}

    def run_round(self) -> None:
        """Run each command a few times, in turn."""
        for _ in range(_RUNS_PER_ROUND):
            for name, command in _COMMANDS.items():
                self.seconds[name].append(run_timed(command, self._environment).seconds)

    def figures(self) -> list[Figure]:
        """Sum the rounds up."""
        median = {name: statistics.median(seconds) for name, seconds in self.seconds.items()}
        return [
            Figure("help_seconds", median["help"], "s", f"{median['python']:.2f} s of `python -c pass`; target 0.3"),
            Figure(
                "versions_seconds",
                median["versions"],
                "s",
                f"{median['sqlmodel']:.2f} s of `python -c 'import sqlmodel'`; target 1",
            ),
        ]
