"""Claims about digests of models: equal fits are equal, whenever they were written, and others are not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from base.model_digests import digest_model
from base.model_files import dump_model

_ROWS = np.random.default_rng(0).normal(size=(200, 3))
_CLASSES = (_ROWS[:, 0] + _ROWS[:, 1] > 0).astype(int)


@pytest.mark.parametrize(
    "estimator",
    [
        HistGradientBoostingClassifier(max_iter=5, random_state=0),
        RandomForestClassifier(5, random_state=0),
        make_pipeline(StandardScaler(), LogisticRegression()),
    ],
    ids=lambda estimator: type(estimator).__name__,
)
def test_two_equal_fits_have_one_digest_and_another_fit_has_its_own(estimator: Any) -> None:
    one, same = (dump_model(clone(estimator).fit(_ROWS, _CLASSES)) for _ in range(2))
    other = dump_model(clone(estimator).fit(_ROWS[:-1], _CLASSES[:-1]))

    assert one != same
    assert digest_model(one) == digest_model(same) != digest_model(other)


def test_what_is_no_model_file_is_refused() -> None:
    with pytest.raises(ValueError, match="no skops file"):
        digest_model(b"no archive")
