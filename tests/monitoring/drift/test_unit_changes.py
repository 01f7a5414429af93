"""Claims about units: a conversion is found, and other weather is not taken for one."""

from __future__ import annotations

import numpy as np
import pytest

from monitoring.drift.distributions import take_steps
from monitoring.drift.unit_changes import find_unit_change, take_unit_facts


def _find(reference: np.ndarray, window: np.ndarray) -> float | None:
    found = find_unit_change(take_unit_facts(reference), take_steps(np.sort(reference)), np.sort(window))
    return None if found is None else found[1]


@pytest.mark.parametrize("factor", [1.609344, 3.2808399, 1000.0, 0.001])
def test_a_conversion_is_found_in_a_window_of_another_week(factor: float) -> None:
    draw = np.random.default_rng(1)

    assert _find(draw.gamma(4, 5, 3_000), draw.gamma(4, 5, 800) * factor) == pytest.approx(factor)


@pytest.mark.parametrize(("mean", "spread"), [(55.0, 8.0), (55.0, 12.0), (60.0, 17.0)])
def test_spring_is_no_change_of_unit(mean: float, spread: float) -> None:
    draw = np.random.default_rng(2)
    winter = draw.normal(25, 17, 5_000).round(2)

    assert _find(winter, draw.normal(mean, spread, 6_000).round(2)) is None
