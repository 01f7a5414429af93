"""Counts of two samples: are the shares the same in both?"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]

# Below five expected rows in a cell the chi-square distribution is no longer that of the statistic (Cochran 1954).
_FEWEST_EXPECTED = 5
_FEWEST_EXPECTED_OF_TWO = 10
_N_DEALS, _MOST_DEALT = 50, 1_000_000_000


def compare_counts(reference: Counts, current: Counts) -> tuple[float, float]:
    """Test whether two samples share one distribution over levels.

    The chi-square test of homogeneity: both samples scatter, unlike in a test of fit, which takes the shares of
    the reference for the truth. Levels too rare for it are pooled by their rows in both samples together, so that the
    pooling knows nothing of the difference; two levels with few rows are compared by Fisher's exact test.

    Parameters
    ----------
    reference, current : array of shape (n_levels,)
        Rows of each level.

    Returns
    -------
    tuple of float
        The statistic and the p-value; 0 and 1 where there is nothing to compare.

    Examples
    --------
    >>> statistic, p_value = compare_counts(np.array([500, 500]), np.array([30, 70]))
    >>> round(statistic, 2), p_value < 0.001
    (14.56, True)
    """
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m:
        return 0.0, 1.0
    table = _pool(reference, current)
    if table.shape[1] < 2:
        return 0.0, 1.0
    expected = table.sum(axis=0) * (np.array([[n], [m]]) / (n + m))
    statistic = float(((table - expected) ** 2 / expected).sum())
    if table.shape[1] == 2 and expected.min() < _FEWEST_EXPECTED_OF_TWO:
        from scipy.stats import fisher_exact

        return statistic, float(fisher_exact(table).pvalue)
    from scipy.special import chdtrc

    return statistic, float(chdtrc(table.shape[1] - 1, statistic))


def compare_shares(reference: tuple[int, int], current: tuple[int, int]) -> float:
    """Test whether a share of rows is the same in both samples; each is given as the rows, and of how many.

    Examples
    --------
    >>> compare_shares((0, 1_000), (0, 50))
    1.0
    >>> compare_shares((10, 1_000), (25, 50)) < 1e-6
    True
    """
    if reference[0] + current[0] == 0 or reference[0] + current[0] == reference[1] + current[1]:
        return 1.0
    table = [np.array([part, whole - part], dtype=np.int64) for part, whole in (reference, current)]
    return compare_counts(*table)[1]


def measure_divergence(reference: Counts, current: Counts) -> float:
    """Measure the Jensen-Shannon distance of two samples over levels, less what chance alone gives.

    Lin (1991), to base 2 and under the root: 0 the same, 1 nothing in common. Two samples of one distribution are
    apart too, the more the more levels they have; how far on average is seen by dealing the rows of both to two samples
    of these sizes at random, some fifty times.

    Examples
    --------
    >>> measure_divergence(np.array([500, 500]), np.array([52, 48]))
    0.0
    >>> measure_divergence(np.array([500, 0]), np.array([0, 500]))
    1.0
    """
    n, m = int(reference.sum()), int(current.sum())
    if not n or not m:
        return 0.0
    if not np.any((reference > 0) & (current > 0)):
        return 1.0
    both = reference + current
    both = both[both > 0]
    # Always the same deals, so that a window has one report. More rows than this the generator does not deal.
    dealt = both if n + m < _MOST_DEALT else np.ceil(both * (_MOST_DEALT / 2 / (n + m))).astype(np.int64)
    size = round(int(dealt.sum()) * m / (n + m))
    deals = np.random.default_rng(0).multivariate_hypergeometric(dealt, size, size=_N_DEALS, method="marginals")
    chance = float(_divergences(dealt - deals, deals).mean()) if 0 < size < dealt.sum() else 0.0
    found = float(_divergences(reference[None, :], current[None, :])[0])
    return math.sqrt(min(1.0, max(0.0, found - chance) / math.log(2)))


def _divergences(reference: Counts, current: Counts) -> npt.NDArray[np.float64]:
    """The Jensen-Shannon divergences of pairs of samples, in nats; each of shape (n_pairs, n_levels)."""
    one = reference / reference.sum(axis=1, keepdims=True)
    other = current / current.sum(axis=1, keepdims=True)
    between = _entropies((one + other) / 2) - (_entropies(one) + _entropies(other)) / 2
    found: npt.NDArray[np.float64] = between.sum(axis=1)
    return found


def _pool(reference: Counts, current: Counts) -> Counts:
    """Pool rare levels; two rows, as few columns as needed."""
    both = reference + current
    n, m = int(reference.sum()), int(current.sum())
    enough = _FEWEST_EXPECTED * (n + m) / min(n, m)
    order = np.argsort(-both, kind="stable")
    order = order[both[order] > 0]
    n_kept = int((both[order] >= enough).sum())
    if n_kept < len(order) and both[order[n_kept:]].sum() < enough and n_kept > 1:
        n_kept -= 1  # what is left is too little for a level of its own
    n_kept = max(1, n_kept)
    kept, rest = order[:n_kept], order[n_kept:]
    table = [np.append(rows[kept], rows[rest].sum() if len(rest) else []) for rows in (reference, current)]
    return np.array(table, dtype=np.int64)


def _entropies(shares: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    logarithms = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return -shares * logarithms
