"""Slices that are looked for: the planted one is found, nothing is found where nothing is, and no row counts twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from base.bootstrap import MOST_BLOCKS
from base.row_groups import group_rows
from tasks.slice_search import search_slices


def _rows(n_rows: int = 4_000, seed: int = 0) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    rows = pd.DataFrame(
        {
            "hour": draw.integers(0, 24, n_rows),
            "distance": draw.uniform(0, 100, n_rows),
            "carrier": draw.choice(["EV", "UA", "B6"], n_rows).astype(object),
            "is_shared": pd.array(draw.random(n_rows) < 0.3, dtype="boolean"),
        }
    )
    rows.loc[draw.random(n_rows) < 0.1, "carrier"] = None
    return rows


@pytest.mark.parametrize(
    ("hard", "words"),
    [
        (lambda rows: rows["carrier"] == "EV", "carrier = EV"),
        (lambda rows: rows["carrier"].isna(), "carrier is missing"),
        (lambda rows: (rows["hour"] > 18) & (rows["carrier"] == "UA"), "hour > 18 and carrier = UA"),
        (lambda rows: rows["is_shared"], "is_shared = True"),
    ],
)
def test_a_slice_that_is_harder_is_found_in_words(hard: Callable[[pd.DataFrame], Any], words: str) -> None:
    rows = _rows()
    is_hard: npt.NDArray[np.bool_] = hard(rows).fillna(False).to_numpy(dtype=bool)
    losses = np.random.default_rng(1).exponential(0.3, len(rows)) + is_hard

    found = search_slices(rows, losses, None)

    assert [each.condition for each in found] == [words]
    assert is_hard[found[0].rows].all()


def test_no_slice_is_found_where_none_is_worse() -> None:
    for seed in range(5):
        rows = _rows(seed=seed)
        losses = np.random.default_rng(seed + 100).exponential(0.3, len(rows))

        assert search_slices(rows, losses, losses[::-1].copy()) == []


def test_a_slice_is_measured_only_where_it_was_not_looked_for() -> None:
    rows = _rows()
    losses = np.random.default_rng(1).random(len(rows)) + 1.0 * (rows["carrier"] == "EV").to_numpy()

    (found,) = search_slices(rows, losses, None)

    stretch = np.arange(len(rows)) * MOST_BLOCKS // len(rows)
    assert set(stretch[found.rows] % 2) == {1}
    assert found.rows.sum() == ((rows["carrier"] == "EV").to_numpy() & (stretch % 2 == 1)).sum()
    # What the half that was searched holds does not move the figures of the other half.
    losses[stretch % 2 == 0] *= 3
    (again,) = search_slices(rows, losses, None)
    assert (again.rows == found.rows).all()


def test_a_slice_where_only_the_challenger_is_worse_than_the_champion_is_found() -> None:
    rows = _rows()
    both = np.random.default_rng(1).random(len(rows))
    is_worse = (rows["distance"] > 80).to_numpy()

    found = search_slices(rows, both + 0.2 * is_worse, both + 0.2 * ~is_worse)

    assert any(each.columns == ("distance",) and "distance >" in each.condition for each in found)


@pytest.mark.parametrize("n_rows", [0, 1, 40])
def test_too_few_rows_give_no_slice(n_rows: int) -> None:
    rows = _rows(max(n_rows, 1)).head(n_rows)

    assert search_slices(rows, np.arange(float(n_rows)), None) == []


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1.5, np.nan, 3.0] * 40),
        pd.Series(range(500), dtype="float64"),
        pd.Series([1] * 300 + list(range(200))),
        pd.Series([f"c{index % 40}" for index in range(400)] + [None] * 7),
        pd.Series([True, None, False] * 20, dtype="boolean"),
        pd.Series([None] * 50, dtype=object),
        pd.Series([np.nan] * 50),
    ],
)
def test_each_row_belongs_to_exactly_one_group(values: pd.Series) -> None:
    groups = group_rows(values)

    assert (np.sum(list(groups.values()), axis=0) == 1).all()
    assert (groups.get("missing", np.zeros(len(values), dtype=bool)) == values.isna().to_numpy()).all()
    assert len(groups) <= 22
