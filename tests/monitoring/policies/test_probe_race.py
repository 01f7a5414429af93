"""The race of probes: recent rows win where the world has changed, all history where it has not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ArgumentError
from monitoring.policies.labelled_rows import LabelledRows
from monitoring.policies.loss_units import unit_losses
from monitoring.policies.probe import Probe, fit_probe
from monitoring.policies.probe_race import race_probes, raced_rows

Floats = npt.NDArray[np.float64]

_BATCH = 200


def _draw_rows(n_rows: int, *, flips_at: int) -> LabelledRows:
    """Rows whose feature says the class, and from a row on the other one."""
    draw = np.random.default_rng(0)
    feature = draw.normal(size=n_rows)
    target = ((feature > 0) != (np.arange(n_rows) >= flips_at)).astype(np.int64)
    return LabelledRows(pd.DataFrame({"feature": feature}), target)


def _fit(rows: LabelledRows) -> Probe:
    return fit_probe(rows.features, rows.target, n_classes=2, numeric=("feature",), categorical=(), seed=0)


def _lose(target: npt.NDArray[Any], answers: Floats) -> Floats:
    return unit_losses("classification", target, answers, full=1.0)


def _noting() -> tuple[Callable[[LabelledRows], Probe], list[int]]:
    sizes: list[int] = []

    def find(rows: LabelledRows) -> Probe:
        sizes.append(len(rows.target))
        return _fit(rows)

    return find, sizes


def test_after_a_flip_the_probe_knows_the_new_world_and_one_of_all_history_does_not() -> None:
    known, newest = _draw_rows(8_000, flips_at=6_400), _draw_rows(8_200, flips_at=6_400).newest(200)

    losses = [
        float(_lose(newest.target, probe.predict(newest.features)).mean())
        for probe in (race_probes(known, _fit, _lose, n_judged=_BATCH), _fit(known))
    ]

    assert losses[0] < 0.3
    assert losses[1] > 0.6


def test_where_windows_tie_all_history_wins() -> None:
    find, sizes = _noting()

    race_probes(_draw_rows(4_000, flips_at=4_000), find, lambda target, _: np.zeros(len(target)), n_judged=_BATCH)

    assert sizes == [3_800, 1_900, 950, 4_000]


def test_the_champions_window_races_along() -> None:
    find, sizes = _noting()

    race_probes(_draw_rows(4_000, flips_at=3_400), find, _lose, n_judged=_BATCH, champion=500)

    assert sizes == [3_800, 1_900, 950, 500, 500]


def test_probes_that_are_kept_cost_one_for_each_window_and_batch() -> None:
    kept: dict[str, Probe] = {}
    fitted: list[int] = []

    def find(rows: LabelledRows) -> Probe:
        key = rows.digest()
        if key not in kept:
            fitted.append(len(rows.target))
            kept[key] = _fit(rows)
        return kept[key]

    rows = _draw_rows(4_400, flips_at=4_400)
    race_probes(LabelledRows(rows.features.head(4_200), rows.target[:4_200]), find, _lose, n_judged=_BATCH)
    fitted.clear()

    race_probes(rows, find, _lose, n_judged=_BATCH)

    assert len(fitted) == 3


@pytest.mark.parametrize("n_judged", [0, 60, 300])
def test_too_few_rows_for_a_race_leave_all_history(n_judged: int) -> None:
    find, sizes = _noting()

    race_probes(_draw_rows(100, flips_at=100), find, _lose, n_judged=n_judged)

    assert sizes[-1] == 100


def test_too_few_rows_for_any_probe_are_refused() -> None:
    with pytest.raises(ArgumentError, match="was given 20 labelled rows"):
        race_probes(_draw_rows(20, flips_at=20), _fit, _lose, n_judged=10)


@given(n_rows=st.integers(1, 10_000), champion=st.none() | st.integers(0, 20_000))
def test_every_raced_window_is_of_the_past_there_is_and_the_longest_comes_first(
    n_rows: int, champion: int | None
) -> None:
    raced = list(raced_rows(n_rows, champion=champion).values())

    assert raced[0] == n_rows
    assert raced == sorted(raced, reverse=True)
