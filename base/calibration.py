"""Calibration: do the rows that were given a probability of 30 % turn out so in 30 of 100?"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]

N_BINS = 10
"""Bins of equal numbers of rows: with bins of equal width, most of a rare class's rows would share one."""


def calibration_bins(score: Floats, *, n_bins: int = N_BINS) -> npt.NDArray[np.intp]:
    """Put each row into one of up to *n_bins* bins of about as many rows each; equal scores stay together.

    Examples
    --------
    >>> calibration_bins(np.array([0.1, 0.9, 0.2, 0.2]), n_bins=2).tolist()
    [0, 1, 0, 0]
    """
    order = np.sort(score)
    edges = order[(np.arange(1, n_bins) * len(score)) // n_bins] if len(score) else order
    return np.searchsorted(np.unique(edges), score).astype(np.intp)


def calibration_error(score: Floats, happened: npt.NDArray[np.bool_]) -> float:
    """Measure how far the probabilities are from the shares that happened: the expected calibration error.

    The rows are cut by score into ten bins of about equal numbers (adaptive calibration error; Nixon et al. 2019,
    *Measuring calibration in deep learning*); the error is the mean over rows of |mean score - share that happened| of
    their bins. 0 is calibrated; a small sample is never exactly 0. With more than two classes the score is that of
    the predicted class, and what happened is that it was right (top-label; Guo et al. 2017).

    Parameters
    ----------
    score : array of shape (n_rows,)
        Probabilities.
    happened : array of bool of shape (n_rows,)

    Examples
    --------
    >>> round(calibration_error(np.array([0.2, 0.2, 0.2, 0.2, 0.2]), np.array([True, False, False, False, False])), 12)
    0.0
    """
    gaps = np.bincount(calibration_bins(score), weights=score - happened)
    return float(np.abs(gaps).sum() / len(score))
