"""What is so when the arbiter rules in a backtest: the same nouns as live, from what a walk remembers."""

from __future__ import annotations

from datetime import datetime

import pandas as pd

from base.triggers_spec import TriggersSpec
from monitoring.arbiter import Circumstances, OpenLaunch, Spent, Training, Wish
from monitoring.circumstances import add_up
from tasks.backtest.history import History
from tasks.backtest.walk_state import WalkState

_LAUNCH = "waiting"


def find_circumstances(
    state: WalkState, history: History, wish: Wish, now: datetime, spec: TriggersSpec
) -> Circumstances:
    """Say what is so for a policy at a moment of its walk, as :mod:`monitoring.circumstances` looks it up."""
    waiting = state.waiting
    trained = [done.training for done in state.done if done.counts]
    launch = None
    if waiting is not None:
        launch = OpenLaunch(launch=_LAUNCH, state="waiting", not_before=waiting.not_before)
    return Circumstances(
        now=now,
        open_launch=launch,
        last_training=trained[-1] if trained and launch is None else None,
        spent=_add_up(state, wish.moment, spec) if launch is None else None,
        n_new_labels=_count_labels(history, wish.moment, trained, spec),
    )


def _add_up(state: WalkState, moment: datetime, spec: TriggersSpec) -> Spent | None:
    budget = spec.budget
    if budget is None:
        return None
    since = moment - budget.period
    recent = [done for done in state.done if done.verdict != "unchanged" and done.training.seen > since]
    recent.sort(key=lambda done: done.training.seen)
    return add_up([done.training for done in recent], {done.training.run: done.seconds for done in recent}, budget)


def _count_labels(history: History, moment: datetime, trained: list[Training], spec: TriggersSpec) -> int | None:
    if spec.min_new_labels == 0 or not trained:
        return None
    observed = history.event_times + pd.Timedelta(history.delay)
    return int(((observed > trained[-1].seen) & (observed <= moment)).sum())
