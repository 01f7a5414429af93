"""The course of a backtest: its jobs are handed out, taken back, and put together."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from tasks.backtest.comparison import Walked
from tasks.backtest.history import HistoryDocument
from tasks.backtest.jobs import Job, JobResult, Place, read_state
from tasks.backtest.oracle import Schedule, cut_stretches, foresee
from tasks.backtest.policies import EVERY_WINDOW, Policy
from tasks.backtest.request import BacktestProgress
from tasks.backtest.result import ReplayedTraining
from tasks.backtest.walk_state import WalkState
from tasks.backtest.workers import Future, Workers

Progress = Callable[[BacktestProgress], None]

_STRETCH = 5
"""Windows of one job: after so many a walk is kept, and another policy has its turn."""

_HINDSIGHT_MODELS = 10


@dataclass
class Course:
    """The jobs of one backtest on their way.

    Parameters
    ----------
    price : float
        Of a training, in windows of full loss.
    deadline : float, optional
        By the monotonic clock; after it no job is handed out.
    """

    place: Place
    document: HistoryDocument
    price: float
    workers: Workers
    progress: Progress
    deadline: float | None
    started: float
    trainings: dict[str, tuple[ReplayedTraining, ...]] = field(default_factory=dict)
    n_fits: int = 0
    n_reused: int = 0
    fit_seconds: float = 0.0

    @property
    def n_windows(self) -> int:
        return len(self.document.spans)

    def walk(self, policies: Sequence[Policy]) -> bool:
        """Let all policies walk, a stretch at a time; False where the budget ended before they were through."""
        ordered = sorted(policies, key=lambda policy: policy.name != EVERY_WINDOW)
        waiting = deque((policy, self._walked(policy)) for policy in ordered)
        total = self.n_windows * len(policies)
        before = sum(done for _, done in waiting)
        done, begun = before, time.monotonic()
        out: list[tuple[Policy, int, int, Future]] = []
        is_through = True
        while waiting or out:
            while waiting and len(out) < 2 * self.place.settings.fit_workers:
                policy, walked = waiting.popleft()
                if walked >= self.n_windows:
                    continue
                if self._is_late():
                    is_through = False
                    continue
                until = min(walked + _STRETCH, self.n_windows)
                future = self.workers.submit(self.place, self._job("walk", policy, until=until))
                out.append((policy, walked, until, future))
            if not out:
                break
            first = self.workers.first([future for _, _, _, future in out])
            policy, walked, until, future = out.pop(next(at for at, one in enumerate(out) if one[3] is first))
            self._take(future)
            done += until - walked
            left = (time.monotonic() - begun) / max(1, done - before) * (total - done)
            self.progress(BacktestProgress(done, total, policy.name, left))
            # The longest walk first, and the others fill what it leaves free; where the time may end, each in turn.
            goes_first = policy.name == EVERY_WINDOW and self.deadline is None
            (waiting.appendleft if goes_first else waiting.append)((policy, until))
        return is_through

    def account(self, policies: Sequence[Policy]) -> bool:
        """Say of all policies what their trainings brought; False where the budget does not reach for it."""
        if self._is_late():
            return False
        self.progress(BacktestProgress(1, 1, "what each training brought"))
        futures = [(policy, self.workers.submit(self.place, self._job("account", policy))) for policy in policies]
        for policy, future in futures:
            self.trainings[policy.name] = self._take(future).trainings
        return True

    def look_back(self, policies: Sequence[Policy]) -> Schedule | None:
        """Find the cheapest schedule in hindsight, of the models that training after every window has given."""
        always = next(policy for policy in policies if policy.name == EVERY_WINDOW)
        state = read_state(self.place, self._job("walk", always))
        if state is None or self._is_late():
            return None
        self.progress(BacktestProgress(1, 1, "the cheapest schedule in hindsight"))
        n_models = len(state.reigns)
        jobs = [
            self._job("hindsight", always, first=first, last=min(first + _HINDSIGHT_MODELS, n_models))
            for first in range(0, n_models, _HINDSIGHT_MODELS)
        ]
        futures = [self.workers.submit(self.place, job) for job in jobs]
        losses = np.array([row for future in futures for row in self._take(future).losses])
        stretches = cut_stretches(self.document.spans, [reign.since for reign in state.reigns])
        starts = [span[0] for _, span in stretches]
        available = [
            next((index for index, start in enumerate(starts) if start >= reign.since), len(starts))
            for reign in state.reigns
        ]
        found = foresee(losses, available, self.price)
        windows = {done.number: done.window for done in state.done}
        return Schedule(tuple(windows[state.reigns[model].number] for model in found.chosen), found.cost)

    def walked(self, policy: Policy) -> Walked:
        """Return what a policy's walk has come to."""
        state = read_state(self.place, self._job("walk", policy))
        trainings = self.trainings.get(policy.name)
        if trainings is None:
            trainings = () if state is None else _untold(state, self.price)
        return Walked(
            policy=policy,
            section=policy.section(self.place.pipeline, price=self.price),
            windows=() if state is None else state.windows,
            trainings=trainings,
            is_complete=self._walked(policy) >= self.n_windows,
        )

    def _walked(self, policy: Policy) -> int:
        state = read_state(self.place, self._job("walk", policy))
        return 0 if state is None else state.n_windows

    def _job(self, kind: Literal["walk", "account", "hindsight"], policy: Policy, **more: int) -> Job:
        return Job(kind=kind, policy=policy, price=self.price, **more)

    def _take(self, future: Future) -> JobResult:
        result = future.result()
        self.n_fits += result.n_fits
        self.n_reused += result.n_reused
        self.fit_seconds += result.fit_seconds
        return result

    def _is_late(self) -> bool:
        return self.deadline is not None and time.monotonic() > self.deadline


def _untold(state: WalkState, price: float) -> tuple[ReplayedTraining, ...]:
    """List trainings of which it has not been told what they brought."""
    return tuple(
        ReplayedTraining(
            window=done.window,
            at=done.training.started_at,
            trigger=done.training.trigger,
            promoted=done.promoted,
            verdict=done.verdict,
            gain=0.0,
            price=price,
            seconds=done.seconds,
        )
        for done in state.done[1:]
        if done.verdict != "unchanged"
    )
