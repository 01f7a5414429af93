"""Experiments: every candidate and every raced window of a run, for people to look at later."""

from __future__ import annotations

import math
from dataclasses import dataclass

from sqlmodel import Session, col, select

from base.candidates import Candidate, Candidates, RacedWindow, WindowChoice
from base.documents import as_document, as_text
from base.train_spec import TrainingWindow
from registry.runs import list_steps
from registry.tables import Experiment, StepExecution


@dataclass(frozen=True)
class FailedFits:
    """The candidates of a training of which every one failed."""

    candidates: tuple[Candidate, ...]
    seed: int
    chosen: int | None = None
    window: WindowChoice | None = None


def record_experiments(session: Session, *, run_id: str, pipeline: str, fitted: Candidates | FailedFits) -> None:
    """Write down what a run has fitted; a run that is recorded already is left as it is."""
    if session.exec(select(Experiment.id).where(Experiment.run_id == run_id).limit(1)).first() is not None:
        return
    choice = fitted.window
    window = TrainingWindow() if choice is None else choice.window
    rows = [
        _from_candidate(candidate, window, is_chosen=number == fitted.chosen)
        for number, candidate in enumerate(fitted.candidates)
    ]
    if choice is not None and not choice.is_held and fitted.chosen is not None:
        chosen = fitted.candidates[fitted.chosen]
        rows += [_from_raced(raced, chosen, is_chosen=raced.window == window) for raced in choice.raced]
    for number, row in enumerate(rows, start=1):
        row.run_id, row.pipeline, row.number, row.seed = run_id, pipeline, number, fitted.seed
        session.add(row)
    session.flush()


def list_experiments(
    session: Session, *, pipeline: str | None = None, run_id: str | None = None, limit: int = 1_000
) -> list[Experiment]:
    """List experiments, the newest run first, and within a run the best first: candidates, then windows.

    Candidates that came further (all rows, more folds) come before those that did not; what failed comes last.
    """
    query = select(Experiment).order_by(col(Experiment.id).desc()).limit(limit)
    if pipeline is not None:
        query = query.where(Experiment.pipeline == pipeline)
    if run_id is not None:
        query = query.where(Experiment.run_id == run_id)
    found = list(session.exec(query))
    runs = {experiment.run_id: number for number, experiment in reversed(list(enumerate(found)))}
    return sorted(found, key=lambda each: (runs[each.run_id], *_rank(each)))


def find_origin(session: Session, run_id: str) -> str:
    """Return the run whose experiments a run's model came out of: its own, or the one whose fits it reused."""
    for step in reversed(list_steps(session, run_id)):
        if step.step == "train":
            origin = None if step.reused_from is None else session.get(StepExecution, step.reused_from)
            return run_id if origin is None else origin.run_id
    return run_id


def _rank(experiment: Experiment) -> tuple[object, ...]:
    document = experiment.document
    return (
        experiment.kind != "candidate",
        experiment.error is not None,
        not experiment.is_chosen,
        -float(document.get("share", 1.0)),
        -len(document.get("fold_losses", ())),
        math.inf if experiment.loss is None else experiment.loss,
        experiment.number,
    )


def _from_candidate(candidate: Candidate, window: TrainingWindow, *, is_chosen: bool) -> Experiment:
    return Experiment(
        run_id="",
        pipeline="",
        number=0,
        seed=0,
        kind="candidate",
        estimator=candidate.estimator,
        parameters=as_document(candidate.parameters),
        window=str(window) if is_chosen else "",
        loss=_finite(candidate.validation_loss),
        document=as_document(candidate.model_dump(mode="json")),
        n_rows=candidate.n_rows,
        seconds=candidate.fit_seconds,
        error=None if candidate.error is None else as_text(candidate.error),
        is_chosen=is_chosen,
    )


def _from_raced(raced: RacedWindow, chosen: Candidate, *, is_chosen: bool) -> Experiment:
    return Experiment(
        run_id="",
        pipeline="",
        number=0,
        seed=0,
        kind="window",
        estimator=chosen.estimator,
        parameters=as_document(chosen.parameters),
        window=str(raced.window),
        loss=_finite(raced.loss),
        document=as_document(raced.model_dump(mode="json")),
        n_rows=raced.n_rows,
        seconds=raced.seconds,
        error=None if raced.error is None else as_text(raced.error),
        is_chosen=is_chosen,
    )


def _finite(loss: float | None) -> float | None:
    return None if loss is None or not math.isfinite(loss) else loss
