"""The training window: how much of the past a model learns from, raced on the newest rows that none has seen."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd

from base.candidates import PastRace, RacedWindow, WindowChoice
from base.errors import DefinitionError
from base.metrics import row_losses
from base.train_spec import RACED_PARTS, EstimatorSpec, TrainingWindow
from tasks.fit_jobs import Ground, judge_rows, limit_iterations
from tasks.fits import Moments, describe_failure, fit_rows, select_window
from tasks.folds import Fold, Positions, Timeline, cut_fold
from tasks.kept_fits import ask_fit, name_question

EXPANDING = TrainingWindow()

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
# A probe is the recipe itself, on thinned rows where there are many: a much weaker one (a fifth of the rows, 30 trees)
# learns the level of the newest rows and nothing of the seasons before, and prefers short windows for it.
_MOST_PROBE_ROWS = 20_000
_PROBE_ITERATIONS = 200
_MOST_JUDGED_ROWS = 6_000
_N_BLOCKS = 3
# Of the rows that judge, or of a shorter window's own: with fewer new ones, the champion's race would be run again on
# much the same rows.
_RENEWED = 0.5
# Of a raced part's rows: a champion's window that is no farther from it stands for it.
_NEARLY = 0.25
# A shorter past has to be better, not as good: what it leaves out may be asked again.
_TIE = 0.01
_FEWEST_BLOCK_ROWS = 50
# Below this, the smallest window would be a few hundred rows, and the race a lottery.
_FEWEST_ROWS = 2_000
# After a change a lottery is better than what is known to be wrong, and the gate tries what wins.
_FEWEST_AFTER_CHANGE = 30


@dataclass(frozen=True)
class Race:
    """What windows are raced with: one recipe, reduced, on the newest fold."""

    spec: EstimatorSpec
    ground: Ground
    frame: pd.DataFrame
    fold: Fold
    timeline: Timeline

    def run(self, windows: Sequence[TrainingWindow]) -> list[RacedWindow]:
        """Fit a probe on each window of the rows to learn from, and judge it on each block of the rows to judge.

        Every window is thinned by the same share, so that a longer one keeps what it has to give: more rows.
        """
        n_rows = len(self.fold.learnt)
        step = max(1.0, n_rows / _MOST_PROBE_ROWS)
        judged = self.frame.iloc[_thin(self.fold.judged, len(self.fold.judged) / _MOST_JUDGED_ROWS)]
        question = name_question(f"mean losses of {_N_BLOCKS} blocks", judged)
        return [self._race(window, step, judged, question) for window in windows]

    def _race(self, window: TrainingWindow, step: float, judged: pd.DataFrame, question: str) -> RacedWindow:
        learnt = self.fold.learnt
        kept = learnt[select_window(window, len(learnt), _moments(self.timeline, learnt))]
        started = time.perf_counter()
        losses: tuple[float, ...] = ()
        error = None
        try:
            spec = limit_iterations(self.spec, _PROBE_ITERATIONS)
            rows = self.frame.iloc[_thin(kept, step)]
            losses = ask_fit(
                spec,
                self.ground.data,
                rows,
                seed=self.ground.seed,
                question=question,
                ask=lambda: self._judge(spec, rows, judged),
            )
        except DefinitionError:
            raise
        except Exception as failure:
            error = describe_failure(failure)
        seconds = time.perf_counter() - started
        return RacedWindow(window=window, n_rows=len(kept), losses=losses, seconds=seconds, error=error)

    def _judge(self, spec: EstimatorSpec, rows: pd.DataFrame, judged: pd.DataFrame) -> list[float]:
        model = fit_rows(spec, self.ground.data, rows, seed=self.ground.seed)
        target, answers = judge_rows(model, self.ground.data, judged)
        each = row_losses(self.ground.task, target, answers)
        return [float(block.mean()) for block in np.array_split(each, _N_BLOCKS)]


def race_windows(
    race: Race, *, champion: TrainingWindow | None = None, has_few: bool = False, n_newest: int | None = None
) -> WindowChoice:
    """Choose the window whose probe loses least on the three newest held-out blocks.

    Raced are all history, its newest half and quarter, and the champion's window: where that keeps nearly as many rows
    as one of the parts, it takes its place, since a window that moves by a few rows with each training is another
    model each time, and no better. On ten real streams always the recent window cost 10 % over the better of the two,
    always all history 18 %, a race of both 1.5 %.

    Parameters
    ----------
    race : Race
        Its fold's rows to judge are the blocks: the newest rows before ``validation.stop``.
    champion : TrainingWindow, optional
    has_few : bool, default=False
        Whether 30 rows to learn from and to judge by are enough, as after a change and ever since.
    n_newest : int, optional
        A window of so many rows is raced too, where it is shorter than all others.
    """
    n_rows = len(race.fold.learnt)
    if problem := _no_race(race, has_few=has_few):
        return WindowChoice(window=EXPANDING, reason=f"all history, without a race: {problem}")
    windows = _list_windows(n_rows, champion)
    if n_newest is not None and n_newest < min(each.rows or n_rows for each in windows):
        windows.append(TrainingWindow(rows=n_newest))
    raced = race.run(windows)
    alive = [each for each in raced if each.loss is not None]
    if not alive:
        return WindowChoice(
            window=EXPANDING, reason=f"all history: no probe could be fitted ({raced[0].error})", raced=tuple(raced)
        )
    best = _pick(alive)
    return WindowChoice(
        window=best.window,
        reason=_explain(best, alive),
        raced=tuple(raced),
        since=_moment(race, np.min),
        until=_moment(race, np.max),
    )


def cut_after(past: PastRace, fold: Fold, timeline: Timeline) -> Fold:
    """Cut the fold that follows on the champion's race, where that knew newer rows than *fold* learns from.

    Right after a change a window is chosen by the newest rows alone (:class:`tasks.newest_rows.NewestRows`). A race on
    the usual fold would ask again what the time before the change says.

    Returns
    -------
    Fold
        The usual one where it is newer; one that nothing judges where no row has come since.
    """
    since, until, moments = past.choice.since, past.choice.until, timeline.moments
    if since is None or until is None or moments is None or not len(fold.judged):
        return fold
    if moments[fold.judged[0]] >= (since - _EPOCH) // _MICROSECOND:
        return fold
    stop = int(fold.judged[-1]) + 1
    start = int(np.searchsorted(moments[:stop], (until - _EPOCH) // _MICROSECOND, side="right"))
    return cut_fold(timeline, start, stop) if start < stop else Fold(np.arange(stop), np.arange(0))


def hold_race(past: PastRace, fold: Fold, timeline: Timeline) -> WindowChoice | None:
    """Go by the champion's race where it would be run again on much the same rows.

    A race chooses among noisy losses: run anew with every training it would make a window flutter, and the models with
    it. It holds until half of the rows that judge are newer than those that judged it, or as many rows have come
    as half of the window it chose.

    Returns
    -------
    WindowChoice, or None where it is to be run again
    """
    choice, moments = past.choice, timeline.moments
    if choice.until is None or moments is None:
        return None
    n_new = int((moments[fold.judged] > (choice.until - _EPOCH) // _MICROSECOND).sum())
    n_judged = len(fold.judged)
    if n_new >= max(_FEWEST_AFTER_CHANGE, _RENEWED * min(n_judged, choice.window.rows or n_judged)):
        return None
    found = f"of the {n_judged:,} rows that would judge a race, {n_new:,} are" if n_judged else "no row is"
    told = (
        f"{describe_window(choice.window)}, as the champion: {found} newer than those that judged the last one, "
        f"on {choice.until:%Y-%m-%d}"
    )
    return choice.model_copy(update={"reason": told, "is_held": True})


def describe_window(window: TrainingWindow) -> str:
    """Say in words what a window keeps.

    Examples
    --------
    >>> [describe_window(TrainingWindow.read(text)) for text in ("expanding", "5000 rows", "90 days")]
    ['all history', 'the newest 5,000 rows', 'the newest 90 days']
    """
    if window.rows is not None:
        return f"the newest {window.rows:,} rows"
    return "all history" if window.span is None else f"the newest {window}"


def _list_windows(n_rows: int, champion: TrainingWindow | None) -> list[TrainingWindow]:
    windows = [EXPANDING, *(TrainingWindow(rows=_tidy(n_rows // part)) for part in RACED_PARTS)]
    if champion is None or champion in windows:
        return windows
    own = champion.rows
    near = [each for each in windows if own and each.rows and abs(own - each.rows) <= _NEARLY * each.rows]
    return [champion if each in near else each for each in windows] if near else [*windows, champion]


def _tidy(n_rows: int) -> int:
    """Keep two digits of a number of rows.

    Examples
    --------
    >>> _tidy(8_427), _tidy(123_456), _tidy(75)
    (8400, 120000, 75)
    """
    unit: int = 10 ** max(0, len(str(n_rows)) - 2)
    return n_rows // unit * unit


def _moment(race: Race, which: Callable[[Moments], Any]) -> datetime | None:
    """Return when the oldest or the newest judged row happened."""
    moments = race.timeline.moments
    return None if moments is None else _EPOCH + int(which(moments[race.fold.judged])) * _MICROSECOND


def _pick(alive: Sequence[RacedWindow]) -> RacedWindow:
    """Return the longest window whose loss is the least, or within a hundredth of it."""
    least = min(each.loss for each in alive if each.loss is not None)
    near = [each for each in alive if each.loss is not None and each.loss <= least + _TIE * abs(least)]
    return max(near, key=lambda each: each.n_rows)


def _explain(best: RacedWindow, alive: Sequence[RacedWindow]) -> str:
    others = ", ".join(f"{describe_window(each.window)} {each.loss:.4g}" for each in alive if each is not best)
    wins = sum(all(best.losses[block] <= each.losses[block] for each in alive) for block in range(len(best.losses)))
    return (
        f"{describe_window(best.window)}: mean loss {best.loss:.4g} on the {len(best.losses)} newest held-out blocks "
        f"(least in {wins} of them), against {others or 'no other window'}"
    )


def _no_race(race: Race, *, has_few: bool) -> str | None:
    moments = race.timeline.moments
    if moments is None:
        return "the rows have no time"
    n_rows, n_judged = len(race.fold.learnt), len(race.fold.judged)
    fewest = (_FEWEST_ROWS, _N_BLOCKS * _FEWEST_BLOCK_ROWS)
    if has_few:
        fewest = (_FEWEST_AFTER_CHANGE, _FEWEST_AFTER_CHANGE)
    if n_rows < fewest[0] or n_judged < fewest[1]:
        return f"{n_rows:,} rows to learn from and {n_judged:,} to judge by are too few"
    return None


def _moments(timeline: Timeline, positions: Positions) -> Moments | None:
    return None if timeline.moments is None else timeline.moments[positions]


def _thin(positions: Positions, step: float) -> Positions:
    """Keep every *step*-th position, from the newest backwards."""
    if step <= 1:
        return positions
    kept = np.unique(len(positions) - 1 - np.floor(np.arange(0, len(positions), step)).astype(np.int64))
    thinned: Positions = positions[kept[kept >= 0]]
    return thinned
