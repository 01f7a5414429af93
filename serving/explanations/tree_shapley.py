"""Path-dependent TreeSHAP over all leaves at once, exact and without a library beside numpy and scipy.

Lundberg, Erion & Lee (2018; Nature Machine Intelligence 2, 2020) define the game: a player that takes part sends the
row its way at its nodes, any other sends it both ways in the shares of the training rows. At a leaf with value v,
shares z of its players and indicators o that a player's conditions hold, a coalition S is worth
v · Π_{S} o · Π_{not S} z. With

    k! (d - k - 1)! / d! = ∫₀¹ tᵏ (1 - t)ᵈ⁻¹⁻ᵏ dt

the Shapley value of player i there is v (oᵢ - zᵢ) ∫₀¹ Π_{j≠i} (zⱼ (1 - t) + oⱼ t) dt: the integral of a polynomial of
degree d - 1, which Gauss-Legendre quadrature with ⌈d / 2⌉ points gives exactly. All terms are positive, so nothing
cancels, and all leaves with d players are one array.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from serving.explanations.tree_paths import LeafGroup, read_groups
from serving.explanations.trees import N_CATEGORIES, Bools, Ensemble, Floats, Unit

# About 2 MB of float64: what is computed stays in the cache of a core.
_MOST_CELLS = 1 << 18


class TreeShapley:
    """The Shapley values of an ensemble of trees.

    Parameters
    ----------
    owners : sequence of int
        The player that each column belongs to, counted from 0; the columns of one player act together.

    Raises
    ------
    NotReadable
        If the trees are too many to be held.
    """

    def __init__(self, ensemble: Ensemble, owners: Sequence[int], *, n_players: int) -> None:
        self.unit: Unit = ensemble.unit
        self.n_outputs = len(ensemble.constant)
        self._dtype = ensemble.dtype
        self._n_players = n_players
        groups, self.base = read_groups(ensemble, owners)
        self._groups = [_Prepared(part, n_players) for group in groups for part in _split(group)]

    def explain(self, columns: Floats) -> Floats:
        """Compute contributions.

        Parameters
        ----------
        columns : array of shape (n_rows, n_columns)
            What the estimator sees; NaN is a gap.

        Returns
        -------
        array of shape (n_rows, n_players, n_outputs)
            With :attr:`base` they add up to the margin of each row.
        """
        n_rows = len(columns)
        found = np.zeros((self.n_outputs * self._n_players, n_rows))
        # As the trees compare: a float32 number is at most a float64 threshold as its own float64 form is.
        x = np.ascontiguousarray(np.asarray(columns, dtype=self._dtype).T, dtype=np.float64)
        for group in self._groups:
            step = max(1, _MOST_CELLS // group.n_slots)
            for start in range(0, n_rows, step):
                found[:, start : start + step] += group.explain(x[:, start : start + step])
        return found.reshape(self.n_outputs, self._n_players, n_rows).transpose(2, 1, 0)


class _Prepared:
    """A group of leaves with all that does not depend on the row."""

    def __init__(self, group: LeafGroup, n_players: int) -> None:
        from scipy.sparse import csr_array

        self._group = group
        self.n_slots = group.size * group.n_leaves
        points, weights = np.polynomial.legendre.leggauss((group.size + 1) // 2)
        # From [-1, 1] to [0, 1].
        self._quadrature = [((1 + t) / 2, w / 2) for t, w in zip(points.tolist(), weights.tolist(), strict=True)]
        self._shares = group.shares[:, :, np.newaxis]
        outputs, leaves = np.nonzero(group.values.T)
        slots = (np.arange(group.size)[:, np.newaxis] * group.n_leaves + leaves).ravel()
        rows = np.tile(outputs * n_players, group.size) + group.players[slots]
        data = np.tile(group.values[leaves, outputs], group.size)
        shape = (group.values.shape[1] * n_players, self.n_slots)
        self._sum: Any = csr_array((data, (rows, slots)), shape=shape)
        self._acts_together = len(group.column) != self.n_slots
        self._low, self._high = group.low[:, np.newaxis], group.high[:, np.newaxis]

    def explain(self, x: Floats) -> Floats:
        group = self._group
        holds = self._conditions(x).reshape(group.size, group.n_leaves, x.shape[1])
        shares = self._shares
        total = np.zeros(holds.shape)
        for point, weight in self._quadrature:
            factors = shares * (1.0 - point) + np.where(holds, point, 0.0)
            product = np.multiply.reduce(factors, axis=0)
            product *= weight
            total += product / factors
        total *= np.where(holds, 1.0 - shares, -shares)
        summed: Floats = self._sum @ total.reshape(self.n_slots, x.shape[1])
        return summed

    def _conditions(self, x: Floats) -> Bools:
        group = self._group
        taken = x[group.column]
        holds: Bools = (taken > self._low) & (taken <= self._high)
        gaps = np.isnan(taken)
        if gaps.any():
            holds |= gaps & group.takes_gaps[:, np.newaxis]
        if len(group.sets):
            holds[group.sets] = _look_up(group.allowed, taken[group.sets])
        return np.logical_and.reduceat(holds, group.first_condition, axis=0) if self._acts_together else holds


def _look_up(allowed: Bools, codes: Floats) -> Bools:
    is_code = (codes >= 0) & (codes < N_CATEGORIES)
    places = np.where(is_code, codes, N_CATEGORIES).astype(np.int64)
    found: Bools = np.take_along_axis(allowed, places, axis=1)
    return found


def _split(group: LeafGroup) -> list[LeafGroup]:
    """Part a group whose slots would not fit the cache even for one row."""
    most = max(1, _MOST_CELLS // group.size)
    if group.n_leaves <= most:
        return [group]
    return [_take(group, start, min(start + most, group.n_leaves)) for start in range(0, group.n_leaves, most)]


def _take(group: LeafGroup, start: int, stop: int) -> LeafGroup:
    n_conditions = np.diff(np.append(group.first_condition, len(group.column)))
    chosen = (np.arange(group.size)[:, np.newaxis] * group.n_leaves + np.arange(start, stop)).ravel()
    counts = n_conditions[chosen]
    first = np.concatenate([[0], np.cumsum(counts)[:-1]]).astype(np.int64)
    kept = np.repeat(group.first_condition[chosen] - first, counts) + np.arange(counts.sum())
    in_sets = np.isin(kept, group.sets)
    return LeafGroup(
        size=group.size,
        players=group.players[chosen],
        shares=group.shares[:, start:stop],
        values=group.values[start:stop],
        column=group.column[kept],
        low=group.low[kept],
        high=group.high[kept],
        takes_gaps=group.takes_gaps[kept],
        first_condition=first,
        sets=np.flatnonzero(in_sets),
        allowed=group.allowed[np.searchsorted(group.sets, kept[in_sets])],
    )
