"""Distances of features from their reference."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from monitoring.drift import DriftReport, measure_drift


def _rows(
    n_rows: int = 2_000, *, seed: int = 0, shift: float = 0.0, shares: tuple[float, ...] = (0.5, 0.3, 0.2)
) -> pd.DataFrame:
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": draw.normal(shift, 1, n_rows).astype("float32"),
            "y": draw.exponential(1, n_rows).astype("float32"),
            "c": draw.choice(["a", "b", "c"], n_rows, p=shares).astype(object),
        }
    )


def _measure(reference: pd.DataFrame, current: pd.DataFrame) -> DriftReport:
    return measure_drift(reference, current, numeric=["x", "y"], categorical=["c"]).report


@pytest.mark.parametrize(
    ("current", "drifted"),
    [
        (_rows(seed=1), ()),
        (_rows(seed=1, shift=0.5), ("x",)),
        (_rows(seed=1, shift=-0.5), ("x",)),
        (_rows(seed=1, shares=(0.1, 0.1, 0.8)), ("c",)),
        (_rows(seed=1, shift=2.0, shares=(0.1, 0.1, 0.8)), ("x", "c")),
        (_rows(seed=1).assign(c="new"), ("c",)),
        (_rows(seed=1).assign(x=lambda rows: rows["x"] * 1_000), ("x",)),
        (_rows(seed=1).assign(x=0.0), ("x",)),
    ],
    ids=["nothing", "up", "down", "shares", "both", "a new category", "another unit", "stuck"],
)
def test_a_planted_shift_is_found_and_nothing_else(current: pd.DataFrame, drifted: tuple[str, ...]) -> None:
    report = _measure(_rows(), current)

    assert report.drifted == drifted
    assert report.share == pytest.approx(len(drifted) / 3)
    assert report.not_measured == {}


def test_the_farthest_feature_comes_first() -> None:
    report = _measure(_rows(), _rows(seed=1, shift=5.0, shares=(0.3, 0.3, 0.4)))

    assert report.drifted == ("x", "c")
    assert {column.column: column.method for column in report.columns} == {
        "x": "wasserstein",
        "y": "wasserstein",
        "c": "jensenshannon",
    }


@pytest.mark.parametrize(
    ("side", "column", "values"),
    [
        ("window", "x", np.nan),
        ("window", "x", np.inf),
        ("window", "c", None),
        ("reference", "y", np.nan),
        ("reference", "c", np.nan),
    ],
)
def test_a_feature_without_a_value_is_named_and_the_others_are_measured(side: str, column: str, values: Any) -> None:
    reference, current = _rows(), _rows(seed=1)
    (reference if side == "reference" else current)[column] = values

    report = _measure(reference, current)

    assert report.not_measured == {column: f"no value in the {side}"}
    assert {found.column for found in report.columns} == {"x", "y", "c"} - {column}
    assert report.share == 0


def test_infinity_and_gaps_leave_a_finite_distance() -> None:
    current = _rows(seed=1)
    current.loc[::7, "x"] = np.inf
    current.loc[::5, "c"] = None
    reference = _rows()
    reference.loc[::6, "c"] = np.nan

    report = _measure(reference, current)

    assert all(np.isfinite(column.distance) for column in report.columns)
    assert report.drifted == ()


def test_an_empty_window_measures_nothing() -> None:
    report = _measure(_rows(), _rows().head(0))

    assert report.columns == ()
    assert set(report.not_measured) == {"x", "y", "c"}
    assert (report.share, report.n_current) == (0.0, 0)


def test_a_single_row_is_measured() -> None:
    assert len(_measure(_rows(), _rows(1)).columns) == 3


def test_a_constant_feature_that_stays_has_not_drifted() -> None:
    report = _measure(_rows().assign(y=3.0), _rows(seed=1).assign(y=3.0))

    assert report.drifted == ()


def test_a_model_of_categories_alone_is_measured() -> None:
    page = measure_drift(_rows(), _rows(seed=1), numeric=[], categorical=["c"])

    assert [column.column for column in page.report.columns] == ["c"]
    assert page.html is None


def test_the_page_is_whole_in_itself() -> None:
    page = measure_drift(_rows(), _rows(seed=1), numeric=["x"], categorical=["c"], with_page=True)

    assert page.html is not None
    assert page.html.lstrip().lower().startswith("<!doctype html") or "<html" in page.html[:2000]


def test_a_report_is_read_back_as_it_was() -> None:
    report = _measure(_rows(), _rows(seed=1, shift=2.0))

    assert DriftReport.model_validate(report.model_dump(mode="json")) == report
