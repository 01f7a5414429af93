"""The metrics of a model in each of many resamples, from sums over cells of rows: what intervals are made of."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from base.bootstrap import Blocks
from base.calibration import calibration_bins
from base.metrics import Task, pinball_losses, row_losses

Floats = npt.NDArray[np.float64]
Booleans = npt.NDArray[np.bool_]

# Ranks beyond so many are told apart no more inside a resample: 1,000 resamples of 100,000 rows would take seconds,
# and the metric moves by less than 1e-4.
_MOST_RANKS = 4_096
_MOST_RANKED_CLASSES = 10
_SHARES = {"accuracy", "brier", "calibration_error", "f1", "macro_f1", "roc_auc", "macro_roc_auc"}
_SHARES |= {"average_precision", "positive_share"}
_NEVER_NEGATIVE = {"log_loss", "mae", "rmse", "mape"}


def resample_metrics(
    task: Task,
    target: npt.NDArray[np.generic],
    prediction: Floats,
    blocks: Blocks,
    weights: Floats,
    *,
    threshold: float = 0.5,
    quantiles: Sequence[float] = (),
    costs: Floats | None = None,
) -> dict[str, Floats]:
    """Measure as :func:`base.metrics.measure` does, in each resample.

    No row is copied: a mean over a resample is the weighted mean of its cells' sums, and a curve's area follows from
    the weighted counts of each rank.

    Parameters
    ----------
    weights : array of shape (n_draws, n_cells)
        From :func:`base.bootstrap.draw_weights`.

    Returns
    -------
    dict of metric to array of shape (n_draws,)
        NaN where a metric means nothing in a resample; ``macro_roc_auc`` only up to 10 classes.

    Examples
    --------
    >>> from base.bootstrap import cut_blocks
    >>> blocks = cut_blocks(20)
    >>> whole = np.ones((1, blocks.n_cells))
    >>> resample_metrics("regression", np.arange(20.0), np.arange(20.0) + 1, blocks, whole)["mae"]
    array([1.])
    """
    of_draws = _Draws(blocks, weights)
    if task == "regression":
        found = _values(of_draws, target.astype(np.float64), prediction, quantiles)
    elif prediction.shape[1] == 2:
        found = _two_classes(of_draws, target.astype(np.intp), prediction, threshold)
    else:
        found = _classes(of_draws, target.astype(np.intp), prediction)
    return found if costs is None else found | {"cost": of_draws.mean(costs)}


def ranked_areas(scores: Floats, positive: Booleans, blocks: Blocks, weights: Floats) -> tuple[Floats, Floats]:
    """Return the area under the ROC curve and the average precision in each resample.

    Returns
    -------
    two arrays of shape (n_draws,)
        NaN where a resample holds rows of one class only.
    """
    rank, n_ranks = _ranks(scores)
    counts = np.zeros((2, blocks.n_cells * n_ranks))
    for kind, rows in enumerate((~positive, positive)):
        counts[kind] = np.bincount(blocks.cell[rows] * n_ranks + rank[rows], minlength=blocks.n_cells * n_ranks)
    below, own = (weights @ each.reshape(blocks.n_cells, n_ranks) for each in counts)
    n_own, n_below = own.sum(axis=1), below.sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        lower = np.cumsum(below, axis=1) - below / 2
        area = np.einsum("dr,dr->d", own, lower) / (n_own * n_below)
        hits = np.cumsum(own[:, ::-1], axis=1)
        called = hits + np.cumsum(below[:, ::-1], axis=1)
        precision = hits / np.maximum(called, 1e-300)
        average = np.einsum("dr,dr->d", own[:, ::-1], precision) / n_own
    return area, np.where(n_below > 0, average, np.nan)


def within_range(metric: str, bounds: tuple[float, float]) -> tuple[float, float]:
    """Cut an interval to what the metric can be.

    Examples
    --------
    >>> within_range("calibration_error", (-0.01, 0.05)), within_range("mean_error", (-0.01, 0.05))
    ((0.0, 0.05), (-0.01, 0.05))
    """
    low, high = bounds
    if metric in _SHARES or metric in _NEVER_NEGATIVE or metric.startswith("pinball_"):
        low = max(low, 0.0)
    if metric in _SHARES and metric != "brier":
        high = min(high, 1.0)
    return low, high


class _Draws:
    """Weighted sums over resamples."""

    def __init__(self, blocks: Blocks, weights: Floats) -> None:
        self.blocks = blocks
        self.weights = weights
        self.n_rows = self.sum(np.ones(len(blocks.cell)))

    def sum(self, values: npt.NDArray[np.generic]) -> Floats:
        total: Floats = self.weights @ self.blocks.sum_cells(values)
        return total

    def mean(self, values: npt.NDArray[np.generic]) -> Floats:
        return self.sum(values) / self.n_rows

    def calibration_error(self, score: Floats, happened: Booleans) -> Floats:
        bins = calibration_bins(score)
        n_bins = int(bins.max()) + 1
        n_cells = self.blocks.n_cells
        gaps = np.bincount(self.blocks.cell * n_bins + bins, weights=score - happened, minlength=n_cells * n_bins)
        error: Floats = np.abs(self.weights @ gaps.reshape(n_cells, n_bins)).sum(axis=1) / self.n_rows
        return error


def _values(draws: _Draws, target: Floats, prediction: Floats, quantiles: Sequence[float]) -> dict[str, Floats]:
    errors = prediction - target
    squared = draws.mean(errors**2)
    found = {"mae": draws.mean(np.abs(errors)), "rmse": np.sqrt(squared), "mean_error": draws.mean(errors)}
    # Far from zero, the mean of squares minus the square of the mean would lose all digits.
    centred = target - target.mean()
    spread = draws.mean(centred**2) - draws.mean(centred) ** 2
    if centred.any():
        with np.errstate(invalid="ignore", divide="ignore"):
            found["r2"] = np.where(spread > 0, 1 - squared / spread, np.nan)
    if (target != 0).all():
        found["mape"] = draws.mean(np.abs(errors / target))
    for quantile in quantiles:
        found[f"pinball_{quantile:g}"] = draws.mean(pinball_losses(target, prediction, quantile))
    return found


def _two_classes(draws: _Draws, codes: npt.NDArray[np.intp], prediction: Floats, threshold: float) -> dict[str, Floats]:
    score, positive = prediction[:, 1], codes == 1
    called = score >= threshold
    found = {
        "log_loss": draws.mean(row_losses("classification", codes, prediction)),
        "accuracy": draws.mean(called.astype(np.intp) == codes),
        "brier": draws.mean((score - positive) ** 2),
        "calibration_error": draws.calibration_error(score, positive),
        "f1": 2 * draws.sum(called & positive) / np.maximum(1.0, draws.sum(called) + draws.sum(positive)),
        "positive_share": draws.mean(positive),
    }
    if 0 < positive.sum() < len(codes):
        found["roc_auc"], found["average_precision"] = ranked_areas(score, positive, draws.blocks, draws.weights)
    return found


def _classes(draws: _Draws, codes: npt.NDArray[np.intp], prediction: Floats) -> dict[str, Floats]:
    called = prediction.argmax(axis=1)
    truth = codes[:, None] == np.arange(prediction.shape[1])
    occurring = [code for code in range(prediction.shape[1]) if truth[:, code].any()]
    found = {
        "log_loss": draws.mean(row_losses("classification", codes, prediction)),
        "accuracy": draws.mean(called == codes),
        "brier": draws.mean(((prediction - truth) ** 2).sum(axis=1)),
        "calibration_error": draws.calibration_error(prediction.max(axis=1), called == codes),
    }
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = [
            2 * draws.sum((called == code) & truth[:, code]) / draws.sum((called == code) + 1.0 * truth[:, code])
            for code in occurring
        ]
    if shares:
        found["macro_f1"] = _mean_of_known(shares)
    ranked = [code for code in occurring if not truth[:, code].all()]
    if 0 < len(ranked) <= _MOST_RANKED_CLASSES:
        areas = [ranked_areas(prediction[:, code], truth[:, code], draws.blocks, draws.weights)[0] for code in ranked]
        found["macro_roc_auc"] = _mean_of_known(areas)
    return found


def _mean_of_known(each: Sequence[Floats]) -> Floats:
    """Average over classes; one that a resample does not hold is left out of it."""
    stacked = np.stack(each)
    known = np.isfinite(stacked)
    mean: Floats = np.where(known, stacked, 0.0).sum(axis=0) / np.maximum(known.sum(axis=0), 1)
    return np.where(known.any(axis=0), mean, np.nan)


def _ranks(scores: Floats) -> tuple[npt.NDArray[np.intp], int]:
    """Rank the rows by score, equal scores alike, with at most :data:`_MOST_RANKS` ranks of about as many rows."""
    _, first, inverse = np.unique(np.sort(scores), return_index=True, return_inverse=True)
    place = first * min(_MOST_RANKS, len(scores)) // len(scores) if len(first) > _MOST_RANKS else np.arange(len(first))
    _, dense = np.unique(place, return_inverse=True)
    order = np.argsort(scores, kind="stable")
    rank = np.empty(len(scores), dtype=np.intp)
    rank[order] = dense[inverse]
    return rank, int(dense.max()) + 1
