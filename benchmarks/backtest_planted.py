"""Generated streams for the replay of retraining policies, with a change of the world planted in them, or none."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.metrics import Task
from benchmarks.policy_streams import FIRST_SHARE, N_BATCHES, PolicyStream, keep_fits, make_stream

Floats = npt.NDArray[np.float64]
Change = Literal["sudden", "gradual", "recurring", "harder", "quiet"]

CHANGES: tuple[Change, ...] = ("sudden", "gradual", "recurring", "harder", "quiet")
SEEDS = (0, 1, 2)

_N_ROWS = 10_000
_N_FEATURES = 5
_GRADUAL_BATCHES = 25
_SEASON_BATCHES = 16


def load_planted_streams(change: Change, *, merged: int = 1) -> list[PolicyStream]:
    """Fit, or take from the cache, the streams of a kind of change: one for each seed, of both tasks in turn."""
    streams = []
    for seed in SEEDS:
        task: Task = "regression" if seed % 2 else "classification"
        fits = keep_fits(
            f"{change}-{seed}",
            f"planted {change} {task} {seed} {_N_ROWS} {_N_FEATURES}",
            task,
            lambda task=task, seed=seed: plant_change(change, task, seed),
        )
        streams.append(make_stream(f"{change} {seed}", "as it was", fits, merged=merged))
    return streams


def plant_change(change: Change, task: Task, seed: int) -> tuple[pd.DataFrame, Floats]:
    """Draw features and a target that hangs on them in one way, and after a change in another.

    ``sudden`` flips at once, somewhere in the second quarter of the served batches; ``gradual`` takes 25 batches to;
    ``recurring`` goes there and back every 16; ``harder`` is the same world with twice the noise, which no training
    mends; ``quiet`` does not change.

    Examples
    --------
    >>> features, target = plant_change("sudden", "classification", 0)
    >>> features.shape, sorted(set(target.tolist()))
    ((10000, 5), [0.0, 1.0])
    """
    draw = np.random.default_rng([CHANGES.index(change), seed])
    features = draw.normal(size=(_N_ROWS, _N_FEATURES)).astype(np.float32)
    begins = N_BATCHES * (0.25 + 0.25 * draw.random())
    first = _N_ROWS * FIRST_SHARE
    batch = (np.arange(_N_ROWS) - first) / (_N_ROWS - first) * N_BATCHES
    share = {
        "sudden": (batch >= begins).astype(np.float64),
        "gradual": np.clip((batch - begins) / _GRADUAL_BATCHES, 0.0, 1.0),
        "recurring": np.where(batch >= 0, np.floor((batch + begins) / _SEASON_BATCHES) % 2, 0.0),
        "harder": np.zeros(_N_ROWS),
        "quiet": np.zeros(_N_ROWS),
    }[change]
    a, b, c, d, e = features.T.astype(np.float64)
    before = 2 * a * (b > 0) + c + 0.7 * d**2
    after = -2 * a + c * (e > 0) - 0.7 * d**2 + 1.4 * (b > 0)
    signal = np.where(draw.random(_N_ROWS) < share, after, before)
    noise = np.where((change == "harder") & (batch >= begins), 2.0, 1.0)
    if task == "regression":
        return _frame(features), signal + noise * draw.normal(size=_N_ROWS)
    chance = 1 / (1 + np.exp(-1.5 * (signal - np.median(before)) / noise))
    return _frame(features), (draw.random(_N_ROWS) < chance).astype(np.float64)


def _frame(features: npt.NDArray[np.float32]) -> pd.DataFrame:
    return pd.DataFrame(features, columns=[f"x{number}" for number in range(features.shape[1])])


if __name__ == "__main__":
    for change in CHANGES:
        load_planted_streams(change)
