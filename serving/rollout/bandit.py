"""Thompson sampling: each version's share is the chance that it is the best, as far as its own rewards tell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

_DRAWS = 20_000


def allocate(
    rewards: Mapping[str, Sequence[float]], *, is_share: bool, exploration: float, seed: int
) -> dict[str, float]:
    """Return the shares that the rewards call for (Thompson 1933; Chapelle & Li 2011).

    Parameters
    ----------
    rewards : mapping of str to sequence of float
        By version, what the rows that it answered were worth once their labels were known.
    is_share : bool
        Whether a reward is 0 or 1 (a right class), whose mean has a Beta posterior under a flat prior; otherwise the
        mean is taken as normal.
    exploration : float
        What each version keeps, however it does; less where there are so many that it would be more than all.
    seed : int
        The same rewards and seed give the same shares.

    Examples
    --------
    >>> shares = allocate({"3": [1, 1, 0, 1] * 50, "4": [0, 1, 0, 0] * 50}, is_share=True, exploration=0.05, seed=1)
    >>> {number: round(share, 3) for number, share in shares.items()}
    {'3': 0.95, '4': 0.05}
    """
    draw = np.random.default_rng(seed)
    names = list(rewards)
    draws = np.column_stack(
        [_draw_share(draw, rewards[name]) if is_share else _draw_mean(draw, rewards[name], rewards) for name in names]
    )
    best = np.bincount(draws.argmax(axis=1), minlength=len(names)) / _DRAWS
    floor = min(exploration, 1 / len(names))
    return {name: floor + (1 - floor * len(names)) * float(chance) for name, chance in zip(names, best, strict=True)}


def _draw_share(draw: np.random.Generator, rewards: Sequence[float]) -> Floats:
    right = float(sum(rewards))
    return draw.beta(1 + right, 1 + len(rewards) - right, _DRAWS)


def _draw_mean(draw: np.random.Generator, rewards: Sequence[float], everybody: Mapping[str, Sequence[float]]) -> Floats:
    together = np.array([value for each in everybody.values() for value in each], dtype=np.float64)
    spread = float(together.std()) if len(together) > 1 else 0.0
    own = np.asarray(rewards, dtype=np.float64)
    # One row's worth of "as all others": who has answered little is tried.
    mean = float((own.sum() + (together.mean() if len(together) else 0.0)) / (len(own) + 1))
    return draw.normal(mean, max(spread, 1e-12) / math.sqrt(len(own) + 1), _DRAWS)
