"""Claims about the replay of policies: foresight is the cheapest, races see no future, rivals hear a change."""

from __future__ import annotations

import functools
import itertools

import numpy as np
import pandas as pd
import pytest

from benchmarks.backtest_planted import plant_change
from benchmarks.backtest_rivals import adwin, ddm, drifted_share, page_hinkley_on_rows
from benchmarks.policy_replay import DEFAULT, DELAY, POLICIES, PRICES, Policy, cost_of, every, foresee, replay, serve
from benchmarks.policy_streams import Fits, PolicyStream, make_stream

_N_BATCHES, _N_ROWS, _FIRST = 12, 40, 400
_CHANGE = 4


def _ageing_fits(*, flips: bool, seed: int = 0) -> Fits:
    """Losses of a world that flips before batch 4: models of all history mend slowly, those of recent rows soon."""
    draw = np.random.default_rng(seed)
    edges = _FIRST + _N_ROWS * np.arange(_N_BATCHES + 1)
    stops = np.concatenate([_FIRST - _N_ROWS * np.array([3, 2, 1]), edges])
    n_rows = int(edges[-1] - stops[0])
    batch_of_row = np.repeat(np.arange(-3, _N_BATCHES), _N_ROWS)
    levels = draw.random(n_rows)
    losses = {}
    for window, mends in (("all", 20), ("recent", 2)):
        table = np.full((len(stops), n_rows), np.nan, np.float32)
        for place in range(len(stops)):
            known = max(0, place - 3 - _CHANGE)
            wrong = 0.1 + (0.7 * max(0.0, 1 - known / mends) * (batch_of_row >= _CHANGE) if flips else 0.0)
            table[place, place * _N_ROWS :] = (levels < wrong)[place * _N_ROWS :]
        losses[window] = table
    return Fits(stops, edges, models=losses, probes=losses)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def stream() -> PolicyStream:
    return make_stream("flips", "as it was", _ageing_fits(flips=True))


@pytest.mark.parametrize("price", PRICES)
def test_no_schedule_is_cheaper_than_the_one_foreseen(stream: PolicyStream, price: float) -> None:
    foreseen = foresee(stream, price)
    days = range(_N_BATCHES - 1 - DELAY)
    schedules = (list(found) for n in range(4) for found in itertools.combinations(days, n))
    # A training waits until the one before it serves.
    costs = [
        cost_of(stream, each, price) for each in schedules if all(b - a > DELAY for a, b in itertools.pairwise(each))
    ]

    assert cost_of(stream, foreseen.schedule, price) == pytest.approx(foreseen.cost)
    assert foreseen.cost <= min(costs) + 1e-9


def test_a_model_serves_one_batch_after_its_labels_came(stream: PolicyStream) -> None:
    assert serve(stream, [2]).tolist() == [0] * (2 + 1 + DELAY) + [3] * (_N_BATCHES - 3 - DELAY)


def test_a_race_looks_at_no_row_after_the_stop() -> None:
    fits = _ageing_fits(flips=True)
    known = make_stream("as it is", "as it was", fits)
    until = 7
    for table in fits.models.values():
        table[:, 3 * _N_ROWS + until * _N_ROWS :] = 1 - table[:, 3 * _N_ROWS + until * _N_ROWS :]

    other = make_stream("another future", "as it was", fits)

    np.testing.assert_array_equal(known.begins[: until + 1], other.begins[: until + 1])
    np.testing.assert_array_equal(known.twins[:, :until], other.twins[:, :until])
    np.testing.assert_array_equal(known.probes[:, :until], other.probes[:, :until])


def test_after_a_flip_the_probe_learns_from_recent_rows_and_the_default_policy_trains(stream: PolicyStream) -> None:
    (begins,) = {int(each) for each in stream.begins[: _CHANGE + 1]}

    assert begins == 0
    assert POLICIES[DEFAULT](stream, 0.2)[0] in range(_CHANGE, _CHANGE + 4)
    assert POLICIES[DEFAULT](make_stream("quiet", "as it was", _ageing_fits(flips=False)), 0.2) == []


def test_batches_merged_by_two_are_the_same_losses(stream: PolicyStream) -> None:
    merged = make_stream("flips", "as it was", _ageing_fits(flips=True), merged=2)

    assert merged.models.shape == (_N_BATCHES // 2 + 1, _N_BATCHES // 2)
    assert merged.models[0] == pytest.approx(stream.models[0].reshape(-1, 2).mean(axis=1))


def test_the_cheapest_policy_comes_first_and_none_beats_foresight(stream: PolicyStream) -> None:
    replayed = replay({**POLICIES, "every 3": functools.partial(every, period=3)}, [stream], [stream])

    ratios = [one.mean for one in replayed]
    assert ratios == sorted(ratios)
    assert min(ratios) >= 1


@pytest.mark.parametrize(("rival", "is_calm"), [(adwin, True), (ddm, False), (page_hinkley_on_rows, True)])
def test_detectors_hear_errors_that_rise_and_calm_ones_nothing_else(rival: Policy, is_calm: bool) -> None:
    pytest.importorskip("river")
    draw = np.random.default_rng(0)
    edges = 400 * np.arange(_N_BATCHES + 1)
    quiet = np.tile((draw.random(int(edges[-1])) < 0.1).astype(np.float32), (_N_BATCHES + 1, 1))
    risen = quiet.copy()
    risen[:, edges[_CHANGE] :] = draw.random(int(edges[-1] - edges[_CHANGE])) < 0.8
    heard = []
    for rows in (quiet, risen):
        models = np.stack([part.mean(axis=1) for part in np.split(rows, _N_BATCHES, axis=1)], axis=1)
        unknown = np.zeros((0, 0))
        stream = PolicyStream(
            "errors", "as it was", len(rows), models, unknown, unknown, unknown, rows, edges, np.zeros(0, np.intp)
        )
        heard.append(rival(stream, 0.2))

    assert not (is_calm and heard[0])
    assert heard[1][0] in (_CHANGE, _CHANGE + 1)


def test_the_measure_of_dataset_drift_is_the_one_of_evidentlys_preset() -> None:
    draw = np.random.default_rng(0)
    reference = pd.DataFrame({"size": draw.normal(size=1_500), "town": draw.choice(["Ulm", "Aix"], 1_500)})
    reference["gone"] = np.nan
    window = reference.iloc[:300].assign(size=reference["size"][:300] + 1)

    shares = [drifted_share(reference, window, whole_preset=whole) for whole in (False, True)]

    assert shares == [0.5, 0.5]


def test_a_planted_flip_turns_a_feature_round_and_a_quiet_stream_does_not() -> None:
    def slopes(change: str) -> list[float]:
        features, target = plant_change(change, "regression", 1)  # type: ignore[arg-type]
        shown = features["x1"].to_numpy() > 0
        halves = (slice(0, 2_000), slice(-2_000, None))
        return [
            float(np.polyfit(features["x0"][half][shown[half]], target[half][shown[half]], 1)[0]) for half in halves
        ]

    assert slopes("quiet") == pytest.approx([2, 2], abs=0.3)
    assert slopes("sudden") == pytest.approx([2, -2], abs=0.3)
