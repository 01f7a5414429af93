"""Which of the past a fresh probe learns from: its windows are raced, as those of a training are."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from base.errors import ArgumentError
from base.train_spec import RACED_PARTS, TrainingWindow
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.probe import Probe

Floats = npt.NDArray[np.float64]


def race_probes(
    known: LabelledRows,
    find: Callable[[LabelledRows], Probe],
    lose: Callable[[npt.NDArray[Any], Floats], Floats],
    *,
    n_judged: int,
    champion: int | None = None,
) -> Probe:
    """Return the probe of the window that would have been the best one on the newest batch.

    A probe of all history is for many batches as wrong about a world that has changed as the champion is, and would
    say that there is nothing to gain; a training that races its windows knows better, so the probe races them too. A
    probe is fitted on each window of the rows before the newest batch and judged on that; then one on the winner's
    window of all rows. The latter is among the former when the next batch comes, so that a batch costs one probe for
    each window where they are kept.

    Parameters
    ----------
    known : LabelledRows
        All that may be learnt from, in the order of time.
    find : callable
        Fits a probe on rows, or finds it where it is kept; raises ArgumentError where they are too few.
    lose : callable
        From targets and answers, each row's loss.
    n_judged : int
        How many rows the newest batch has.
    champion : int, optional
        How many rows the champion has learnt from, which a training would race as well.

    Raises
    ------
    ArgumentError
        If there are too few rows to fit any probe.
    """
    n_learnt = len(known.target) - n_judged
    losses: dict[str, float] = {}
    if n_judged > 0 and n_learnt > 0:
        before = LabelledRows(known.features.head(n_learnt), known.target[:n_learnt])
        judged = known.newest(n_judged)
        for name, n_rows in raced_rows(n_learnt, champion=champion).items():
            try:
                answers = find(before.newest(n_rows)).predict(judged.features)
            except ArgumentError:
                continue
            losses[name] = float(lose(judged.target, answers).mean())
    best = min(losses, key=lambda name: losses[name], default="all history")
    raced = raced_rows(len(known.target), champion=champion)
    return find(known.newest(raced.get(best, len(known.target))))


def raced_rows(n_rows: int, *, champion: int | None = None) -> dict[str, int]:
    """Return by name how many of the newest rows each window keeps that a training would race, the longest first.

    Examples
    --------
    >>> raced_rows(4_000, champion=1_500)
    {'all history': 4000, '1/2 of it': 2000, 'the champion': 1500, '1/4 of it': 1000}
    >>> raced_rows(1_200, champion=1_500)
    {'all history': 1200, '1/2 of it': 600, '1/4 of it': 300}
    """
    raced = {"all history": n_rows} | {f"1/{part} of it": n_rows // part for part in RACED_PARTS}
    if champion is not None and 0 < champion < n_rows and champion not in raced.values():
        raced["the champion"] = champion
    return dict(sorted(raced.items(), key=lambda each: -each[1]))


def window_rows(window: TrainingWindow | None, n_rows: int, length: timedelta | None) -> int:
    """Return how many of some rows a window keeps; one that is a span of time, at the rows' mean pace.

    Parameters
    ----------
    length : timedelta, optional
        The time that the rows span; where it is not known, a span keeps all.

    Examples
    --------
    >>> [window_rows(TrainingWindow.read(each), 1_000, timedelta(days=100)) for each in ("expanding", "30 days")]
    [1000, 300]
    >>> window_rows(TrainingWindow(rows=400), 1_000, None), window_rows(TrainingWindow(rows=400), 300, None)
    (400, 300)
    """
    if window is None or (window.rows is None and window.span is None):
        return n_rows
    if window.rows is not None:
        return min(window.rows, n_rows)
    assert window.span is not None
    if length is None or length <= window.span:
        return n_rows
    return max(1, round(n_rows * (window.span / length)))
