"""Claims about planted changes: on generated rows triage says what each is, and quiet windows stay quiet."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from base.monitor_spec import MonitorSpec
from benchmarks.gate_streams import DataSet
from benchmarks.planted_changes import Ground, confuse, make_ground, share_right
from benchmarks.quiet_streams import watch_quietly


@pytest.fixture(scope="module")
def ground() -> Ground:
    """A price that hangs on distance and town; noise does not matter."""
    draw = np.random.default_rng(0)
    n_rows = 8_000
    towns = np.array(["Aix", "Bonn", "Ulm", "Graz"])
    frame = pd.DataFrame(
        {
            "distance": draw.gamma(4.0, 3.0, n_rows),
            "noise": draw.normal(0.0, 1.0, n_rows),
            "town": towns[draw.integers(0, 4, n_rows)],
        }
    )
    frame["price"] = 2 * frame["distance"] + 5 * (frame["town"] == "Ulm") + draw.normal(0, 2.0, n_rows)
    return make_ground(DataSet("generated", "regression", "price"), frame)


def test_triage_says_what_was_planted(ground: Ground) -> None:
    found = confuse([ground], n_trials=3, n_rows=400, n_quiet=8)

    assert {change for _, change, _, _ in found} >= {"none", "unit flip", "null burst", "mean shift", "concept flip"}
    assert share_right(found) >= 0.95, found


def test_rows_that_are_only_shuffled_keep_the_budget(ground: Ground) -> None:
    result = watch_quietly(ground, "rows shuffled", n_windows=60, n_rows=200, spec=MonitorSpec(window="1 day"))

    assert result.n_alarms <= 2
