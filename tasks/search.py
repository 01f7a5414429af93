"""Search: candidates drawn from declared spaces, compared over folds in time within a budget."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from base.candidates import Recipe
from base.errors import DefinitionError
from base.train_spec import EstimatorSpec, Range, SearchSpec
from tasks.entrant import Entrant
from tasks.fit_jobs import FitJob, FitResult, full_iterations, iterations_parameter

RunJobs = Callable[[Sequence[FitJob]], list[FitResult]]
"""Does jobs, in whatever order and wherever; the results are in the order of the jobs."""

OUT_OF_FITS = "the budget of fits was spent before it was fitted"
_REDUCTION = 3
# A rung on fewer rows or iterations than these says little about the next one.
_FEWEST_RUNG_ROWS = 500
_FEWEST_RUNG_ITERATIONS = 10
_MOST_DRAWS_EACH = 20


def enter_candidates(
    estimators: Sequence[EstimatorSpec], n_candidates: int, *, seed: int, champion: Recipe | None = None
) -> list[Entrant]:
    """List whom a search compares: each estimator as declared, the champion's recipe, then draws in turn.

    The champion's recipe is among them where its estimator is declared still; whatever else, a search does not
    lose what it had. Nothing is drawn twice, and equal seeds draw the same.

    Parameters
    ----------
    n_candidates : int
        How many are wanted; those that are not drawn are always among them.
    """
    entrants: list[Entrant] = []
    seen: list[tuple[str, dict[str, Any]]] = []

    def enter(estimator: str, parameters: dict[str, Any], origin: Literal["declared", "drawn", "champion"]) -> None:
        if (estimator, parameters) not in seen:
            seen.append((estimator, parameters))
            entrants.append(Entrant(estimator, parameters, origin))

    if champion is not None and champion.estimator in {spec.estimator for spec in estimators}:
        enter(champion.estimator, champion.parameters, "champion")
    for spec in estimators:
        enter(spec.estimator, spec.parameters, "declared")
    draw = np.random.default_rng(seed)
    spaces = [spec for spec in estimators if spec.search]
    attempts = 0
    while spaces and len(entrants) < n_candidates and attempts < _MOST_DRAWS_EACH * n_candidates:
        spec = spaces[attempts % len(spaces)]
        enter(spec.estimator, spec.parameters | draw_parameters(spec, draw), "drawn")
        attempts += 1
    return entrants


def draw_parameters(spec: EstimatorSpec, draw: np.random.Generator) -> dict[str, Any]:
    """Draw a value of each parameter of a search space.

    Examples
    --------
    >>> spec = EstimatorSpec(estimator="a.B", search={"depth": Range(low=2, high=4, int=True), "loss": ["l1", "l2"]})
    >>> drawn = draw_parameters(spec, np.random.default_rng(0))
    >>> drawn["depth"] in (2, 3, 4), drawn["loss"] in ("l1", "l2")
    (True, True)
    """
    return {name: _draw(space, draw) for name, space in spec.search.items()}


def search(
    entrants: Sequence[Entrant],
    spec: SearchSpec,
    run: RunJobs,
    *,
    n_folds: int,
    n_rows: int,
    until: float | None = None,
    fit_seconds: float | None = None,
) -> None:
    """Compare candidates by their mean loss over the folds; what they reached is written down with each.

    ``random`` fits each on every fold. ``halving`` (successive halving; Jamieson and Talwalkar 2016) gives all of
    them a ninth of the rows, the newest, or of their iterations; the better third goes on with three times as
    much, to the end. The champion's recipe and the best of each estimator always go on, since what is best with
    little need not be with all. Each is fitted on the newest fold first; the older ones are for those that did
    not fail there, the best first. So a search that is ended by its budget has the best so far.

    Parameters
    ----------
    n_rows : int
        That the newest fold learns from.
    until : float, optional
        The moment, in seconds since 1970, at which it ends.
    fit_seconds : float, optional
        Most seconds of one fit.

    Raises
    ------
    DefinitionError
        If an estimator refuses what was declared for it.
    """
    shares = rungs(spec, n_rows) if spec.method == "halving" else [1.0]
    alive, left = list(entrants), spec.fits
    for share in shares:
        affordable = max(1, left // n_folds)
        for late in alive[affordable:]:
            late.spend(OUT_OF_FITS)
        alive = alive[:affordable]
        rung = _Rung(spec, run, share, until, fit_seconds)
        left -= rung.fit(alive, [n_folds - 1])
        alive = sorted(_unfailed(alive), key=_loss)
        left -= rung.fit(alive, list(range(n_folds - 1)))
        alive = _survivors(_unfailed(alive))
        if not alive or left < n_folds or (until is not None and time.time() >= until):
            return


def plan_size(spec: SearchSpec, n_folds: int, n_rows: int, *, n_protected: int = 1) -> int:
    """Tell how many candidates a budget of fits is enough for; *n_protected* of them reach the last rung.

    Examples
    --------
    >>> plan_size(SearchSpec(fits=60), 3, 10_000), plan_size(SearchSpec(method="halving", fits=60), 3, 10_000)
    (20, 13)
    """
    n_rungs = len(rungs(spec, n_rows)) if spec.method == "halving" else 1
    size = 1
    while _n_contests(size + 1, n_rungs, n_protected) * n_folds <= spec.fits:
        size += 1
    return size


def rungs(spec: SearchSpec, n_rows: int) -> list[float]:
    """List the shares of rows or iterations that halving gives, the last one everything.

    Examples
    --------
    >>> [round(share, 3) for share in rungs(SearchSpec(method="halving"), 10_000)]
    [0.111, 0.333, 1.0]
    >>> rungs(SearchSpec(method="halving"), 1_000)
    [1.0]
    """
    fewest = _FEWEST_RUNG_ROWS if spec.resource == "rows" else 0
    shares = [1.0 / _REDUCTION**power for power in (2, 1, 0)]
    return [share for share in shares if share == 1.0 or n_rows * share >= fewest]


@dataclass(frozen=True)
class _Rung:
    """One round of a search: everybody gets the same share of rows or iterations."""

    spec: SearchSpec
    run: RunJobs
    share: float
    until: float | None
    fit_seconds: float | None

    def fit(self, entrants: Sequence[Entrant], folds: Sequence[int]) -> int:
        """Fit each entrant on each of the folds, and return how many fits that was."""
        jobs = [self._job(entrant, fold) for entrant in entrants for fold in folds]
        results = self.run(jobs) if jobs else []
        for number, entrant in enumerate(entrants):
            self._take(entrant, results[number * len(folds) : (number + 1) * len(folds)])
        return len(jobs)

    def _job(self, entrant: Entrant, fold: int) -> FitJob:
        iterations = None
        if self.spec.resource == "iterations" and self.share < 1 and iterations_parameter(entrant.spec) is not None:
            iterations = max(_FEWEST_RUNG_ITERATIONS, round(full_iterations(entrant.spec) * self.share))
        return FitJob(
            estimator=entrant.estimator,
            parameters=entrant.parameters,
            fold=fold,
            share=self.share if self.spec.resource == "rows" else 1.0,
            iterations=iterations,
            until=self.until,
            seconds=self.fit_seconds,
            with_curve=self.share == 1.0,
        )

    def _take(self, entrant: Entrant, results: Sequence[FitResult]) -> None:
        entrant.n_fits += sum(result.n_rows > 0 or result.seconds > 0 for result in results)
        entrant.seconds += sum(result.seconds for result in results)
        for result in results:
            if result.wrong_definition and entrant.origin == "declared":
                raise DefinitionError(result.error or "", key="train.estimators")
            if result.error is not None:
                if result.ran_out:
                    entrant.spend(result.error)
                else:
                    entrant.error = result.error
                return
        if not results:
            return
        # The older folds come before the newest, which was fitted first.
        entrant.results = [*results, *entrant.results] if entrant.share == self.share else list(results)
        entrant.share = self.share
        if entrant.loss is not None:
            entrant.rungs = [each for each in entrant.rungs if each[0] != self.share] + [(self.share, entrant.loss)]


def _unfailed(entrants: Sequence[Entrant]) -> list[Entrant]:
    return [entrant for entrant in entrants if entrant.error is None]


def _loss(entrant: Entrant) -> float:
    return math.inf if entrant.loss is None else entrant.loss


def _survivors(entrants: Sequence[Entrant]) -> list[Entrant]:
    ranked = sorted(entrants, key=_loss)
    best_of_each = {entrant.estimator: entrant for entrant in reversed(ranked)}
    return [
        entrant
        for rank, entrant in enumerate(ranked)
        if rank < math.ceil(len(ranked) / _REDUCTION)
        or entrant.origin == "champion"
        or best_of_each[entrant.estimator] is entrant
    ]


def _n_contests(size: int, n_rungs: int, n_protected: int) -> int:
    contests = 0
    for _ in range(n_rungs):
        contests += size
        size = min(size, math.ceil(size / _REDUCTION) + n_protected - 1)
    return contests


def _draw(space: Range | tuple[Any, ...], draw: np.random.Generator) -> Any:
    if isinstance(space, tuple):
        return space[int(draw.integers(len(space)))]
    low, high = (space.low - 0.5, space.high + 0.5) if space.int else (space.low, space.high)
    if space.log:
        low = max(low, math.nextafter(0, 1))
        value = math.exp(draw.uniform(math.log(low), math.log(high)))
    else:
        value = float(draw.uniform(low, high))
    return (
        min(int(space.high), max(int(space.low), round(value))) if space.int else min(space.high, max(space.low, value))
    )
