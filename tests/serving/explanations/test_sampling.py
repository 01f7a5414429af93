"""Sampled contributions: near the exact ones by their own standard error, and adding up to the margin."""

from __future__ import annotations

import numpy as np
import pandas as pd

from serving.explanations.linear import LinearShapley
from serving.explanations.sampling import explain_by_sampling
from serving.explanations.trees import Floats


def _reference() -> pd.DataFrame:
    draw = np.random.default_rng(1)
    frame = pd.DataFrame(draw.normal(size=(300, 3)).astype(np.float32), columns=["a", "b", "c"])
    return frame.assign(kind=np.array(["x", "y", None], dtype=object)[draw.integers(3, size=300)])


def _ask(frame: pd.DataFrame) -> Floats:
    kind = (frame["kind"] == "x").to_numpy(float)
    return np.asarray(frame["a"] * frame["b"] + 2 * frame["c"] + 3 * kind, dtype=np.float64).reshape(-1, 1)


_ROW = pd.DataFrame({"a": [1.0], "b": [2.0], "c": [-1.0], "kind": ["x"]}).astype({"a": "f4", "b": "f4", "c": "f4"})


def _never() -> bool:
    return False


def test_samples_are_within_their_errors_of_the_truth() -> None:
    reference = _reference()

    found = explain_by_sampling(_ROW, reference, _ask, draw=np.random.default_rng(0), is_over=_never, most_samples=4000)

    assert found is not None
    assert found.n_samples == 4000
    means = reference[["a", "b", "c"]].mean()
    product = (reference["a"] * reference["b"]).mean()
    # Of a product of two, each gets half of what it adds with the other known and unknown.
    a = ((1 * means["b"] - product) + (2 - means["a"] * 2)) / 2
    b = ((2 * means["a"] - product) + (2 - means["b"] * 1)) / 2
    exact = np.array([a, b, 2 * (-1 - means["c"]), 3 * (1 - (reference["kind"] == "x").mean())])
    errors = found.errors[:, 0]
    assert (np.abs(found.contributions[:, 0] - exact) <= 4 * errors + 1e-9).all()
    assert errors.max() < 0.1


def test_the_sum_is_the_margin_however_few_the_samples() -> None:
    found = explain_by_sampling(
        _ROW, _reference(), _ask, draw=np.random.default_rng(0), is_over=_never, most_samples=12
    )

    assert found is not None
    np.testing.assert_allclose(found.base + found.contributions.sum(axis=0), _ask(_ROW)[0], atol=1e-5)


def test_more_samples_have_smaller_errors() -> None:
    few, many = (
        explain_by_sampling(_ROW, _reference(), _ask, draw=np.random.default_rng(0), is_over=_never, most_samples=count)
        for count in (40, 4000)
    )

    assert few is not None
    assert many is not None
    assert many.errors.sum() < few.errors.sum() / 3


def test_linear_contributions_are_the_distance_from_the_mean_by_the_coefficient() -> None:
    from sklearn.linear_model import LogisticRegression

    draw = np.random.default_rng(0)
    x = draw.normal(size=(200, 3))
    model = LogisticRegression().fit(x, x[:, 0] + x[:, 1] > 0)
    membership = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])

    linear = LinearShapley(model, x, membership)
    found = linear.explain(x[:5])

    each = model.coef_[0] * (x[:5] - x.mean(axis=0))
    np.testing.assert_allclose(found[:, :, 0], np.column_stack([each[:, 0] + each[:, 1], each[:, 2]]))
    np.testing.assert_allclose(found.sum(axis=1)[:, 0] + linear.base[0], model.decision_function(x[:5]))
    assert linear.unit == "log-odds"
