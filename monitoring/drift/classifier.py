"""All columns together: can a classifier tell the window's rows from the reference's?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from monitoring.drift.findings import Multivariate, Teller

# Bounded whatever the window's size: with a thousand rows a side the AUC is known to two hundredths.
_MOST_ROWS = 1_000
_FEWEST_ROWS = 30
MOST_COLUMNS = 100
_MOST_LEVELS = 50
_HALVINGS = 2
_MOST_TELLERS = 5
_LEAST_LOSS = 0.01
_TREES: dict[str, Any] = {"max_iter": 30, "max_leaf_nodes": 8, "learning_rate": 0.15, "min_samples_leaf": 10}
_TREES |= {"max_bins": 63, "early_stopping": False, "random_state": 0}
_QUANTILE = 1.959964
# Which columns tell the two apart is asked only where something does.
_TELLING = 0.05

Scores = npt.NDArray[np.float64]


def compare_jointly(
    reference: pd.DataFrame, window: pd.DataFrame, *, numeric: Sequence[str], categorical: Sequence[str], seed: int = 0
) -> Multivariate | None:
    """Let a classifier learn to tell window from reference on half of the rows, and judge it on the other half.

    Lopez-Paz & Oquab (2017); boosted trees. Each half is learnt from and judged once, for two ways of halving. On
    the rows that it has not seen, a classifier's AUC under no difference is that of a Mann-Whitney test, whose
    p-value holds for any classifier; the halves depend on each other, so that twice their mean is taken, which is
    valid under any dependence (Rüschendorf 1982; Vovk & Wang 2020). The interval is DeLong's (1988), as wide as
    one half's. A column's part is what the AUC loses when its values are shuffled (Breiman 2001).

    Returns
    -------
    Multivariate or None
        None where either side has fewer than 30 rows, or there is no column.
    """
    # Imported before the limit is set, which reaches only libraries that are loaded.
    from sklearn.ensemble import HistGradientBoostingClassifier
    from threadpoolctl import threadpool_limits

    names = [*numeric, *categorical][:MOST_COLUMNS]
    if min(len(reference), len(window)) < _FEWEST_ROWS or not names:
        return None
    draw = np.random.default_rng(seed)
    sides = [_thin(rows, draw) for rows in (reference, window)]
    features = _encode(sides, numeric=[name for name in numeric if name in names], names=names)
    is_current = np.repeat([0, 1], [len(rows) for rows in sides])
    is_category = [name not in numeric for name in names]
    found: list[tuple[float, float, float]] = []
    models: list[tuple[Any, npt.NDArray[np.bool_]]] = []
    with threadpool_limits(1):
        for _ in range(_HALVINGS):
            is_first = _halve(is_current, draw)
            for learnt, judged in ((is_first, ~is_first), (~is_first, is_first)):
                learner = HistGradientBoostingClassifier(categorical_features=is_category, **_TREES)
                model = learner.fit(_fillable(features[learnt]), is_current[learnt])
                found.append(_area(model, features[judged], is_current[judged]))
                models.append((model, judged))
        auc, deviation, p_value = (float(np.mean(values)) for values in zip(*found, strict=True))
        lost = np.zeros(len(names))
        if 2 * p_value < _TELLING:
            lost = np.mean([_losses(model, features[own], is_current[own], draw) for model, own in models], axis=0)
    tellers = sorted(zip(names, lost, strict=True), key=lambda item: -item[1])
    return Multivariate(
        auc=auc,
        low=max(0.0, auc - _QUANTILE * deviation),
        high=min(1.0, auc + _QUANTILE * deviation),
        p_value=min(1.0, 2 * p_value),
        columns=tuple(
            Teller(column=name, auc_lost=float(loss)) for name, loss in tellers[:_MOST_TELLERS] if loss >= _LEAST_LOSS
        ),
        n_reference=len(sides[0]),
        n_current=len(sides[1]),
    )


def _thin(rows: pd.DataFrame, draw: np.random.Generator) -> pd.DataFrame:
    if len(rows) <= _MOST_ROWS:
        return rows
    return rows.iloc[np.sort(draw.choice(len(rows), _MOST_ROWS, replace=False))]


def _encode(sides: Sequence[pd.DataFrame], *, numeric: Sequence[str], names: Sequence[str]) -> Scores:
    """Numbers as they are, categories as the rank of their frequency, the rarest as one; missing ones are NaN."""
    columns = []
    for name in names:
        both = pd.concat([rows[name] for rows in sides], ignore_index=True)
        if name in numeric:
            columns.append(both.to_numpy(dtype=np.float64, na_value=np.nan))
            continue
        ranks = {level: float(rank) for rank, level in enumerate(both.value_counts().index[: _MOST_LEVELS - 1])}
        codes = both.map(lambda level, ranks=ranks: ranks.get(level, float(_MOST_LEVELS - 1)), na_action="ignore")
        columns.append(codes.to_numpy(dtype=np.float64, na_value=np.nan))
    values = np.column_stack(columns)
    values[~np.isfinite(values)] = np.nan
    return values


def _halve(is_current: npt.NDArray[np.int64], draw: np.random.Generator) -> npt.NDArray[np.bool_]:
    """Choose a random half of each side."""
    is_first = np.zeros(len(is_current), dtype=bool)
    for side in (0, 1):
        places = draw.permutation(np.flatnonzero(is_current == side))
        is_first[places[: len(places) // 2]] = True
    return is_first


def _fillable(features: Scores) -> Scores:
    """Fill columns that have no value among these rows, which the trees would refuse."""
    return np.where(np.isnan(features).all(axis=0), 0.0, features)


def _area(model: Any, features: Scores, is_current: npt.NDArray[np.int64]) -> tuple[float, float, float]:
    """The AUC on rows not learnt from, DeLong's deviation, and the p-value of Mann and Whitney."""
    from scipy.stats import mannwhitneyu, rankdata

    scores = model.decision_function(features)
    now, before = scores[is_current == 1], scores[is_current == 0]
    n, m = len(now), len(before)
    ranks = rankdata(np.concatenate([now, before]))
    above = (ranks[:n] - rankdata(now)) / m
    below = 1 - (ranks[n:] - rankdata(before)) / n
    deviation = float(np.sqrt(above.var(ddof=1) / n + below.var(ddof=1) / m))
    p_value = float(mannwhitneyu(now, before, alternative="greater", method="asymptotic").pvalue)
    return float(above.mean()), deviation, 1.0 if np.isnan(p_value) else p_value


def _losses(
    model: Any, features: Scores, is_current: npt.NDArray[np.int64], draw: np.random.Generator
) -> npt.NDArray[np.float64]:
    """What the AUC loses when the values of each column are shuffled."""
    from scipy.stats import rankdata

    n_rows, n_columns = features.shape
    # One call for all: a call costs more than its rows.
    rows = np.tile(features, (n_columns + 1, 1))
    for at in range(n_columns):
        rows[at * n_rows : (at + 1) * n_rows, at] = draw.permutation(features[:, at])
    ranks = rankdata(model.decision_function(rows).reshape(n_columns + 1, n_rows), axis=1)
    n_current = int(is_current.sum())
    areas = (ranks[:, is_current == 1].mean(axis=1) - (n_current + 1) / 2) / (n_rows - n_current)
    lost: npt.NDArray[np.float64] = areas[-1] - areas[:-1]
    return lost
