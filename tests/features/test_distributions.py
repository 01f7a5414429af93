"""Claims about binned distributions and the distance between them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.rows.duck import open_duckdb
from features.distributions import MOVED, Bins, choose_bins, count_bins, measure_distance

_counts = st.lists(st.integers(0, 500), min_size=4, max_size=4).map(np.array)


@given(one=_counts, other=_counts)
def test_a_distance_is_symmetric_and_between_nothing_and_one(one: np.ndarray, other: np.ndarray) -> None:
    if not one.sum() or not other.sum():
        assert np.isnan(measure_distance(one, other))
    else:
        assert measure_distance(one, other) == pytest.approx(measure_distance(other, one), abs=1e-9)
        assert 0 <= measure_distance(one, other) <= 1


@given(one=_counts.filter(lambda counts: counts.sum() > 0))
def test_nothing_has_no_distance_from_itself(one: np.ndarray) -> None:
    assert measure_distance(one, one) == 0


@pytest.mark.parametrize("n_rows", [100, 1_000, 100_000])
@pytest.mark.parametrize("n_bins", [2, 20])
def test_two_samples_of_one_distribution_seldom_count_as_moved(n_rows: int, n_bins: int) -> None:
    draw = np.random.default_rng(0)
    shares = np.full(n_bins, 1 / n_bins)

    distances = [
        measure_distance(draw.multinomial(n_rows, shares), draw.multinomial(n_rows, shares)) for _ in range(200)
    ]

    # Uncorrected, every one of those of 100 rows in 20 bins is above the limit.
    assert np.mean(np.array(distances) >= MOVED) < 0.04


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([1.0, 2.0, None, 1e300, float("inf")], "number"),
        ([1, 2, 2, None, 2**53], "integer"),
        (["a", "it's", "", None, "a"], "text"),
        ([True, False, None, True, True], "boolean"),
        ([pd.Timestamp("2024-01-01", tz="UTC"), None, pd.Timestamp("1900-01-01", tz="UTC"), None, None], "time"),
        ([None] * 5, "number"),
        ([None] * 5, "text"),
    ],
)
def test_every_row_is_in_one_bin_and_missing_ones_in_the_last(values: list[object], kind: str) -> None:
    types = {"number": "DOUBLE", "integer": "BIGINT", "text": "VARCHAR", "boolean": "BOOLEAN", "time": "TIMESTAMPTZ"}
    with open_duckdb() as connection:
        connection.execute(f'CREATE TABLE rows (number BIGINT, "a ""b""" {types[kind]})')
        connection.executemany("INSERT INTO rows VALUES (?, ?)", list(enumerate(values)))
        bins = choose_bins(connection, "rows", 'a "b"', kind)  # type: ignore[arg-type]
        counts = count_bins(connection, "rows", bins)[0]
        by_row = count_bins(connection, "rows", bins, group="number")

    assert counts.sum() == len(values)
    assert counts[-1] == sum(value is None for value in values)
    assert sum(by_row.values()).tolist() == counts.tolist()  # type: ignore[union-attr]


def test_a_value_that_no_bin_knows_is_another_one() -> None:
    with open_duckdb() as connection:
        connection.execute("CREATE TABLE rows AS SELECT unnest(['a', 'b', 'new', NULL]) AS name")
        counts = count_bins(connection, "rows", Bins("name", "text", levels=("a", "b")))

    assert counts[0].tolist() == [1, 1, 1, 1]
