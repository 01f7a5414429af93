"""What the arbiter has to know, looked up in the registry: the run under way, what was granted, what was spent."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from base.times import as_utc, parse_moment
from base.triggers_spec import TrainingBudget, TriggersSpec
from monitoring.arbiter import Circumstances, OpenLaunch, Spent, Training
from registry.launches import BEGUN
from registry.runs import is_alive
from registry.situations import Situation
from registry.tables import Launch, Run, StepExecution
from registry.triggers import find_causes

TRAINED = ("promoted", "kept", "waiting")
"""How a run ended that has trained; one that was refused, failed or found nothing new has answered nothing."""

# Clocks of two machines are never quite the same. A run that began later than this from now was dated by a clock
# that was wrong, and must not hold trainings back until then.
_CLOCK_TOLERANCE = timedelta(minutes=5)
_NEWEST_RUNS = 1_000


def find_circumstances(
    session: Session,
    pipeline: str,
    *,
    situation: Situation,
    now: datetime,
    spec: TriggersSpec,
    moment: datetime | None = None,
    caused_by: str | None = None,
    n_new_labels: int | None = None,
) -> Circumstances:
    """Look up what is so for a pipeline at *now*.

    Parameters
    ----------
    situation : Situation
        The pipeline's open launch and run, as :func:`registry.situations.find_situation` finds them.
    moment : datetime, optional
        Up to when a training would see the data; the budget's period ends there. Default: now.
    caused_by : str, optional
        What the trigger came of: a run, a flow run, a launch or another trigger.
    """
    now = as_utc(now)
    launch, run = situation.launch, situation.run
    if run is not None and not is_alive(run, now):
        run = None  # its process died: it holds nothing up, and the next training resumes or closes it
    open_launch = None if launch is None or _is_dead(launch, run) else _as_open(launch)
    causes = find_causes(session, pipeline, caused_by) if caused_by else []
    # What goes into another training costs nothing, and what that was last is of no account: a storm is spared both.
    is_alone = run is None and open_launch is None
    has_price = spec.budget is not None and (run is not None or open_launch is None)
    return Circumstances(
        now=now,
        under_way=None if run is None else as_training(run),
        open_launch=open_launch,
        last_training=find_last_training(session, pipeline, now=now) if is_alone else None,
        spent=find_spent(session, pipeline, spec.budget, at=moment or now, now=now)
        if has_price and spec.budget is not None
        else None,
        n_new_labels=n_new_labels,
        causes=tuple(causes),
    )


def find_last_training(session: Session, pipeline: str, *, now: datetime) -> Training | None:
    """Return the newest training that came to its end."""
    query = select(Run).where(
        Run.pipeline == pipeline, col(Run.status).in_(TRAINED), col(Run.started_at) <= now + _CLOCK_TOLERANCE
    )
    run = session.exec(query.order_by(col(Run.started_at).desc()).limit(1)).first()
    return None if run is None else as_training(run)


def find_spent(session: Session, pipeline: str, budget: TrainingBudget, *, at: datetime, now: datetime) -> Spent:
    """Add up what the trainings of the budget's period before *at* have cost, whatever became of them.

    A training counts at the moment up to which it saw the data. One that found nothing new has cost nothing worth
    counting; an execution of a step that was reused has cost nothing at all.
    """
    since = at - budget.period
    recent = (
        select(Run)
        .where(
            Run.pipeline == pipeline,
            Run.status != "unchanged",
            col(Run.started_at) > since,
            col(Run.started_at) <= now + _CLOCK_TOLERANCE,
        )
        .order_by(col(Run.started_at).desc())
        .limit(_NEWEST_RUNS)
    )
    runs = sorted(
        (training for run in session.exec(recent) if (training := as_training(run)).seen > since),
        key=lambda training: training.seen,
    )
    seconds = dict.fromkeys((training.run for training in runs), 0.0)
    if budget.compute is not None and runs:
        costs = (
            select(StepExecution.run_id, func.sum(StepExecution.seconds))
            .where(col(StepExecution.run_id).in_(list(seconds)), col(StepExecution.reused_from).is_(None))
            .group_by(StepExecution.run_id)
        )
        seconds |= {run: float(cost) for run, cost in session.exec(costs)}
    return add_up(runs, seconds, budget)


def add_up(trainings: list[Training], seconds: dict[str, float], budget: TrainingBudget) -> Spent:
    """Add up what trainings of one period, oldest first, have cost; *seconds* are by run."""
    return Spent(
        trainings=len(trainings),
        compute_seconds=sum(seconds.values()),
        frees_at=_find_room(trainings, seconds, budget),
    )


def as_training(run: Run) -> Training:
    """A run, as far as the arbiter looks at it."""
    as_of = run.parameters.get("as_of")
    return Training(
        run=run.id,
        trigger=run.trigger,
        started_at=run.started_at,
        as_of=parse_moment(as_of) if as_of else None,
        ended_at=run.finished_at,
    )


def _find_room(runs: list[Training], seconds: dict[str, float], budget: TrainingBudget) -> datetime | None:
    """Say when enough of the trainings, oldest first, have left the period; None where there is room now."""
    n_left, compute_left = len(runs), sum(seconds.values())
    frees_at = None
    for training in runs:
        has_room = n_left < budget.trainings if budget.trainings is not None else False
        if budget.compute is not None:
            has_room = compute_left < budget.compute.total_seconds()
        if has_room:
            break
        n_left, compute_left = n_left - 1, compute_left - seconds[training.run]
        frees_at = training.seen + budget.period
    return frees_at


def _is_dead(launch: Launch, run: Run | None) -> bool:
    """Tell whether a launch was begun by a run that no longer lives."""
    return launch.state == BEGUN and (run is None or run.id != launch.run_id)


def _as_open(launch: Launch) -> OpenLaunch:
    return OpenLaunch(
        launch=launch.id,
        state=launch.state,
        not_before=launch.not_before,
    )
