"""Laws of the tests: without drift their p-values are not smaller than uniform, with drift they are small."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from scipy.stats import binom

from monitoring.drift import make_profile, measure_drift
from monitoring.drift.distributions import compare_by_kolmogorov, measure_distance, take_steps
from monitoring.drift.multiplicity import adjust
from monitoring.drift.shares import compare_counts, compare_shares, measure_divergence

_DATA = Path(__file__).parents[4] / "shared" / "data"
_SIZES = [1, 5, 50, 100, 1_000, 10_000]
_N_TIMES = 300
_LEVELS = (0.01, 0.05, 0.2)
Draw = Callable[[np.random.Generator, int], npt.NDArray[np.float64]]
QUANTITIES: dict[str, Draw] = {
    "smooth": lambda draw, n: draw.normal(size=n),
    "heavy tails": lambda draw, n: draw.standard_cauchy(n),
    "many zeros": lambda draw, n: draw.exponential(1, n) * (draw.random(n) < 0.2),
    "counts": lambda draw, n: draw.poisson(30, n).astype(float),
    "few values": lambda draw, n: draw.integers(0, 4, n).astype(float),
    "rare": lambda draw, n: (draw.random(n) < 0.02).astype(float),
}


def _is_too_often(p_values: list[float], level: float) -> bool:
    """Tell whether so many p-values below *level* cannot be chance (one in a hundred thousand)."""
    n_small = sum(p_value < level for p_value in p_values)
    return bool(binom.sf(n_small - 1, len(p_values), level) < 1e-5)


@pytest.mark.parametrize("n_current", _SIZES)
@pytest.mark.parametrize("kind", QUANTITIES)
def test_p_values_of_quantities_without_drift_are_not_smaller_than_uniform(kind: str, n_current: int) -> None:
    draw = np.random.default_rng(n_current)
    found = []
    for _ in range(_N_TIMES):
        reference = take_steps(np.sort(QUANTITIES[kind](draw, 2_000)))
        found.append(compare_by_kolmogorov(reference, np.sort(QUANTITIES[kind](draw, n_current)))[1])

    assert [level for level in _LEVELS if _is_too_often(found, level)] == []


@pytest.mark.parametrize("n_current", _SIZES)
@pytest.mark.parametrize("n_levels", [2, 5, 20, 100, 500])
def test_p_values_of_categories_without_drift_are_not_smaller_than_uniform(n_levels: int, n_current: int) -> None:
    draw = np.random.default_rng(n_current)
    shares = draw.dirichlet(np.full(n_levels, 0.5))
    found = [
        compare_counts(draw.multinomial(2_000, shares), draw.multinomial(n_current, shares))[1] for _ in range(_N_TIMES)
    ]

    assert [level for level in _LEVELS if _is_too_often(found, level)] == []


@pytest.mark.parametrize("n_current", _SIZES)
@pytest.mark.parametrize("share", [0.0, 0.001, 0.05, 0.5, 0.99])
def test_p_values_of_missing_shares_without_drift_are_not_smaller_than_uniform(share: float, n_current: int) -> None:
    draw = np.random.default_rng(1)
    found = [
        compare_shares((draw.binomial(2_000, share), 2_000), (draw.binomial(n_current, share), n_current))
        for _ in range(_N_TIMES)
    ]

    assert [level for level in _LEVELS if _is_too_often(found, level)] == []


@pytest.mark.parametrize("kind", ["smooth", "heavy tails", "counts"])
def test_a_shift_of_half_a_deviation_is_always_found_in_a_thousand_rows(kind: str) -> None:
    draw = np.random.default_rng(0)
    for _ in range(50):
        reference = take_steps(np.sort(QUANTITIES[kind](draw, 2_000)))
        current = np.sort(QUANTITIES[kind](draw, 1_000)) + reference.scale / 2
        assert compare_by_kolmogorov(reference, current)[1] < 1e-4


@pytest.mark.parametrize("n_current", [50, 1_000])
def test_effects_without_drift_are_near_zero_whatever_the_size(n_current: int) -> None:
    draw = np.random.default_rng(0)
    shares = draw.dirichlet(np.full(100, 0.5))
    found = []
    for _ in range(100):
        reference, current = np.sort(draw.normal(size=2_000)), np.sort(draw.normal(size=n_current))
        divergence = measure_divergence(draw.multinomial(2_000, shares), draw.multinomial(n_current, shares))
        found.append((measure_distance(take_steps(reference), current)[0], divergence))

    assert np.median(found, axis=0) == pytest.approx([0, 0], abs=0.05)


_numbers = st.lists(st.floats(-1e300, 1e300) | st.integers(-3, 3).map(float), min_size=1, max_size=60)


@given(reference=_numbers, current=_numbers)
@hypothesis_settings(deadline=None)
def test_what_is_measured_of_numbers_is_finite_and_within_its_bounds(
    reference: list[float], current: list[float]
) -> None:
    steps, ordered = take_steps(np.sort(reference)), np.sort(current)

    statistic, p_value = compare_by_kolmogorov(steps, ordered)
    effect, shift = measure_distance(steps, ordered)

    assert 0 <= p_value <= 1
    assert 0 <= statistic <= 1
    assert effect >= 0
    assert np.isfinite([effect, shift]).all()


@given(values=_numbers)
def test_steps_are_exact_where_values_are_few_and_nothing_is_far_from_itself(values: list[float]) -> None:
    ordered = np.sort(values)
    steps = take_steps(ordered)

    assert steps.is_exact
    assert steps.n == len(values)
    assert list(steps.values) == sorted(set(values))
    assert compare_by_kolmogorov(steps, ordered) == (0.0, 1.0)
    assert measure_distance(steps, ordered) == (0.0, 0.0)


@given(pairs=st.lists(st.tuples(st.integers(0, 1_000), st.integers(0, 1_000)), min_size=1, max_size=30))
@hypothesis_settings(deadline=None)
def test_what_is_measured_of_counts_is_within_its_bounds_and_the_same_from_both_sides(
    pairs: list[tuple[int, int]],
) -> None:
    one, other = (np.array(side, dtype=np.int64) for side in zip(*pairs, strict=True))

    statistic, p_value = compare_counts(one, other)

    assert 0 <= p_value <= 1
    assert statistic >= 0
    assert 0 <= measure_divergence(one, other) <= 1
    assert compare_counts(other, one) == pytest.approx((statistic, p_value))
    assert compare_counts(one, one)[1] == pytest.approx(1.0)


@given(found=st.lists(st.floats(0, 1), max_size=20))
@hypothesis_settings(deadline=None)
def test_corrected_p_values_keep_their_order_and_are_never_smaller(found: list[float]) -> None:
    corrected = adjust(found)
    order = np.argsort(found, kind="stable")

    assert all(before <= after <= 1 for before, after in zip(found, corrected, strict=True))
    assert np.all(np.diff([corrected[at] for at in order]) >= 0)


@pytest.mark.slow
@pytest.mark.parametrize("n_current", [50, 100, 1_000, 10_000])
@pytest.mark.parametrize("name", ["bike_sharing_hour", "chicago_taxi", "hotel_bookings", "acs_ma_employment"])
def test_shuffled_rows_of_real_data_have_not_drifted(name: str, n_current: int) -> None:
    file = _DATA / f"{name}.parquet"
    if not file.exists():
        pytest.skip(f"the shared data set {name} is not here")
    rows = pd.read_parquet(file).drop(columns="row_seq").select_dtypes(exclude=["datetime"])
    numeric = tuple(str(column) for column in rows.select_dtypes("number"))
    categorical = tuple(str(column) for column in rows.columns if column not in numeric)
    rows = rows.astype(dict.fromkeys(numeric, "float32"))
    n_columns = n_corrected = n_drifted = 0
    for seed in range(10):
        order = np.random.default_rng(seed).permutation(len(rows))
        sides = [
            rows.iloc[places].reset_index(drop=True) for places in (order[:5_000], order[5_000 : 5_000 + n_current])
        ]
        profile = make_profile(sides[0], numeric=numeric, categorical=categorical)
        report = measure_drift(profile, sides[1], with_multivariate=False).report
        n_columns += len(report.features)
        n_corrected += sum(p_value < 0.05 for p_value in report.adjusted.values())
        n_drifted += len(report.drifted)

    assert n_corrected <= 0.05 * n_columns
    assert n_drifted <= 0.02 * n_columns
