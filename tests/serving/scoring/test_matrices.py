"""Claims about matrices: what a compiled model is given is what training would have given it, to the bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.user_code import UserCode
from features.feature_plan import FeaturePlan
from features.plan import build_features, frame_from_rows
from serving.scoring.matrices import MatrixMaker
from serving.scoring.row_reader import values_of

PLAN = FeaturePlan(
    inputs={"size": "text", "age": "integer", "fare": "number", "agent": "number", "shared": "boolean", "city": "text"},
    ordinal={"size": ("small", "large")},
    numeric=("fare", "size", "age", "shared"),
    categorical=("city", "agent"),
)
MISSING = "\x00missing"

ROWS = st.fixed_dictionaries(
    {},
    optional={
        "size": st.sampled_from(["small", "large", "huge", None]),
        "age": st.none() | st.integers(-(2**53), 2**53),
        "fare": st.none() | st.integers(-5, 5) | st.floats(allow_nan=False, allow_infinity=False),
        "agent": st.none() | st.integers(-3, 3) | st.sampled_from([9.0, 9.5, 2.0**52]),
        "shared": st.none() | st.booleans(),
        "city": st.none() | st.text(max_size=3),
    },
)


@given(rows=st.lists(ROWS, min_size=1, max_size=5))
def test_the_matrices_are_the_features_of_training(rows: list[dict[str, Any]]) -> None:
    expected = build_features(frame_from_rows(rows, PLAN.inputs), PLAN, UserCode({}))

    numeric, categorical = MatrixMaker(PLAN, missing=MISSING).make(values_of(rows, list(PLAN.inputs)))

    assert numeric.dtype == np.float32
    np.testing.assert_array_equal(numeric, expected[list(PLAN.numeric)].to_numpy(np.float32))
    texts = expected[list(PLAN.categorical)].to_numpy(object)
    assert categorical.tolist() == np.where(pd.isna(texts), MISSING, texts).tolist()


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"functions": ("features:add_hour",)}, False),
        ({"numeric": ("made by a function",)}, False),
        ({"inputs": {**PLAN.inputs, "fare": "time"}}, False),
        ({"inputs": {**PLAN.inputs, "city": "time"}}, False),
        ({"numeric": (), "ordinal": {}}, True),
    ],
)
def test_only_features_that_are_columns_as_they_stand_go_this_way(changes: dict[str, Any], expected: bool) -> None:
    assert MatrixMaker.can_make(PLAN.model_copy(update=changes)) is expected
