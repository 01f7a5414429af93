"""The trainings of a pipeline as its registry remembers them: what asked, how it ended, what it cost."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

from sqlalchemy import func
from sqlmodel import Session, col, select

from base.triggers_spec import TriggersSpec
from monitoring.pnl.accounts import CostedTraining
from monitoring.policies.prices import estimate_price
from registry.tables import Launch, ModelVersion, Run, StepExecution, TriggerRow

_TRAIN = "train"


def read_trainings(
    session: Session, pipeline: str, *, spec: TriggersSpec, seconds_of_window: float, since: datetime | None = None
) -> list[CostedTraining]:
    """Read the trainings that began since a moment, the oldest first.

    A training that fitted nothing (it found nothing new, its data were refused, or it took every fit over from an
    earlier run) has no price, as it uses up none of a budget's trainings. Any other has the declared one; with ``auto``
    that of its own computing time.
    """
    query = select(Run).where(Run.pipeline == pipeline).order_by(col(Run.started_at), col(Run.id))
    runs = list(session.exec(query if since is None else query.where(col(Run.started_at) >= since)))
    seconds, fitted = _read_costs(session, pipeline)
    versions = dict(
        session.exec(select(ModelVersion.run_id, ModelVersion.number).where(ModelVersion.model == pipeline)).all()
    )
    merged = _count_merged(session, pipeline)
    return [
        CostedTraining(
            run=run.id,
            at=run.started_at,
            trigger=run.trigger,
            status=run.status,
            price=_price(spec, seconds.get(run.id, 0.0), seconds_of_window) if run.id in fitted else 0.0,
            seconds=seconds.get(run.id, 0.0),
            version=versions.get(run.id),
            reason=str(run.parameters.get("reason") or ""),
            n_merged=merged[run.id],
        )
        for run in runs
    ]


def _price(spec: TriggersSpec, seconds: float, seconds_of_window: float) -> float:
    if spec.price != "auto":
        return float(spec.price)
    return estimate_price([seconds], seconds_of_batch=seconds_of_window)


def _read_costs(session: Session, pipeline: str) -> tuple[dict[str, float], set[str]]:
    """Add up the seconds of the executed steps of each run, and name the runs that fitted something."""
    executed: Any = (
        select(StepExecution.run_id, StepExecution.step, func.sum(StepExecution.seconds))
        .where(StepExecution.pipeline == pipeline, col(StepExecution.reused_from).is_(None))
        .group_by(col(StepExecution.run_id), col(StepExecution.step))
    )
    seconds: defaultdict[str, float] = defaultdict(float)
    fitted = set()
    for run, step, cost in session.exec(executed):
        seconds[run] += float(cost)
        if step == _TRAIN:
            fitted.add(run)
    return dict(seconds), fitted


def _count_merged(session: Session, pipeline: str) -> Counter[str]:
    """Count the wishes that went into each run beside the one that it is named after."""
    wishes = (
        select(Launch.run_id)
        .join(TriggerRow, col(TriggerRow.launch) == col(Launch.id))
        .where(Launch.pipeline == pipeline, col(Launch.run_id).is_not(None), TriggerRow.id != Launch.trigger)
    )
    return Counter(run for run in session.exec(wishes) if run is not None)
