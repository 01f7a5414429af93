"""Claims about how strongly columns go with a target."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from base.metrics import Task
from features.associations import measure_associations

_N_ROWS = 2_000


def _frame(task: Task) -> pd.DataFrame:
    draw = np.random.default_rng(0)
    goal = draw.normal(size=_N_ROWS)
    return pd.DataFrame(
        {
            "same": goal,
            "opposite": -(goal**3),
            "category": np.where(goal > 0, "high", "low"),
            "noise": draw.normal(size=_N_ROWS),
            "coin": draw.choice(["heads", "tails"], _N_ROWS),
            "identifier": [f"row {index}" for index in range(_N_ROWS)],
            "constant": 1.0,
            "empty": np.nan,
            "target": goal if task == "regression" else goal > 0,
        }
    )


@pytest.mark.parametrize("task", ["regression", "classification"])
def test_what_goes_with_the_target_comes_first_and_chance_last(task: Task) -> None:
    found = {tie.column: tie.value for tie in measure_associations(_frame(task), "target", task)}

    assert set(found) == {"same", "opposite", "category", "noise", "coin", "identifier"}
    assert set(list(found)[:3]) == {"same", "opposite", "category"}
    assert all(abs(found[name]) > 0.8 for name in ("same", "opposite", "category"))
    assert all(abs(found[name]) < 0.06 for name in ("noise", "coin", "identifier"))
    assert all(-1 <= value <= 1 for value in found.values())


def test_a_correlation_has_its_direction() -> None:
    found = {tie.column: tie.value for tie in measure_associations(_frame("regression"), "target", "regression")}

    assert found["same"] == pytest.approx(1)
    assert found["opposite"] == pytest.approx(-1)


def test_moments_and_infinities_are_quantities() -> None:
    frame = pd.DataFrame(
        {
            "at": pd.date_range("2024-01-01", periods=100, tz="UTC"),
            "far": [float("inf"), *range(99)],
            "target": range(100),
        }
    )

    found = {tie.column: tie.value for tie in measure_associations(frame, "target", "regression")}

    assert found["at"] == pytest.approx(1)
    assert 0.9 < found["far"] < 1
