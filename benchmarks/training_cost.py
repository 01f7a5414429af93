"""What one `everfit train` costs beside the same work in one plain script, and where the rest of its time goes."""

from __future__ import annotations

import json
import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from sqlmodel import select

from base.settings import Settings
from benchmarks.figures import Figure
from benchmarks.measuring import Measured, clean_environment, everfit, measure_peak, median_ratio, python, run_timed
from benchmarks.plain_script import EXAMPLE
from registry.store import open_registry
from registry.tables import Run, StepExecution

_PANDAS = "import pandas, pyarrow.parquet"
_EMPTY_FLOW = f"{_PANDAS}, prefect; prefect.flow(name='empty')(lambda: None)()"
_PLAIN = "the same work in one plain script: pandas, Great Expectations, scikit-learn"
_LIGHTER = "a lighter script: a few lines of pandas validate, not Great Expectations"
_AGREEMENT = 1e-3


@dataclass(frozen=True)
class TrainingTimes:
    """One `everfit train`: the whole process, and within it the steps as the registry recorded them."""

    whole: Measured
    started_at: datetime
    finished_at: datetime
    steps: Mapping[str, float]

    @property
    def own_work(self) -> float:
        """Seconds of the steps' own work."""
        return sum(self.steps.values())

    @property
    def before(self) -> float:
        """Seconds from the process's start to the record of the run: imports, settings, definition, flow run."""
        return self.started_at.timestamp() - self.whole.began

    @property
    def between(self) -> float:
        """Seconds of the run that no step accounts for: Prefect's engine, leases, keys, records."""
        return (self.finished_at - self.started_at).total_seconds() - self.own_work

    @property
    def after(self) -> float:
        """Seconds from the run's record being closed to the process's end."""
        return self.whole.ended - self.finished_at.timestamp()


@dataclass
class TrainingCost:
    """Rounds of the plain script, a lighter one without Great Expectations, and `everfit train`, interleaved."""

    folder: Path
    prefect_api: str
    lighter: list[Measured] = field(default_factory=list)
    plain: list[Measured] = field(default_factory=list)
    pandas: list[Measured] = field(default_factory=list)
    empty_flow: list[Measured] = field(default_factory=list)
    trainings: list[TrainingTimes] = field(default_factory=list)
    peaks: dict[str, float] = field(default_factory=dict)
    cold: list[Measured] = field(default_factory=list)

    def warm_up(self) -> None:
        """Run each once, uncounted, so that files and bytecode are where they will be; see that the work is the same.

        Raises
        ------
        RuntimeError
            If the two models are not equally good.
        """
        script = json.loads(run_timed(self._script(), clean_environment()).output)
        run_timed(self._script("--expectations"), clean_environment())
        trained = json.loads(run_timed(self._train("--json"), self._environment("warm-up")).output)
        for name, expected in script["metrics"].items():
            if abs(trained["metrics"][name] - expected) > _AGREEMENT:
                raise RuntimeError(f"{name} is {trained['metrics'][name]} in Everfit, {expected} in the plain script")

    def run_round(self, number: int) -> None:
        """Run each once."""
        self.lighter.append(run_timed(self._script(), clean_environment()))
        environment = self._environment(f"round-{number}")
        whole = run_timed(self._train(), environment)
        self.trainings.append(_read_times(whole, Path(environment["EVERFIT_HOME"])))
        self.plain.append(run_timed(self._script("--expectations"), clean_environment()))
        self.pandas.append(run_timed(python("-c", _PANDAS), clean_environment()))
        self.empty_flow.append(run_timed(python("-c", _EMPTY_FLOW), environment))

    def measure_memory(self) -> None:
        """Run each once more, looking at its memory."""
        self.peaks["lighter"] = measure_peak(self._script(), clean_environment())
        self.peaks["everfit"] = measure_peak(self._train(), self._environment("memory"))
        self.peaks["plain"] = measure_peak(self._script("--expectations"), clean_environment())

    def measure_cold_start(self, number: int) -> None:
        """Train without a server that is up, in a home that is not there."""
        environment = clean_environment(EVERFIT_HOME=str(self.folder / f"cold-{number}"))
        self.cold.append(run_timed(self._train(), environment))

    def figures(self) -> list[Figure]:
        """Sum the rounds up."""
        ours = [times.whole.seconds for times in self.trainings]
        lighter = [each.seconds for each in self.lighter]
        plain = [each.seconds for each in self.plain]
        pandas = statistics.median(each.seconds for each in self.pandas)
        empty_flow = statistics.median(each.seconds for each in self.empty_flow) - pandas
        own, before, between, after = (
            statistics.median(getattr(times, name) for times in self.trainings)
            for name in ("own_work", "before", "between", "after")
        )
        overhead = statistics.median(times.whole.seconds - times.own_work for times in self.trainings) - pandas
        figures = [
            Figure("wall_ratio_330k", median_ratio(ours, plain), "x", f"{_PLAIN}; target 1.3"),
            Figure("wall_ratio_330k_lighter", median_ratio(ours, lighter), "x", _LIGHTER),
            Figure("everfit_seconds_330k", statistics.median(ours), "s", "itself; a Prefect server is up"),
            Figure("plain_seconds_330k", statistics.median(plain), "s", _PLAIN),
            Figure("lighter_seconds_330k", statistics.median(lighter), "s", _LIGHTER),
            Figure("overhead_seconds", overhead, "s", "whole process - steps' own work - import of pandas; target 2"),
            Figure("prefect_overhead_seconds", empty_flow, "s", "Prefect alone: an empty flow - import of pandas"),
            Figure(
                "overhead_before_seconds", before, "s", f"start to run begun, {pandas:.2f} s of it Python and pandas"
            ),
            Figure("overhead_between_seconds", between, "s", "run begun to run closed, without the steps"),
            Figure("overhead_after_seconds", after, "s", "run closed to the process's end"),
            Figure("own_work_seconds", own, "s", "the steps below; libraries that a step loads are a part of it"),
        ]
        figures += [
            Figure(f"step_{step}_seconds", statistics.median(times.steps[step] for times in self.trainings), "s", "")
            for step in self.trainings[0].steps
        ]
        if self.peaks:
            peaks = self.peaks
            figures += [
                Figure("peak_memory_ratio_330k", peaks["everfit"] / peaks["plain"], "x", f"{_PLAIN}; target 1.5"),
                Figure("peak_memory_ratio_330k_lighter", peaks["everfit"] / peaks["lighter"], "x", _LIGHTER),
                Figure("peak_memory_330k", peaks["everfit"], "MB", f"{peaks['plain']:.0f} MB of {_PLAIN}"),
            ]
        if self.cold:
            cold = statistics.median(each.seconds for each in self.cold)
            figures.append(Figure("cold_start_seconds", cold, "s", "itself, starting and stopping its own server"))
        return figures

    def _script(self, *options: str) -> list[str]:
        return python("-m", "benchmarks.plain_script", str(self.folder / "plain"), *options)

    def _train(self, *options: str) -> list[str]:
        return everfit("train", str(EXAMPLE), *options)

    def _environment(self, home: str) -> dict[str, str]:
        """Give a training an empty registry of its own, so that it has nothing to reuse."""
        folder = self.folder / home
        # A registry is made once in its life; making it is a part of the cold start.
        open_registry(Settings(home=folder, database_url=None)).database.close()
        return clean_environment(EVERFIT_HOME=str(folder), PREFECT_API_URL=self.prefect_api)


def _read_times(whole: Measured, home: Path) -> TrainingTimes:
    database = open_registry(Settings(home=home, database_url=None)).database
    with database.read() as session:
        run = session.exec(select(Run)).one()
        steps = {step.step: step.seconds for step in session.exec(select(StepExecution))}
    database.close()
    if run.finished_at is None:
        raise RuntimeError(f"run {run.id} was not closed")
    return TrainingTimes(whole, run.started_at, run.finished_at, steps)
