"""Many tests at once: p-values corrected for their number."""

from __future__ import annotations

from collections.abc import Sequence


def adjust(p_values: Sequence[float]) -> list[float]:
    """Correct p-values so that of those below a level at most that share is false on average.

    Benjamini & Hochberg (1995); valid too where the tests depend on each other positively, as columns that move
    together do (Benjamini & Yekutieli 2001).

    Examples
    --------
    >>> adjust([0.01, 0.04, 0.9])
    [0.03, 0.06, 0.9]
    >>> adjust([])
    []
    """
    if not p_values:
        return []
    from scipy.stats import false_discovery_control

    return [float(value) for value in false_discovery_control(p_values, method="bh")]
