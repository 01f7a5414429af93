"""The arbiter: whether a trigger starts a training, goes into another one, or is put aside, and why.

A pure function of the trigger, what is so at the moment (:class:`Circumstances`), and what the definition allows. It
never looks at a clock or a registry: a backtest asks it with a clock of its own, and the ledger asks it again.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict

from base.references import Trigger
from base.times import describe_duration
from base.triggers_spec import TriggersSpec

ARBITER_VERSION = 2
LIMITS = frozenset({"timezone", "cooldown", "budget", "quiet_hours", "min_new_labels", "merge_within"})
"""The keys of the definition by which the arbiter rules; the ledger keeps them with each ruling."""

# These bring something that a training which has read its data already cannot have seen. An alarm is raised again
# with the next window, a schedule comes again.
_NEWS: frozenset[Trigger] = frozenset({"person", "webhook", "new_data", "code"})
_NEED_NO_LABELS: frozenset[Trigger] = frozenset({"person", "code"})


class _Noun(BaseModel):
    model_config = ConfigDict(frozen=True)


class Wish(_Noun):
    """A trigger, as far as the arbiter looks at it.

    ``occurred_at`` is when it was asked, ``as_of`` the moment of the data that it speaks of. What is ``exact`` wants
    that moment and no later one; what ``can_follow`` may have a training of its own after the one under way.
    ``blocked`` says why none may come of it, where the sender says so itself: the data are broken.
    """

    kind: Trigger
    reason: str = ""
    occurred_at: datetime
    as_of: datetime | None = None
    priority: int = 0
    is_exact: bool = False
    can_follow: bool = True
    blocked: str = ""

    @property
    def moment(self) -> datetime:
        """Up to when a training must have seen the data, to have answered this."""
        return self.as_of or self.occurred_at


class Training(_Noun):
    """A training that was, or is under way (``ended_at`` is None then)."""

    run: str
    trigger: str
    started_at: datetime
    as_of: datetime | None = None
    ended_at: datetime | None = None

    @property
    def seen(self) -> datetime:
        """Up to when it saw the data."""
        return self.started_at if self.as_of is None else min(self.as_of, self.started_at)


class OpenLaunch(_Noun):
    """The launch that was granted and has not ended."""

    launch: str
    state: Literal["waiting", "sent", "begun"]
    not_before: datetime | None = None


class Spent(_Noun):
    """What trainings have cost in the budget's period, and when the oldest of them leaves it."""

    trainings: int = 0
    compute_seconds: float = 0.0
    frees_at: datetime | None = None


class Circumstances(_Noun):
    """What is so when the arbiter rules; all moments are UTC.

    What one cannot tell is None: ``n_new_labels`` where nobody counts labels, ``spent`` where there is no budget.
    ``causes`` are the pipeline's own runs of which the trigger came.
    """

    now: datetime
    under_way: Training | None = None
    open_launch: OpenLaunch | None = None
    last_training: Training | None = None
    spent: Spent | None = None
    n_new_labels: int | None = None
    causes: tuple[str, ...] = ()


class Ruling(_Noun):
    """What becomes of a trigger.

    *start* a training (at the earliest ``not_before``), *merge* into the launch or run ``into``, or *suppress*.
    ``follows``: a training of its own comes after the one under way. ``displaces``: what waits gives way, and is ruled
    on again afterwards.
    """

    outcome: Literal["start", "merge", "suppress"]
    reason: str
    not_before: datetime | None = None
    into: str | None = None
    follows: bool = False
    displaces: bool = False


def rule(wish: Wish, circumstances: Circumstances, spec: TriggersSpec) -> Ruling:
    """Decide what becomes of a trigger.

    One training at a time: what comes while one waits or is under way goes into it, whoever asks. A person's wish
    passes everything else.

    Examples
    --------
    >>> noon = datetime(2013, 6, 1, 12)
    >>> last = Training(run="r1", trigger="drift", started_at=datetime(2013, 5, 28))
    >>> seen = Circumstances(now=noon, last_training=last)
    >>> rule(Wish(kind="drift", reason="loss +12 %", occurred_at=noon), seen, TriggersSpec(cooldown="14 days")).reason
    'trained as of 2013-05-28 00:00, less than the cooldown of 2 weeks ago'
    >>> rule(Wish(kind="person", occurred_at=noon), seen, TriggersSpec(cooldown="14 days")).outcome
    'start'
    """
    if wish.kind == "missing_data":
        return Ruling(outcome="suppress", reason="no training mends what did not come; the owner is told")
    if wish.blocked:
        return Ruling(outcome="suppress", reason=wish.blocked)
    if circumstances.causes and wish.kind != "person":
        told = f"it came of run {circumstances.causes[0]} itself, and a training must not ask for the next"
        return Ruling(outcome="suppress", reason=told)
    if circumstances.under_way is not None:
        return _rule_beside(wish, circumstances, circumstances.under_way, spec)
    if circumstances.open_launch is not None:
        return _rule_waiting(wish, circumstances.open_launch)
    return _rule_alone(wish, circumstances, spec)


def _rule_beside(wish: Wish, circumstances: Circumstances, under_way: Training, spec: TriggersSpec) -> Ruling:
    """Rule while a training is under way: it is in that one, or a training of its own follows."""
    told = f"run {under_way.run} is under way"
    if not (_is_news(wish, under_way, spec) and wish.can_follow) or under_way.seen >= wish.moment:
        return Ruling(outcome="merge", reason=told, into=under_way.run)
    held = _hold_back(wish, circumstances.model_copy(update={"last_training": under_way}), spec)
    if held and wish.kind != "person":
        return Ruling(outcome="suppress", reason=held[0])
    told = f"{told} and had begun before this was asked: another training follows it"
    not_before = None if wish.kind == "person" else _quiet_until(circumstances.now, spec)
    if circumstances.open_launch is None:
        return Ruling(outcome="start", reason=told, not_before=not_before, follows=True)
    return Ruling(outcome="merge", reason=told, into=under_way.run, not_before=not_before, follows=True)


def _rule_waiting(wish: Wish, launch: OpenLaunch) -> Ruling:
    """Rule while a granted training has not begun: it will have seen this, unless other data are asked for."""
    if wish.is_exact:
        told = f"a person asked for it, with data of their choice; launch {launch.launch} gives way"
        return Ruling(outcome="start", reason=told, displaces=True)
    waits = "was sent and is about to begin" if launch.state == "sent" else "waits to begin"
    if launch.not_before is not None and launch.state == "waiting" and wish.kind != "person":
        waits += f", not before {launch.not_before:%Y-%m-%d %H:%M}"
    return Ruling(outcome="merge", reason=f"launch {launch.launch} {waits}", into=launch.launch)


def _rule_alone(wish: Wish, circumstances: Circumstances, spec: TriggersSpec) -> Ruling:
    last = circumstances.last_training
    if last is not None and not wish.is_exact and last.started_at > wish.occurred_at and last.seen >= wish.moment:
        told = f"run {last.run} began after this was asked, and has answered it"
        return Ruling(outcome="merge", reason=told, into=last.run)
    if last is not None and not wish.is_exact and _was_asked_during(wish, last) and not _is_news(wish, last, spec):
        # As it would have been ruled had it come at once: what a queue delays must not cost a second training.
        told = f"run {last.run} was under way when this was asked"
        return Ruling(outcome="merge", reason=told, into=last.run)
    held = _hold_back(wish, circumstances, spec)
    if wish.kind == "person":
        passed = f"; it passes what would hold others back: {'; '.join(held)}" if held else ""
        return Ruling(outcome="start", reason=f"{wish.reason or 'a person asked for it'}{passed}")
    if held:
        return Ruling(outcome="suppress", reason=held[0])
    not_before = _quiet_until(circumstances.now, spec)
    quiet = "" if not_before is None else f"; quiet hours until {not_before:%Y-%m-%d %H:%M} UTC"
    return Ruling(outcome="start", reason=f"{wish.reason or wish.kind}{quiet}", not_before=not_before)


def _was_asked_during(wish: Wish, training: Training) -> bool:
    ended_at = training.ended_at
    return ended_at is not None and training.started_at <= wish.occurred_at < ended_at


def _is_news(wish: Wish, training: Training, spec: TriggersSpec) -> bool:
    """Tell whether a wish brings what a training that had begun can no longer have seen."""
    return wish.kind in _NEWS and wish.occurred_at - training.started_at > spec.merge_within


def _hold_back(wish: Wish, circumstances: Circumstances, spec: TriggersSpec) -> list[str]:
    """Name all that speaks against a training now, the first thing first; quiet hours only delay one."""
    found = []
    last = circumstances.last_training
    if last is not None and last.seen >= wish.moment:
        found.append(f"trained as of {last.seen:%Y-%m-%d %H:%M}, which is not before what was found")
    elif last is not None and is_cooling(wish.kind, wish.moment, last, spec.cooldown):
        cooldown = describe_duration(spec.cooldown)
        found.append(f"trained as of {last.seen:%Y-%m-%d %H:%M}, less than the cooldown of {cooldown} ago")
    if over := _over_budget(circumstances.spent, spec):
        found.append(over)
    few = circumstances.n_new_labels is not None and circumstances.n_new_labels < spec.min_new_labels
    if few and last is not None and wish.kind not in _NEED_NO_LABELS:
        found.append(
            f"{circumstances.n_new_labels:,} labels have come since the last training, fewer than the "
            f"{spec.min_new_labels:,} of min_new_labels"
        )
    return found


def is_cooling(kind: Trigger, moment: datetime, last: Training, cooldown: timedelta) -> bool:
    """Tell whether the cooldown after a training holds back what is asked at a moment.

    A schedule is not held back by itself: one that comes weekly, under a cooldown of a week, would miss every second
    time by the seconds that a run takes to begin.
    """
    if kind == "schedule" and last.trigger == "schedule":
        return False
    return moment - last.seen < cooldown


def _over_budget(spent: Spent | None, spec: TriggersSpec) -> str | None:
    budget = spec.budget
    if budget is None or spent is None:
        return None
    frees = "" if spent.frees_at is None else f"; there is room again at {spent.frees_at:%Y-%m-%d %H:%M} UTC"
    if budget.trainings is not None and spent.trainings >= budget.trainings:
        return f"the budget of {budget} is spent ({spent.trainings} trainings){frees}"
    if budget.compute is not None and spent.compute_seconds >= budget.compute.total_seconds():
        return f"the budget of {budget} is spent ({spent.compute_seconds:,.0f} seconds of computing){frees}"
    return None


def _quiet_until(now: datetime, spec: TriggersSpec) -> datetime | None:
    return None if spec.quiet_hours is None else spec.quiet_hours.end(now, spec.timezone)
