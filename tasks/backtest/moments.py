"""The moments at which something happens in a walk: a window is over, its labels have matured, the schedule comes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from base.errors import ArgumentError
from base.pipeline import Pipeline
from base.schedules import next_moment
from monitoring.cutting import Span
from tasks.backtest.history import History

_MOST_SCHEDULED = 20_000


@dataclass(frozen=True)
class Moment:
    """One step of a walk; a scheduled one belongs to the window whose labels mature next."""

    at: datetime
    kind: Literal["traffic", "labels", "schedule"]
    window: int
    span: Span


_ORDER = {"labels": 0, "traffic": 1, "schedule": 2}


def list_moments(history: History, pipeline: Pipeline, *, looks: bool) -> tuple[Moment, ...]:
    """List the steps of a walk in the order of time; at one moment, labels come first and the schedule last.

    Parameters
    ----------
    looks : bool
        Whether the traffic of windows is looked at before their labels have matured.

    Raises
    ------
    ArgumentError
        If the schedule comes too often for the history.
    """
    labels = [Moment(span[1] + history.delay, "labels", number, span) for number, span in enumerate(history.spans)]
    moments = [*labels, *_schedule(labels, pipeline, history.spans[0][0])]
    if looks and history.delay:
        moments += [Moment(span[1], "traffic", number, span) for number, span in enumerate(history.spans)]
    return tuple(sorted(moments, key=lambda moment: (moment.at, _ORDER[moment.kind], moment.window)))


def _schedule(labels: Sequence[Moment], pipeline: Pipeline, start: datetime) -> list[Moment]:
    schedule, zone = pipeline.spec.triggers.schedule, pipeline.spec.triggers.timezone
    if schedule is None:
        return []
    moments: list[Moment] = []
    at = next_moment(schedule, zone, start)
    for look in labels:
        while at is not None and at < look.at:
            moments.append(Moment(at, "schedule", look.window, look.span))
            at = next_moment(schedule, zone, at)
            if len(moments) > _MOST_SCHEDULED:
                raise ArgumentError(
                    f"the schedule {schedule!r} comes more than {_MOST_SCHEDULED:,} times in the history; "
                    "name a shorter stretch (--from, --to)"
                )
    return moments
