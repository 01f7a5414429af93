"""What a backtest found: for each policy what it did window by window, what that brought, and what it cost."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from pydantic import Field

from base.references import Reference, Trigger

PolicyKind = Literal["own", "shipped", "comparison"]
"""The pipeline's own policy; one that the section `triggers` can say; one that is shown for comparison only."""


class ReplayedWindow(Reference):
    """One window under one policy.

    Losses are means over the window's labelled rows in units of full loss (:mod:`monitoring.policies.loss_units`);
    ``metric`` is the pipeline's own loss (log loss, squared error …) on the same rows. ``version`` served at the
    window's end; ``learnt_until`` is the moment up to which it had learnt. ``asked``, ``ruling``, ``verdict``: what the
    check of the window asked for, what the arbiter said, and what the gate said of the training, None where nothing
    came of it. ``skipped`` says why a window was not judged.
    """

    number: int
    start: datetime
    stop: datetime
    n_rows: int
    n_labelled: int = 0
    version: int | None = None
    learnt_until: datetime | None = None
    loss: float | None = None
    low: float | None = None
    high: float | None = None
    metric: float | None = None
    outcome: str = ""
    asked: Trigger | None = None
    ruling: Literal["start", "merge", "suppress"] | None = None
    verdict: Literal["first", "better", "worse", "cannot tell", "refused", "unchanged", "failed"] | None = None
    promoted: bool = False
    reason: str = ""
    alarms: tuple[str, ...] = ()
    train_seconds: float = 0.0
    skipped: str = ""


class ReplayedTraining(Reference):
    """One training under one policy: what it brought against what it cost, both in windows of full loss.

    ``gain`` is the loss of the version before it minus its own, summed over the windows that it served until the next
    promotion, with an interval; a refused one brought nothing. ``klass`` as :mod:`monitoring.pnl` names it.
    """

    window: int
    at: datetime
    trigger: Trigger
    promoted: bool
    verdict: str
    gain: float
    low: float | None = None
    high: float | None = None
    price: float
    seconds: float
    klass: str = ""


class PolicyResult(Reference):
    """What one policy did over the history.

    Attributes
    ----------
    name, tells : str
        A short name, and the policy in a sentence.
    section : dict
        The keys of the definition that say it (``triggers``, and ``train.window`` where it sets one), as YAML is
        written; empty for one that is for comparison only.
    loss : float
        Mean loss over all judged windows, in units of full loss.
    excess, low, high : float
        That loss minus the one of "every window", with a paired block interval; 0 for "every window" itself.
    cost : float
        Sum of losses over the windows + price x trainings, in windows of full loss.
    costs : dict
        The same by price, written as a number.
    gain_kept : float, optional
        Share of what "every window" gained over "never" that this policy kept; None where there was nothing to gain.
    n_in_vain : int
        Trainings that were refused, or whose model was no better than the one before it: false alarms.
    delay : float, optional
        Mean number of windows from when the cheapest schedule in hindsight trains to when this policy does.
    ratio_to_oracle : float, optional
        Cost over that of the cheapest schedule in hindsight.
    """

    name: str
    kind: PolicyKind
    tells: str
    section: dict[str, Any] = Field({})
    windows: tuple[ReplayedWindow, ...] = ()
    trainings: tuple[ReplayedTraining, ...] = ()
    n_windows: int = 0
    loss: float = 0.0
    metric: float | None = None
    excess: float = 0.0
    low: float | None = None
    high: float | None = None
    n_trainings: int = 0
    n_promoted: int = 0
    n_refused: int = 0
    n_failed: int = 0
    n_in_vain: int = 0
    train_seconds: float = 0.0
    cost: float = 0.0
    costs: dict[str, float] = Field({})
    gain_kept: float | None = None
    delay: float | None = None
    ratio_to_oracle: float | None = None
    is_on_front: bool = False
    is_complete: bool = True


class BacktestResult(Reference):
    """A backtest whole: policies side by side, and which one to take.

    ``policies`` are in the order of their cost, the cheapest first. ``oracle`` is the cheapest schedule in hindsight,
    which nobody can follow. ``notes`` tell what was skipped or is not as the live pipeline would have it.
    ``is_complete`` is False where the budget ended before every policy had walked the whole history.
    """

    pipeline: str
    definition: str
    start: datetime
    stop: datetime
    window: str
    label_delay: timedelta
    task: str
    unit: str
    metric_name: str
    price: float
    price_tells: str
    n_rows: int
    n_windows: int
    n_judged: int
    policies: tuple[PolicyResult, ...]
    oracle_cost: float | None = None
    oracle_trainings: tuple[int, ...] = ()
    recommended: str
    why: str
    yaml: str
    notes: tuple[str, ...] = ()
    n_fits: int = 0
    n_fits_reused: int = 0
    seconds: float = 0.0
    fit_seconds: float = Field(0.0, ge=0)
    is_complete: bool = True

    def find(self, name: str) -> PolicyResult:
        """Return a policy by its name.

        Raises
        ------
        KeyError
            If there is none of that name.
        """
        for policy in self.policies:
            if policy.name == name:
                return policy
        raise KeyError(name)
