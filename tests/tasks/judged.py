"""Judged rows without a training: answers that a test makes up, by a model that is a formula."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from base.metrics import Floats, Task, point_answers, row_losses
from tasks.scored_rows import ScoredBy, ScoredRows


class Formula:
    """A fitted model that answers with the probability of the second class, or with a value."""

    def __init__(self, answer: Callable[[pd.DataFrame], Any], *, is_classifier: bool) -> None:
        self._answer = answer
        self.is_classifier = is_classifier

    def predict(self, features: pd.DataFrame) -> Floats:
        return np.asarray(self._answer(features), dtype=np.float64)

    def predict_proba(self, features: pd.DataFrame) -> Floats:
        score = self.predict(features)
        return np.column_stack([1 - score, score])


def judge(
    features: pd.DataFrame,
    target: Any,
    answer: Callable[[pd.DataFrame], Any],
    *,
    champion: Callable[[pd.DataFrame], Any] | None = None,
    raw: pd.DataFrame | None = None,
    task: Task = "classification",
    threshold: float = 0.5,
    personal: frozenset[str] = frozenset(),
) -> ScoredRows:
    """Score rows by a formula, and by another one as the champion."""
    codes = np.asarray(target, dtype=np.float64)

    def score(formula: Callable[[pd.DataFrame], Any]) -> ScoredBy:
        model = Formula(formula, is_classifier=task == "classification")
        answers = model.predict(features) if task == "regression" else model.predict_proba(features)
        points = point_answers(task, answers, threshold=threshold)
        return ScoredBy(codes, answers, row_losses(task, codes, answers), points, threshold)

    return ScoredRows(
        features=features,
        raw=pa.Table.from_pandas(features if raw is None else raw, preserve_index=False),
        model=Formula(answer, is_classifier=task == "classification"),
        challenger=score(answer),
        baseline=score(lambda rows: np.full(len(rows), float(codes.mean()))),
        champion=None if champion is None else score(champion),
        champion_version=None if champion is None else 1,
        n_seen_by_champion=0,
        personal=personal,
    )
