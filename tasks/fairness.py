"""Fairness: does the model treat the groups of a sensitive column alike?"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd

from base.judged import FairnessMetrics
from base.pipeline import Pipeline
from base.row_groups import FEWEST_ROWS
from tasks.feature_choice import sensitive_columns
from tasks.scored_rows import ScoredBy, ScoredRows
from tasks.slices import group_column

_log = logging.getLogger(__name__)

Rates = pd.DataFrame
_Rate = Callable[[npt.NDArray[Any], npt.NDArray[Any]], float]


def measure_fairness(rows: ScoredRows, pipeline: Pipeline, missing: dict[str, str]) -> tuple[FairnessMetrics, ...]:
    """Compare the groups of each column that the contract marks sensitive or the definition names.

    Rates are by fairlearn's ``MetricFrame``. Of two classes: ``demographic_parity_difference`` (the share of rows that
    are answered with the second class), ``accuracy_difference``, ``true_positive_rate_difference``,
    ``false_positive_rate_difference``, and ``equalized_odds_difference``, the larger of the last two (Hardt, Price &
    Srebro 2016). Of more classes: ``accuracy_difference``. Of values: ``mae_difference`` and ``mean_error_difference``
    in the target's unit. Each is the largest gap between two groups of at least 30 rows; a rate of true positives needs
    as many positives, one of false positives as many negatives. A null is the group ``missing``.

    A column that cannot be compared is noted in *missing* as ``fairness.<column>``.
    """
    columns = dict.fromkeys([*sensitive_columns(pipeline), *pipeline.spec.evaluate.fairness])
    found: list[FairnessMetrics] = []
    for column in columns:
        groups, reason = group_column(column, rows)
        large = {name: each for name, each in groups.items() if each.sum() >= FEWEST_ROWS}
        if len(large) < 2:
            missing[f"fairness.{column}"] = reason or f"fewer than two groups have {FEWEST_ROWS} rows"
            _log.warning("fairness over %r is not measured: %s", column, missing[f"fairness.{column}"])
            continue
        membership = _membership(groups, rows.n_rows)
        n_rows = {name: int(each.sum()) for name, each in groups.items()}
        own = _rates(rows.challenger, membership, rows)
        other = None if rows.champion is None else _rates(rows.champion, membership, rows)
        found += _compare(column, own, other, n_rows)
    return tuple(found)


def _membership(groups: dict[str, npt.NDArray[np.bool_]], n_rows: int) -> npt.NDArray[np.object_]:
    names = np.full(n_rows, "", dtype=object)
    for name, members in groups.items():
        names[members] = name
    return names


def _rates(scored: ScoredBy, membership: npt.NDArray[np.object_], rows: ScoredRows) -> Rates:
    """Return each rate (columns) in each group (rows); NaN where a group is too small for it."""
    from fairlearn.metrics import MetricFrame

    target, points = rows.challenger.target, scored.points
    metrics: dict[str, _Rate]
    if rows.challenger.answers.ndim == 1:
        metrics = {"mae": lambda truth, said: float(np.abs(said - truth).mean()), "mean_error": _mean_error}
    else:
        metrics = {"accuracy": lambda truth, said: float((said == truth).mean())}
        if rows.challenger.answers.shape[1] == 2:
            metrics |= {
                "demographic_parity": lambda _truth, said: float((said == 1).mean()),
                "true_positive_rate": lambda truth, said: _share_called(said[truth == 1]),
                "false_positive_rate": lambda truth, said: _share_called(said[truth != 1]),
            }
    metrics["__rows__"] = lambda truth, _said: float(len(truth))
    frame = MetricFrame(metrics=metrics, y_true=target, y_pred=points, sensitive_features=pd.Series(membership))
    by_group: Rates = frame.by_group.astype("float64")
    return by_group[by_group["__rows__"] >= FEWEST_ROWS].drop(columns="__rows__")


def _mean_error(truth: npt.NDArray[Any], said: npt.NDArray[Any]) -> float:
    return float((said - truth).mean())


def _share_called(said: npt.NDArray[Any]) -> float:
    return float((said == 1).mean()) if len(said) >= FEWEST_ROWS else math.nan


def _compare(column: str, own: Rates, other: Rates | None, n_rows: dict[str, int]) -> list[FairnessMetrics]:
    found = [
        FairnessMetrics(
            column=column,
            metric=f"{rate}_difference",
            value=_gap(own[rate]),
            groups=_known(own[rate]),
            n_rows=n_rows,
            champion_value=None if other is None else _or_none(_gap(other[rate])),
            champion_groups={} if other is None else _known(other[rate]),
        )
        for rate in own.columns
    ]
    if "true_positive_rate" in own.columns:
        found.append(
            FairnessMetrics(
                column=column,
                metric="equalized_odds_difference",
                value=_odds_gap(own),
                groups={},
                n_rows=n_rows,
                champion_value=None if other is None else _or_none(_odds_gap(other)),
            )
        )
    return found


def _odds_gap(rates: Rates) -> float:
    gaps = [_gap(rates["true_positive_rate"]), _gap(rates["false_positive_rate"])]
    return math.nan if any(math.isnan(gap) for gap in gaps) else max(gaps)


def _gap(by_group: pd.Series[float]) -> float:
    known = by_group.dropna()
    return float(known.max() - known.min()) if len(known) > 1 else math.nan


def _known(by_group: pd.Series[float]) -> dict[str, float]:
    return {str(name): float(value) for name, value in by_group.dropna().items()}


def _or_none(value: float) -> float | None:
    return None if math.isnan(value) else value
