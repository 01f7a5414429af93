"""The arbiter's rule as it was first, version 1: decisions of its day are decided again by it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from base.times import describe_duration


@dataclass(frozen=True)
class Circumstances:
    """What the arbiter looks at beside the alarm itself; all moments are UTC."""

    now: datetime
    under_way: str | None
    last_training: datetime | None
    cooldown: timedelta


@dataclass(frozen=True)
class Ruling:
    """What becomes of an alarm: *start* a training, *merge* into the one under way, *suppress*, or *none* needed."""

    outcome: Literal["start", "merge", "suppress", "none"]
    reason: str


def rule(alarm: str | None, circumstances: Circumstances) -> Ruling:
    """Decide what becomes of an alarm; a pure function of what it is given.

    A training that has seen what calls for one is enough: the same alarm again asks for nothing.

    Parameters
    ----------
    alarm : str or None
        What calls for a training, in words; None when nothing does.

    Examples
    --------
    >>> noon = datetime(2013, 6, 1, 12)
    >>> rule("loss +12 %", Circumstances(noon, None, datetime(2013, 5, 28), timedelta(days=14))).outcome
    'suppress'
    """
    if alarm is None:
        return Ruling("none", "nothing calls for a training")
    if circumstances.under_way is not None:
        return Ruling("merge", f"run {circumstances.under_way} is under way")
    last, cooldown = circumstances.last_training, circumstances.cooldown
    if last is not None and last >= circumstances.now:
        return Ruling("suppress", f"trained as of {last:%Y-%m-%d %H:%M}, which is not before what was found")
    if last is not None and circumstances.now - last < cooldown:
        return Ruling(
            "suppress",
            f"trained as of {last:%Y-%m-%d %H:%M}, less than the cooldown of {describe_duration(cooldown)} ago",
        )
    return Ruling("start", alarm)
