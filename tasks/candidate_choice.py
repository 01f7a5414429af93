"""Choose among candidates: compared on newer rows, raced over windows, and the best of them fitted last."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from base.artifacts import Artifact, ArtifactStore
from base.candidates import Candidate, Candidates, PastRace, Recipe, WindowChoice
from base.errors import DefinitionError, RunFailed
from base.metrics import Task
from base.model_files.stored import store_model
from base.references import TrainingData
from base.train_spec import EstimatorSpec, SearchSpec, TrainingWindow, TrainSpec
from tasks.entrant import Entrant
from tasks.estimators import DEFAULT_ESTIMATORS, build_estimator
from tasks.fit_jobs import FitJob, FitResult, Ground, run_job
from tasks.fits import select_window
from tasks.folds import Fold, Timeline, make_folds, store_folds
from tasks.prepared_rows import TARGET, load_prepared, load_trial
from tasks.search import RunJobs, enter_candidates, plan_size, search
from tasks.windows import Race, cut_after, describe_window, hold_race, race_windows

_log = logging.getLogger(__name__)
# Rows by which a fit is known to answer with numbers at all.
_ROWS_LOOKED_AT = 1_000
# The last fit has more rows than a fold's; one that takes ten times the whole comparison will not end.
_PATIENCE = 10


class NothingFitted(RunFailed):
    """Every candidate failed; ``candidates`` say why."""

    def __init__(self, message: str, candidates: Sequence[Candidate]) -> None:
        super().__init__(message)
        self.candidates = tuple(candidates)


@dataclass(frozen=True)
class Workshop:
    """Where fits are done when they are many, or may have to be ended.

    Attributes
    ----------
    parallel : function of Ground
        Gives a context whose value does jobs.
    alone : function of FitJob and Ground
        Does one job in a process that is ended when it takes too long.
    """

    parallel: Callable[[Ground], AbstractContextManager[RunJobs]]
    alone: Callable[[FitJob, Ground], FitResult]


@dataclass(frozen=True)
class Comparison:
    """All that a choice among candidates needs: :meth:`run` compares them, races windows, and fits the best last."""

    data: TrainingData
    spec: TrainSpec
    artifacts: ArtifactStore
    task: Task
    threads: int
    timeline: Timeline
    champion: Recipe | None
    workshop: Workshop | None
    past: PastRace | None = None

    def run(self) -> Candidates:
        """Choose, and fit the choice on its window of the rows before ``validation.stop``."""
        specs = self.spec.estimators or (DEFAULT_ESTIMATORS[self.task],)
        frame = load_prepared(self.data, self.artifacts)
        for estimator in specs:
            # A wrong name or parameter is told before anything is fitted, not after an hour.
            build_estimator(estimator, self.data, frame[TARGET].to_numpy()[: self.data.train.stop], seed=self.spec.seed)
        is_chosen = len(specs) > 1 or self.spec.is_search
        needs_trial = self.data.trial is not None and (is_chosen or self.spec.window is None)
        # What is compared on the validation part may have learnt nothing from it, its features neither.
        trial = load_trial(self.data, self.artifacts) if needs_trial else frame
        candidates, folds = self._compare(specs, trial) if is_chosen else ([_declared(specs[0])], "")
        # The race is run with what has been chosen: another estimator may want another past.
        window = self._choose_window(candidates[_best(candidates)], trial)
        model = None
        while model is None:
            chosen = _best(candidates)
            model, candidates[chosen] = self._fit_last(candidates[chosen], window.window, frame)
        kept = self._last_rows(window.window)
        return Candidates(
            candidates=tuple(candidates),
            chosen=chosen,
            model=model if isinstance(model, Artifact) else store_model(model, self.artifacts),
            seed=self.spec.seed,
            window=window.model_copy(update={"n_rows": len(kept)}),
            folds=folds,
        )

    def _compare(self, specs: Sequence[EstimatorSpec], frame: Any) -> tuple[list[Candidate], str]:
        rules = self.spec.search or SearchSpec()
        n_folds = rules.folds if self.spec.is_search else 1
        folds = make_folds(self.data, self.timeline, n_folds, window=self.spec.window)
        n_rows = len(folds[-1].learnt)
        if self.spec.is_search:
            known = self.champion is not None and any(one.estimator == self.champion.estimator for one in specs)
            size = plan_size(rules, len(folds), n_rows, n_protected=len(specs) + known)
            entrants = enter_candidates(specs, size, seed=self.spec.seed, champion=self.champion)
            if any(one.search for one in specs) and not any(entrant.origin == "drawn" for entrant in entrants):
                _log.warning(
                    "train.search.fits: %s fits are enough for the declared parameters alone; nothing is drawn from "
                    "the search space, give it more",
                    rules.fits,
                )
        else:
            entrants = [Entrant(one.estimator, one.parameters) for one in specs]
            rules = rules.model_copy(update={"fits": len(specs)})
        with self._jobs(folds, frame) as run:
            until = None if rules.seconds is None else time.time() + rules.seconds
            search(
                entrants,
                rules,
                run,
                n_folds=len(folds),
                n_rows=n_rows,
                until=until,
                fit_seconds=self.spec.fit_seconds,
            )
        told = self._describe_folds(folds, entrants)
        if all(entrant.is_spent for entrant in entrants):
            # A budget too small to compare anything is no reason to have no model.
            entrants[0].error = None
            told += f"; the budget was spent before anything was compared: {entrants[0].estimator} is taken as it is"
        return [entrant.candidate() for entrant in entrants], told

    def _jobs(self, folds: Sequence[Fold], frame: Any) -> AbstractContextManager[RunJobs]:
        """Do jobs in the workshop where there is something to gain by it, else here."""
        if self.workshop is not None and (self.spec.is_search or self.spec.fit_seconds is not None):
            return self.workshop.parallel(self._ground(folds))
        ground = self._ground(())
        return nullcontext(lambda jobs: [run_job(job, ground, frame, folds[job.fold])[0] for job in jobs])

    def _ground(self, folds: Sequence[Fold]) -> Ground:
        stored = store_folds(list(folds), self.artifacts) if folds else self.data.artifact
        return Ground(data=self.data, task=self.task, seed=self.spec.seed, threads=self.threads, folds=stored)

    def _choose_window(self, candidate: Candidate, frame: Any) -> WindowChoice:
        if self.spec.window is not None:
            return WindowChoice(
                window=self.spec.window, reason=f"{describe_window(self.spec.window)}, as the definition says"
            )
        spec = EstimatorSpec(estimator=candidate.estimator, parameters=candidate.parameters)
        fold, past = make_folds(self.data, self.timeline, 1)[-1], self.past
        if past is not None and not past.is_of(spec.estimator, spec.parameters, self.data.features):
            past = None
        if past is not None:
            fold = cut_after(past, fold, self.timeline)
            held = hold_race(past, fold, self.timeline)
            if held is not None:
                return held
        race = Race(spec=spec, ground=self._ground(()), frame=frame, fold=fold, timeline=self.timeline)
        champion = None if self.champion is None else self.champion.window
        # A window that was raced once may have been chosen by few rows: without a race it would never grow again.
        return race_windows(race, champion=champion, has_few=past is not None)

    def _last_rows(self, window: TrainingWindow) -> Any:
        stop = self.data.validation.stop
        return select_window(window, stop, self.timeline.moments)

    def _fit_last(self, candidate: Candidate, window: TrainingWindow, frame: Any) -> tuple[Any | None, Candidate]:
        fold = Fold(
            self._last_rows(window),
            np.arange(self.data.validation.start, self.data.validation.stop)[:_ROWS_LOOKED_AT],
        )
        job = FitJob(
            estimator=candidate.estimator,
            parameters=candidate.parameters,
            fold=0,
            seconds=self._patience(candidate),
            is_last=True,
        )
        model: Any
        if job.seconds is not None and self.workshop is not None:
            result = self.workshop.alone(job, self._ground([fold]))
            model = result.model
        else:
            result, model = run_job(job, self._ground(()), frame, fold)
        if result.wrong_definition and candidate.origin == "declared":
            raise DefinitionError(result.error or "", key="train.estimators")
        update = {
            "error": result.error,
            "fit_seconds": candidate.fit_seconds + result.seconds,
            "n_fits": candidate.n_fits + 1,
            "n_rows": len(fold.learnt),
        }
        return model if result.error is None else None, candidate.model_copy(update=update)

    def _patience(self, candidate: Candidate) -> float | None:
        """Tell how long the last fit may take: where there is a budget, ten times that."""
        if self.spec.fit_seconds is not None:
            return self.spec.fit_seconds
        if self.spec.search is None or self.spec.search.seconds is None:
            return None
        return _PATIENCE * max(self.spec.search.seconds, candidate.fit_seconds)

    def _describe_folds(self, folds: Sequence[Fold], entrants: Sequence[Entrant]) -> str:
        sizes = ", ".join(f"{len(fold.learnt):,} → {len(fold.judged):,}" for fold in folds)
        why = ""
        if self.spec.is_search and self.data.trial is not None:
            why = "; one alone, since fitted features have learnt from the train part"
        n_fits = sum(entrant.n_fits for entrant in entrants)
        return f"{len(entrants)} candidates, {n_fits} fits, {len(folds)} folds (rows learnt → judged: {sizes}){why}"


def _declared(spec: EstimatorSpec) -> Candidate:
    return Candidate(estimator=spec.estimator, parameters=spec.parameters)


def _best(candidates: Sequence[Candidate]) -> int:
    """Return the candidate of the least loss among those that came furthest."""
    alive = [index for index, candidate in enumerate(candidates) if candidate.error is None]
    if not alive:
        reasons = "; ".join(dict.fromkeys(f"{candidate.estimator}: {candidate.error}" for candidate in candidates))
        raise NothingFitted(
            f"no estimator could be fitted ({reasons}); the champion stays, mend what is said or take "
            "another estimator",
            candidates,
        )
    furthest = max((candidates[index].share, len(candidates[index].fold_losses)) for index in alive)
    equals = [index for index in alive if (candidates[index].share, len(candidates[index].fold_losses)) == furthest]
    losses = [candidates[index].validation_loss for index in equals]
    return equals[int(np.argmin([np.inf if loss is None else loss for loss in losses]))]
