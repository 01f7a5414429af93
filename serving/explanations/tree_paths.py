"""The leaves of trees, each with the players on its path: what they must be to get there, and how often they are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from serving.explanations.trees import N_CATEGORIES, Bools, Ensemble, Floats, Ints, NotReadable, Tree

# A cover of nothing would divide by zero; the law of the sums holds for whatever share stands here.
_SMALLEST_SHARE = 1e-12

MOST_SLOTS = 8_000_000
"""Players on the paths of all leaves together; what is larger takes gigabytes."""


@dataclass(frozen=True)
class LeafGroup:
    """All leaves with the same number of players on their paths.

    Slots are the pairs of player and leaf, in the shape (n_players_on_path, n_leaves) laid out flat; conditions are
    what a column must be for a slot's player, and stand in the order of the slots. A condition holds where
    ``low < x <= high``, or x is a gap and ``takes_gaps``; ``allowed`` has the conditions on sets of categories, as
    ``sets`` lists them, with gaps and unknown ones at the end.
    """

    size: int
    players: Ints
    shares: Floats
    values: Floats
    column: Ints
    low: Floats
    high: Floats
    takes_gaps: Bools
    first_condition: Ints
    sets: Ints
    allowed: Bools

    @property
    def n_leaves(self) -> int:
        """How many leaves the group has."""
        return len(self.values)


@dataclass
class _Condition:
    low: float = -np.inf
    high: float = np.inf
    takes_gaps: bool = True
    allowed: npt.NDArray[np.bool_] | None = None


@dataclass(frozen=True)
class _Path:
    shares: dict[int, float]
    conditions: dict[int, dict[int, _Condition]]
    values: Floats


def read_groups(ensemble: Ensemble, owners: Sequence[int]) -> tuple[list[LeafGroup], Floats]:
    """Lay the leaves of all trees out, and compute the margin of a row of which nothing is known.

    Parameters
    ----------
    owners : sequence of int
        The player that each column of the estimator belongs to; columns of one player act together.

    Raises
    ------
    NotReadable
        If the trees are too many to be held.
    """
    by_size: dict[int, list[_Path]] = {}
    base, n_slots = ensemble.constant.copy(), 0
    for tree in ensemble.trees:
        for path in _walk(tree, owners):
            base += path.values * float(np.prod(list(path.shares.values())))
            if path.shares:
                by_size.setdefault(len(path.shares), []).append(path)
                n_slots += len(path.shares)
        if n_slots > MOST_SLOTS:
            raise NotReadable(f"its trees have more than {MOST_SLOTS:,} conditions on their paths")
    return [_lay_out(size, paths) for size, paths in sorted(by_size.items())], base


def _walk(tree: Tree, owners: Sequence[int]) -> Iterator[_Path]:
    feature, left, right = tree.feature.tolist(), tree.left.tolist(), tree.right.tolist()
    threshold, cover, gaps = tree.threshold.tolist(), tree.cover.tolist(), tree.gaps_go_left.tolist()
    waiting: list[tuple[int, dict[int, float], dict[int, dict[int, _Condition]]]] = [(0, {}, {})]
    while waiting:
        node, shares, conditions = waiting.pop()
        if left[node] < 0:
            yield _Path(shares, conditions, tree.values[node])
            continue
        column = feature[node]
        player = owners[column]
        before = conditions.get(player, {}).get(column, _Condition())
        for child, goes_left in ((left[node], True), (right[node], False)):
            share = max(cover[child] / cover[node] if cover[node] else 0.5, _SMALLEST_SHARE)
            after = _narrow(before, tree, node, threshold[node], goes_left=goes_left, takes_gap=gaps[node] == goes_left)
            known = {**conditions.get(player, {}), column: after}
            waiting.append((child, {**shares, player: shares.get(player, 1.0) * share}, {**conditions, player: known}))


def _narrow(
    before: _Condition, tree: Tree, node: int, threshold: float, *, goes_left: bool, takes_gap: bool
) -> _Condition:
    takes_gaps = before.takes_gaps and takes_gap
    if node in tree.is_left:
        is_left = tree.is_left[node]
        # What the node does not know goes where a gap does.
        here = np.where(is_left, goes_left, np.where(tree.is_known[node], not goes_left, takes_gap))
        allowed = np.append(here, takes_gap)
        return _Condition(
            allowed=allowed if before.allowed is None else before.allowed & allowed, takes_gaps=takes_gaps
        )
    if goes_left:
        return _Condition(before.low, min(before.high, threshold), takes_gaps)
    return _Condition(max(before.low, threshold), before.high, takes_gaps)


def _lay_out(size: int, paths: Sequence[_Path]) -> LeafGroup:
    players = [list(path.shares) for path in paths]
    column: list[int] = []
    low: list[float] = []
    high: list[float] = []
    takes_gaps: list[bool] = []
    first: list[int] = []
    sets: list[int] = []
    allowed: list[npt.NDArray[np.bool_]] = []
    for place in range(size):
        for path, names in zip(paths, players, strict=True):
            first.append(len(column))
            for at, condition in path.conditions[names[place]].items():
                if condition.allowed is not None:
                    sets.append(len(column))
                    allowed.append(condition.allowed)
                column.append(at)
                low.append(condition.low)
                high.append(condition.high)
                takes_gaps.append(condition.takes_gaps)
    return LeafGroup(
        size=size,
        players=np.array([[names[place] for names in players] for place in range(size)], dtype=np.int64).ravel(),
        shares=np.array(
            [[path.shares[names[place]] for path, names in zip(paths, players, strict=True)] for place in range(size)]
        ),
        values=np.array([path.values for path in paths]),
        column=np.array(column, dtype=np.int64),
        low=np.array(low),
        high=np.array(high),
        takes_gaps=np.array(takes_gaps, dtype=bool),
        first_condition=np.array(first, dtype=np.int64),
        sets=np.array(sets, dtype=np.int64),
        allowed=np.array(allowed, dtype=bool).reshape(len(allowed), N_CATEGORIES + 1),
    )
