"""Alarms, the state that they keep from window to window, and what is said of one window."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from monitoring.alarms.loss_bets import NO_FORTUNES

AlarmKind = Literal["drift", "prediction drift", "label drift", "performance", "missing labels", "broken data"]
LABEL_KINDS: tuple[AlarmKind, ...] = ("label drift", "performance", "missing labels")
"""What the look at a window's labels can find; all other kinds are found in its traffic."""

Severity = Literal["low", "medium", "high"]


class Alarm(BaseModel):
    """Something that a window shows beyond chance and custom; ``is_new`` where it was not open already.

    ``p_adjusted`` is the chance that a quiet window shows it in any column; of the loss, what the bettors' fortune
    allows at most. ``evidence`` holds a line of figures for each column.
    """

    model_config = ConfigDict(frozen=True)

    kind: AlarmKind
    columns: tuple[str, ...] = ()
    severity: Severity
    reason: str
    evidence: dict[str, Any] = {}
    p_adjusted: float
    is_new: bool = True


class OpenAlarm(BaseModel):
    """An alarm that was raised and is not over: the next window that shows the same raises no second one."""

    model_config = ConfigDict(frozen=True)

    kind: AlarmKind
    columns: tuple[str, ...]
    since: datetime
    last_seen: datetime
    n_clear: int = 0


class Mute(BaseModel):
    """A column, or a whole kind of alarm, that raises none until a moment, or until the mute is lifted."""

    model_config = ConfigDict(frozen=True)

    column: str | None = None
    kind: str | None = None
    until: datetime | None = None

    def covers(self, kind: str, column: str | None, now: datetime) -> bool:
        """Tell whether an alarm of this kind in this column is muted.

        Examples
        --------
        >>> Mute(column="age").covers("drift", "age", datetime(2026, 1, 1))
        True
        """
        if self.until is not None and now >= self.until:
            return False
        return self.kind in (None, kind) and self.column in (None, column)


class LookMemory(BaseModel):
    """What one of the two looks remembers from one window to the next.

    ``shown`` says for each measure in which of the last windows it stood out, newest last. Both begin anew with another
    version of the model.
    """

    model_config = ConfigDict(frozen=True)

    version: int | None = None
    shown: dict[str, tuple[bool, ...]] = {}
    open: tuple[OpenAlarm, ...] = ()

    def of_version(self, version: int | None) -> LookMemory:
        """The memory as it is for a version: another model has another reference and another loss."""
        return self if version == self.version else LookMemory(version=version)


class AlarmState(BaseModel):
    """What alarms remember from one window to the next; of one model.

    The looks at traffic and at labels have a memory of their own each, since the traffic of many windows may be seen
    before the labels of the first. ``fortunes`` are those of :mod:`monitoring.alarms.loss_bets`, on the version of the
    labels. ``strictness`` is by how many powers of ten the level of the columns is stricter than the budget says; see
    :func:`monitoring.alarms.budget.adapt`.
    """

    model_config = ConfigDict(frozen=True)

    traffic: LookMemory = LookMemory()
    labels: LookMemory = LookMemory()
    fortunes: tuple[float, ...] = NO_FORTUNES
    strictness: float = 0.0


class Standout(BaseModel):
    """A measure that stands out in a window, whether or not enough windows confirm it."""

    model_config = ConfigDict(frozen=True)

    name: str
    column: str | None
    aspect: str
    kind: AlarmKind
    effect: float
    p_adjusted: float
    text: str
    is_confirmed: bool
    is_muted: bool = False


class Judgement(BaseModel):
    """What is said of one window.

    ``closed`` are alarms that are over with it; ``values`` is what the quiet history keeps of it if it is quiet;
    ``n_features`` says how many features were compared, ``is_learning`` that too few quiet windows came before it to
    know what is usual. ``level`` is the chance of a false alarm in a column that the budget leaves one window, and
    ``charged`` by how much such an alarm in this window made the next ones' level stricter, in powers of ten.
    """

    model_config = ConfigDict(frozen=True)

    alarms: tuple[Alarm, ...] = ()
    standouts: tuple[Standout, ...] = ()
    closed: tuple[OpenAlarm, ...] = ()
    values: dict[str, float] = {}
    n_features: int = 0
    is_learning: bool = False
    level: float = 0.0
    charged: float = 0.0
    state: AlarmState = AlarmState()

    def find(self, kind: AlarmKind) -> Alarm | None:
        """The alarm of one kind, if there is one."""
        return next((alarm for alarm in self.alarms if alarm.kind == kind), None)

    def followed_by(self, later: Judgement) -> Judgement:
        """What both looks at a window say of it: this one's at its traffic, and the later one's at its labels."""
        return self.model_copy(
            update={
                "alarms": (*self.alarms, *later.alarms),
                "standouts": (*self.standouts, *later.standouts),
                "closed": (*self.closed, *later.closed),
                "values": {**self.values, **later.values},
                "state": later.state,
            }
        )
