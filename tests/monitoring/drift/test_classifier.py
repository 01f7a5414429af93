"""A classifier that tells window from reference."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import Multivariate, make_profile, measure_drift

NAMES = tuple("abcdef")


def _rows(n_rows: int, *, seed: int, together: float = 0.8) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    values = draw.normal(size=(n_rows, len(NAMES)))
    values[:, 1] = together * values[:, 0] + np.sqrt(1 - together**2) * values[:, 1]
    kinds = draw.choice(["red", "blue"], n_rows)
    return pd.DataFrame(values, columns=list(NAMES)).astype("float32").assign(kind=kinds)


def _compare(window: pd.DataFrame) -> Multivariate:
    profile = make_profile(_rows(3_000, seed=0), numeric=NAMES, categorical=("kind",))
    found = measure_drift(profile, window).report.multivariate
    assert found is not None
    return found


def test_columns_that_part_while_each_stays_as_it_was_are_told() -> None:
    found = _compare(_rows(800, seed=1, together=-0.8))

    assert found.p_value < 0.001
    assert found.low > 0.5
    assert found.low < found.auc < found.high
    assert {teller.column for teller in found.columns[:2]} == {"a", "b"}


def test_rows_of_the_same_world_are_not_told_apart() -> None:
    found = [_compare(_rows(400, seed=seed)) for seed in range(1, 11)]

    assert sum(each.p_value < 0.05 for each in found) <= 2
    assert np.mean([each.auc for each in found]) == pytest.approx(0.5, abs=0.03)
    assert all(not each.columns for each in found if each.p_value >= 0.05)


def test_a_window_of_any_size_is_judged_on_a_bounded_sample() -> None:
    found = _compare(_rows(30_000, seed=1))

    assert (found.n_reference, found.n_current) == (1_000, 1_000)


@pytest.mark.parametrize("n_rows", [0, 1, 29])
def test_too_few_rows_are_not_judged(n_rows: int) -> None:
    profile = make_profile(_rows(3_000, seed=0), numeric=NAMES, categorical=("kind",))

    assert measure_drift(profile, _rows(n_rows, seed=1)).report.multivariate is None


def test_a_column_without_a_value_and_a_new_category_do_not_stop_it() -> None:
    window = _rows(200, seed=1).assign(c=np.nan, kind="green")

    found = _compare(window)

    assert found.auc > 0.95


def test_the_same_window_is_always_judged_the_same() -> None:
    window = _rows(2_000, seed=4, together=0.2)

    assert _compare(window) == _compare(window)
