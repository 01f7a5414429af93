"""The definition of path-dependent contributions, written down as it stands: every coalition, one after the other."""

from __future__ import annotations

from itertools import combinations
from math import factorial

import numpy as np

from serving.explanations.trees import N_CATEGORIES, Floats, Tree


def worth(tree: Tree, row: Floats, coalition: set[int], owners: list[int], node: int = 0) -> Floats:
    """What a tree gives when only the coalition's columns are known (Lundberg et al. 2018, algorithm 1)."""
    left, right = int(tree.left[node]), int(tree.right[node])
    if left < 0:
        return np.asarray(tree.values[node], dtype=np.float64)
    column = int(tree.feature[node])
    if owners[column] in coalition:
        child = left if _goes_left(tree, node, float(row[column])) else right
        return worth(tree, row, coalition, owners, child)
    parts = [
        tree.cover[child] / tree.cover[node] * worth(tree, row, coalition, owners, child) for child in (left, right)
    ]
    return np.asarray(parts[0] + parts[1])


def shapley_values(tree: Tree, row: Floats, owners: list[int], n_players: int) -> Floats:
    """The contributions of a tree's players, of shape (n_players, n_outputs), by Shapley's own formula."""
    found = np.zeros((n_players, tree.values.shape[1]))
    for player in range(n_players):
        others = [one for one in range(n_players) if one != player]
        for size in range(n_players):
            weight = factorial(size) * factorial(n_players - size - 1) / factorial(n_players)
            for chosen in combinations(others, size):
                gain = worth(tree, row, {*chosen, player}, owners) - worth(tree, row, set(chosen), owners)
                found[player] += weight * gain
    return found


def _goes_left(tree: Tree, node: int, value: float) -> bool:
    if np.isnan(value):
        return bool(tree.gaps_go_left[node])
    if node in tree.is_left:
        is_code = 0 <= value < N_CATEGORIES
        if is_code and tree.is_left[node][int(value)]:
            return True
        return bool(tree.gaps_go_left[node]) if not is_code or not tree.is_known[node][int(value)] else False
    return bool(value <= tree.threshold[node])
