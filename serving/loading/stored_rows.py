"""A loaded version's answers to the rows that are stored with it, compared with those it gave when it was trained."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from base.artifacts import ArtifactStore
from features.plan import restore_missing
from serving.scoring.examples import AGREEMENT, read_examples
from serving.scoring.scorer import Scorer

PREDICTION = "__prediction__"
"""The column of a manifest's reference that holds the value, or the probability of the last class."""

ANSWER = "__answer__"
"""The same by the deployed model, where that has learnt from these rows and the predictions are its sibling's."""


def probability_column(code: int) -> str:
    """Name the reference's column with the judged model's probability of a class, where there are more than two.

    Examples
    --------
    >>> probability_column(2)
    '__probability_2__'
    """
    return f"__probability_{code}__"


@dataclass(frozen=True)
class Comparison:
    """How far a version's answers are from those that were recorded; infinitely far where their shapes differ."""

    n_rows: int
    n_different: int
    max_difference: float

    @property
    def agrees(self) -> bool:
        """Whether every answer is the recorded one, but for the last bits of a sum."""
        return self.n_different == 0

    def describe(self) -> str:
        """Say it in words, as what follows "it"."""
        if self.agrees:
            return f"answers {self.n_rows:,} stored rows as it did in training"
        return (
            f"answers {self.n_different:,} of {self.n_rows:,} stored rows otherwise than in training "
            f"(largest difference {self.max_difference:.3g}); train it again with these libraries"
        )


def compare_answers(answers: npt.NDArray[np.float64], expected: npt.NDArray[np.float64]) -> Comparison:
    """Compare answers row by row.

    Parameters
    ----------
    answers, expected : array of shape (n_rows,) or (n_rows, n_classes)

    Examples
    --------
    >>> compare_answers(np.array([0.25, 0.5]), np.array([0.25, 0.75]))
    Comparison(n_rows=2, n_different=1, max_difference=0.25)
    """
    if answers.shape != expected.shape:
        return Comparison(len(expected), len(expected), float("inf"))
    if not len(expected):
        return Comparison(0, 0, 0.0)
    same = np.isclose(answers, expected, rtol=AGREEMENT, atol=AGREEMENT, equal_nan=True).reshape(len(expected), -1)
    difference = np.abs(np.nan_to_num(answers - expected, nan=0.0))
    return Comparison(len(expected), int((~same.all(axis=1)).sum()), float(difference.max()))


def compare_examples(scorer: Scorer, artifacts: ArtifactStore) -> Comparison:
    """Compare the answers to the manifest's examples, from raw rows on."""
    examples = read_examples(artifacts, scorer.manifest.examples)
    return compare_answers(scorer.score_rows(examples.rows), np.asarray(examples.answers, dtype=np.float64))


def compare_reference(scorer: Scorer, artifacts: ArtifactStore) -> Comparison:
    """Compare the answers to the manifest's reference: up to some thousand judged rows, as features."""
    import pyarrow.parquet as pq

    stored: Any = pq.read_table(artifacts.local_path(scorer.manifest.reference)).to_pandas()
    own = ANSWER if ANSWER in stored else PREDICTION
    plan = scorer.manifest.plan
    answers = scorer.predict_features(restore_missing(stored[list(plan.features)], plan.categorical))
    return compare_answers(answers if answers.ndim == 1 else answers[:, -1], stored[own].to_numpy(np.float64))
