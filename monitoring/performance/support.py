"""Whether a window's rows are like the reference's: of rows that it never saw, the reference says nothing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.performance.error_model import RowCodes

Floats = npt.NDArray[np.float64]

# More rows a side cost seconds and tell the two no better apart.
_MOST_ROWS = 2_000
_FEWEST_ROWS = 50
_SEED = 20130101
# A row may lie a little beyond the reference's largest value without being another kind of row.
_MARGIN = 0.05


@dataclass(frozen=True)
class Support:
    """How far a window lies outside the reference.

    ``outside`` is the share of rows with a number beyond the reference's range or a category that it lacks;
    ``separability`` the area under the ROC curve of a classifier that tells window and reference apart: 0.5 where
    nothing does, 1 where every row shows where it is from; NaN with too few rows.
    """

    outside: float
    separability: float


def measure_support(
    codes: RowCodes, reference: pd.DataFrame, reference_answers: Floats, window: pd.DataFrame, answers: Floats
) -> Support:
    """Compare the window's rows with the reference's.

    Both sides are thinned to 2,000 rows; the classifier (Rabanser, Günnemann & Lipton 2019, *Failing loudly*) is judged
    on rows that it has not learnt from.
    """
    known, found = codes.write(reference, reference_answers), codes.write(window, answers)
    return Support(_share_outside(codes, known, found, window), _separate(_thin(known), _thin(found)))


def _share_outside(codes: RowCodes, known: Floats, found: Floats, window: pd.DataFrame) -> float:
    beyond = np.zeros(len(found), dtype=bool)
    for place in [*range(len(codes.numeric)), found.shape[1] - 1]:
        column = known[:, place][np.isfinite(known[:, place])]
        if not len(column):
            continue
        low, high = column.min(), column.max()
        room = _MARGIN * (high - low)
        with np.errstate(invalid="ignore"):
            beyond |= (found[:, place] < low - room) | (found[:, place] > high + room)
    for name, levels in codes.levels.items():
        beyond |= (window[name].notna() & ~window[name].isin(list(levels))).to_numpy(dtype=bool)
    return float(beyond.mean()) if len(beyond) else 0.0


def _separate(known: Floats, found: Floats) -> float:
    if min(len(known), len(found)) < _FEWEST_ROWS:
        return float("nan")
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.metrics import roc_auc_score

    rows = np.vstack([known, found])
    side = np.repeat([0, 1], [len(known), len(found)])
    fold = np.random.default_rng(_SEED).permutation(len(rows)) % 2
    score = np.zeros(len(rows))
    for part in (0, 1):
        learner = HistGradientBoostingClassifier(max_iter=30, max_leaf_nodes=8, early_stopping=False, random_state=0)
        learnt = rows[fold != part]
        # The trees refuse a column without a value, which half of the rows may have where all of them have not.
        learner.fit(np.where(np.isnan(learnt).all(axis=0), 0.0, learnt), side[fold != part])
        score[fold == part] = learner.predict_proba(rows[fold == part])[:, 1]
    return float(roc_auc_score(side, score))


def _thin(rows: Floats) -> Floats:
    chosen: npt.NDArray[np.intp] = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), _MOST_ROWS)).astype(np.intp))
    return rows[chosen] if len(rows) else rows
