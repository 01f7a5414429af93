"""The nouns of an account: trainings with a price, reigns held against the version before, their worth."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from base.references import Reference
from monitoring.pnl.gains import Block, Gain

Klass = Literal[
    "paid off",
    "perhaps paid off",
    "brought less than it cost",
    "changed nothing",
    "did harm",
    "too early to tell",
    "cannot be told",
]
"""What a training was worth; the last two are not counted."""

KLASSES: tuple[Klass, ...] = (
    "paid off",
    "perhaps paid off",
    "brought less than it cost",
    "changed nothing",
    "did harm",
    "too early to tell",
    "cannot be told",
)


@dataclass(frozen=True)
class CostedTraining:
    """A training with its price in windows of full loss.

    ``trigger`` is the kind of what asked for it, ``status`` how its run ended (``promoted``, ``kept``, ``refused``,
    ``unchanged``, ``failed``, ``waiting``, ``running``), ``version`` what it registered. ``n_merged`` more wishes
    went into it.
    """

    run: str
    at: datetime
    trigger: str
    status: str
    price: float
    seconds: float = 0.0
    version: int | None = None
    reason: str = ""
    n_merged: int = 0


@dataclass(frozen=True)
class ComparedReign:
    """A time in which a version was champion, with its rows held against the version before.

    ``previous`` is the champion before, None for the first; after a rollback it is the version that was left.
    ``until`` is None while the version serves. Of the ``n_rows`` matured and labelled rows ``n_compared`` were
    compared, and ``n_answered`` of these had to be answered again by the version before. ``n_pending`` windows have
    not matured, the last one of which will at ``matures_at``. ``trouble`` says why nothing can be compared.
    """

    version: int
    previous: int | None
    since: datetime
    until: datetime | None = None
    kind: Literal["promotion", "rollback"] = "promotion"
    reason: str = ""
    blocks: tuple[Block, ...] = ()
    n_rows: int = 0
    n_compared: int = 0
    n_answered: int = 0
    n_pending: int = 0
    matures_at: datetime | None = None
    trouble: str = ""


class Rollback(Reference):
    """A champion that was left for an earlier version, and what that has spared: the loss that it would have added.

    ``prevented`` counts until the next move, over the rows that the earlier version has answered instead.
    """

    at: datetime
    left: int
    returned_to: int
    reason: str
    prevented: Gain | None
    why: str = ""


class AssessedTraining(Reference):
    """What one training cost, brought and was worth; ``net`` is None where nothing can be told yet, or ever.

    ``is_open``: its version serves on, or labels are still to come, and the figures are those so far.
    """

    run: str
    at: datetime
    trigger: str
    reason: str
    status: str
    version: int | None
    previous: int | None
    seconds: float
    price: float
    gain: Gain | None
    net: float | None
    klass: Klass
    why: str
    is_open: bool = False
    matures_at: datetime | None = None
    n_rows: int = 0
    n_compared: int = 0
    n_answered: int = 0
    n_merged: int = 0
    rolled_back: Rollback | None = None


class Totals(Reference):
    """Sums over the trainings of which something can be told; the price of the others is ``spent_uncounted``."""

    n_trainings: int
    n_counted: int
    gained: float
    low: float
    high: float
    spent: float
    net: float
    spent_uncounted: float
    seconds: float
    classes: dict[Klass, int]


class ProfitAndLoss(Reference):
    """The account of a pipeline, the oldest training first; in windows of full loss."""

    trainings: tuple[AssessedTraining, ...]
    totals: Totals
    by_trigger: dict[str, Totals]
    rollbacks: tuple[Rollback, ...]
    prevented: float

    @property
    def headline(self) -> str:
        """The account in a sentence."""
        totals = self.totals
        if not totals.n_trainings:
            return "no training yet"
        others = [f"{totals.classes[klass]} {klass}" for klass in KLASSES if klass in totals.classes]
        others = [told for told in others if not told.endswith("changed nothing")]
        noun = "training" if totals.n_trainings == 1 else "trainings"
        first = f"{totals.classes.get('changed nothing', 0)} of {totals.n_trainings} {noun} changed nothing"
        return "; ".join([first, ", ".join(others)]) if others else first
