"""Claims about kept fits: equal rows, recipe and seed are fitted once, and nothing else is taken for equal."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.linear_model import LinearRegression

from base.model_files.kept import KeptModels, keeping_models
from base.train_spec import EstimatorSpec
from tasks.kept_fits import KeptFits, ask_fit, find_kept_fits, keeping_fits, name_fit, name_question, take_fit

SPEC = EstimatorSpec(estimator="sklearn.linear_model.LinearRegression", parameters={})
ROWS = pd.DataFrame({"a": [1.0, 2.0, 4.0], "__target__": [1.0, 2.0, 3.0]})


DATA: Any = SimpleNamespace(numeric=("a",), categorical=(), ordinal={}, one_hot=(), classes=None)


def _fit() -> LinearRegression:
    return LinearRegression().fit(ROWS[["a"]], ROWS["__target__"])


@pytest.fixture
def kept(tmp_path: Path) -> KeptFits:
    return KeptFits(tmp_path / "fits")


def test_without_a_place_to_keep_them_every_fit_is_done() -> None:
    assert find_kept_fits() is None
    assert take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit) is not take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit)


def test_an_equal_fit_is_done_once(kept: KeptFits) -> None:
    with keeping_fits(kept):
        first = take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit)
        again = take_fit(SPEC, DATA, ROWS.set_index(pd.Index([5, 6, 7])), seed=0, fit=_fit)

    assert first is again
    assert (kept.n_fits, kept.n_reused) == (1, 1)


@pytest.mark.parametrize(
    ("spec", "rows", "seed"),
    [
        (SPEC.model_copy(update={"parameters": {"positive": True}}), ROWS, 0),
        (SPEC, ROWS.iloc[:2], 0),
        (SPEC, ROWS.iloc[::-1], 0),
        (SPEC, ROWS.assign(a=ROWS["a"] + np.array([0, 0, 1e-9])), 0),
        (SPEC, ROWS, 1),
    ],
    ids=["parameters", "fewer rows", "another order", "a value", "a seed"],
)
def test_what_differs_has_another_name(spec: EstimatorSpec, rows: pd.DataFrame, seed: int) -> None:
    assert name_fit(spec, DATA, rows, seed=seed) != name_fit(SPEC, DATA, ROWS, seed=0)


def test_another_process_finds_the_figures_of_a_fit(kept: KeptFits, tmp_path: Path) -> None:
    question = name_question("slope", ROWS)

    def ask() -> list[float]:
        return [float(take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit).coef_[0])]

    with keeping_fits(kept):
        first = ask_fit(SPEC, DATA, ROWS, seed=0, question=question, ask=ask)
    with keeping_fits(KeptFits(tmp_path / "fits")) as other:
        again = ask_fit(SPEC, DATA, ROWS, seed=0, question=question, ask=lambda: pytest.fail("it was asked before"))

    assert again == first == pytest.approx(_fit().coef_)
    assert (kept.n_fits, other.n_fits, other.n_reused) == (1, 0, 1)
    assert other.spared >= kept.seconds


def test_a_model_that_another_process_has_written_is_not_fitted_again(kept: KeptFits, tmp_path: Path) -> None:
    with keeping_models(KeptModels(tmp_path / "models")) as models, keeping_fits(kept):
        first = take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit)
        stored = models.keep(first)
        assert stored is not None
        models.write(stored)
    other = KeptFits(tmp_path / "fits")
    with keeping_models(KeptModels(tmp_path / "models")), keeping_fits(other):
        again = take_fit(SPEC, DATA, ROWS, seed=0, fit=lambda: pytest.fail("it was fitted before"))

    assert np.array_equal(again.coef_, first.coef_)
    assert (other.n_fits, other.n_reused) == (0, 1)
    assert other.spared == pytest.approx(kept.seconds)


def test_another_question_to_an_equal_fit_is_asked(kept: KeptFits) -> None:
    with keeping_fits(kept):
        one = ask_fit(SPEC, DATA, ROWS, seed=0, question=name_question("sum", ROWS), ask=lambda: [1.0])
        other = ask_fit(SPEC, DATA, ROWS, seed=0, question=name_question("sum", ROWS.iloc[:2]), ask=lambda: [2.0])

    assert (one, other) == ((1.0,), (2.0,))


def test_a_fit_that_fails_is_tried_again(kept: KeptFits) -> None:
    with keeping_fits(kept):
        with pytest.raises(ValueError, match="no"):
            take_fit(SPEC, DATA, ROWS, seed=0, fit=_fail)

        assert take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit) is not None


def test_sharing_can_be_turned_off(tmp_path: Path) -> None:
    with keeping_fits(KeptFits(tmp_path / "fits", is_sharing=False)) as alone:
        first, second = (take_fit(SPEC, DATA, ROWS, seed=0, fit=_fit) for _ in range(2))

    assert first is not second
    assert (alone.n_fits, alone.n_reused) == (2, 0)


def _fail() -> Any:
    raise ValueError("no")
