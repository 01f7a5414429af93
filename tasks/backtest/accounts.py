"""What a policy's trainings brought against what they cost, on the rows that their versions served."""

from __future__ import annotations

import numpy as np

from base.artifacts import ArtifactStore
from monitoring.cutting import Span
from monitoring.pnl import Block, ComparedReign, CostedTraining, ProfitAndLoss, assess, make_blocks
from tasks.backtest.answers import Answers
from tasks.backtest.history import History
from tasks.backtest.result import ReplayedTraining
from tasks.backtest.walk_state import Reign, WalkState

_STATUS = {"failed": "failed", "unchanged": "unchanged"}


def account(
    state: WalkState, history: History, answers: Answers, artifacts: ArtifactStore, *, price: float
) -> ProfitAndLoss:
    """Let the version before each promoted one answer the same rows, and add up what that would have lost more.

    Only windows that the walk has looked at count. The first champion is nobody's choice, and is left out.
    """
    n_looked = sum(window.n_labelled > 0 for window in state.windows)
    spans = history.spans[:n_looked]
    stop = spans[-1][1] if spans else history.spans[0][0]
    compared = []
    for before, reign, successor in zip(state.reigns, state.reigns[1:], [*state.reigns[2:], None], strict=False):
        until = stop if successor is None else min(stop, successor.since)
        blocks = _compare(before, reign, (reign.since, until), spans, history, answers, artifacts)
        compared.append(
            ComparedReign(version=reign.number, previous=before.number, since=reign.since, until=until, blocks=blocks)
        )
    trainings = [
        CostedTraining(
            run=done.training.run,
            at=done.training.started_at,
            trigger=done.training.trigger,
            status=_STATUS.get(done.verdict, "promoted" if done.promoted else "kept"),
            price=price,
            seconds=done.seconds,
            version=done.number,
            reason=done.reason,
        )
        for done in state.done[1:]
        if done.verdict != "unchanged"
    ]
    return assess(trainings, compared)


def describe_trainings(state: WalkState, told: ProfitAndLoss) -> tuple[ReplayedTraining, ...]:
    """Say of each training what it brought, as the result tells it."""
    by_run = {done.training.run: done for done in state.done}
    return tuple(
        ReplayedTraining(
            window=by_run[one.run].window,
            at=one.at,
            trigger=by_run[one.run].training.trigger,
            promoted=by_run[one.run].promoted,
            verdict=by_run[one.run].verdict,
            gain=0.0 if one.gain is None else one.gain.value,
            low=None if one.gain is None else one.gain.low,
            high=None if one.gain is None else one.gain.high,
            price=one.price,
            seconds=one.seconds,
            klass=one.klass,
        )
        for one in told.trainings
    )


def _compare(
    before: Reign,
    reign: Reign,
    served: Span,
    spans: tuple[Span, ...],
    history: History,
    answers: Answers,
    artifacts: ArtifactStore,
) -> tuple[Block, ...]:
    gaps, windows, shares = [], [], {}
    for number, (start, stop) in enumerate(spans):
        part = (max(start, served[0]), min(stop, served[1]))
        if part[0] >= part[1]:
            continue
        rows, whole = history.slice_of(part), history.slice_of((start, stop))
        if rows.start == rows.stop:
            continue
        old = answers.losses(before.load(artifacts), rows).units
        new = answers.losses(reign.load(artifacts), rows).units
        gaps.append(old - new)
        windows.append(np.full(len(old), number))
        shares[number] = len(old) / (whole.stop - whole.start)
    if not gaps:
        return ()
    return make_blocks(np.concatenate(gaps), np.concatenate(windows), shares)
