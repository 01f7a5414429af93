"""Rows of a small world: two quantities and two categories, all independent."""

from __future__ import annotations

import numpy as np
import pandas as pd

from monitoring.drift import DriftReport, ReferenceProfile, make_profile, measure_drift

NUMERIC, CATEGORICAL = ("x", "y"), ("c", "town")


def make_rows(
    n_rows: int = 2_000, *, seed: int = 0, shift: float = 0.0, shares: tuple[float, ...] = (0.5, 0.3, 0.2)
) -> pd.DataFrame:
    """Draw rows; *shift* moves ``x`` by so many of its standard deviations, *shares* are those of ``c``."""
    draw = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "x": draw.normal(shift, 1, n_rows).astype("float32"),
            "y": draw.exponential(1, n_rows).astype("float32"),
            "c": draw.choice(["a", "b", "c"], n_rows, p=shares).astype(object),
            "town": np.array([f"town {number}" for number in draw.geometric(0.1, n_rows)], dtype=object),
        }
    )


def make_reference(rows: pd.DataFrame | None = None) -> ReferenceProfile:
    """Profile rows of this world."""
    return make_profile(make_rows() if rows is None else rows, numeric=NUMERIC, categorical=CATEGORICAL)


def compare(window: pd.DataFrame, reference: pd.DataFrame | None = None) -> DriftReport:
    """Compare a window column by column."""
    return measure_drift(make_reference(reference), window, with_multivariate=False).report
