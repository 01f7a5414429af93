"""Laws of the cost-aware policy: a pure function of its documents, in which a dearer training never comes earlier."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.errors import ArgumentError
from monitoring.policies.cost_aware import LabelledBatch, Method, PolicyDecision, PolicyState, decline, step

METHODS: tuple[Method, ...] = ("paired", "probe", "static")

_losses = st.floats(0, 2, allow_nan=False)
_batches = st.lists(
    st.tuples(_losses, st.none() | _losses, st.none() | _losses, st.floats(0, 0.2), st.integers(0, 3)),
    max_size=40,
)
_prices = st.floats(0.001, 5)


def _label(rows: Sequence[tuple[float, float | None, float | None, float, int]]) -> list[LabelledBatch]:
    """Number batches, whose champions change now and then and never come back."""
    found, champion = [], 0
    for number, (loss, probe, twin, noise, change) in enumerate(rows):
        champion += change == 3
        found.append(
            LabelledBatch(
                number=number, champion=str(champion), loss=loss, probe_loss=probe, twin_loss=twin, noise=noise
            )
        )
    return found


def _run(
    batches: Sequence[LabelledBatch], price: float, method: Method, state: PolicyState | None = None
) -> tuple[PolicyState, list[PolicyDecision]]:
    state, decisions = state or PolicyState(), []
    for batch in batches:
        state, decision = step(state, batch, price=price, method=method)
        decisions.append(decision)
    return state, decisions


def _first(decisions: Sequence[PolicyDecision]) -> int:
    return next((place for place, decision in enumerate(decisions) if decision.retrain), len(decisions))


def _aged(number: int, gap: float, *, champion: str = "1", noise: float = 0.0) -> LabelledBatch:
    return LabelledBatch(
        number=number, champion=champion, loss=0.3 + gap, probe_loss=0.3, twin_loss=0.3 + gap, noise=noise
    )


@given(rows=_batches, method=st.sampled_from(METHODS))
def test_an_infinite_price_never_trains(
    rows: list[tuple[float, float | None, float | None, float, int]], method: Method
) -> None:
    _, decisions = _run(_label(rows), math.inf, method)

    assert not any(decision.retrain for decision in decisions)


@given(rows=_batches, method=st.sampled_from(METHODS), prices=st.tuples(_prices, _prices))
def test_a_dearer_training_never_comes_earlier(
    rows: list[tuple[float, float | None, float | None, float, int]], method: Method, prices: tuple[float, float]
) -> None:
    cheap, dear = (_first(_run(_label(rows), price, method)[1]) for price in sorted(prices))

    assert cheap <= dear


@given(rows=_batches, method=st.sampled_from(METHODS), price=_prices, cut=st.integers(0, 40))
def test_a_state_that_was_written_down_goes_on_as_if_nothing_had_happened(
    rows: list[tuple[float, float | None, float | None, float, int]], method: Method, price: float, cut: int
) -> None:
    batches = _label(rows)
    state, before = _run(batches[:cut], price, method)

    restored = PolicyState.model_validate_json(state.model_dump_json())
    after = _run(batches[cut:], price, method, restored)[1]

    assert restored == state
    assert before + after == _run(batches, price, method)[1]


@given(rows=_batches, method=st.sampled_from(METHODS), price=_prices)
def test_a_batch_that_comes_again_changes_nothing(
    rows: list[tuple[float, float | None, float | None, float, int]], method: Method, price: float
) -> None:
    state, _ = _run(_label(rows), price, method)

    for batch in _label(rows):
        again, decision = step(state, batch, price=price, method=method)
        assert (again, decision.retrain) == (state, False)


@given(rows=_batches, method=st.sampled_from(METHODS), price=_prices)
def test_what_has_added_up_stays_below_the_price_and_never_below_nothing(
    rows: list[tuple[float, float | None, float | None, float, int]], method: Method, price: float
) -> None:
    state = PolicyState()
    for batch in _label(rows):
        state, _ = step(state, batch, price=price, method=method)
        assert 0 <= state.excess < price


@given(level=st.floats(0, 5), gap=st.floats(0.01, 0.2))
def test_a_batch_that_is_harder_for_all_models_adds_no_more(level: float, gap: float) -> None:
    plain = [_aged(number, gap) for number in range(20)]
    harder = [
        batch.model_copy(
            update={
                "loss": batch.loss + level * (batch.number % 3),
                "probe_loss": 0.3 + level * (batch.number % 3),
                "twin_loss": 0.3 + gap + level * (batch.number % 3),
            }
        )
        for batch in plain
    ]

    for_plain, for_harder = (_run(batches, math.inf, "paired")[1] for batches in (plain, harder))

    assert [each.added for each in for_harder] == pytest.approx([each.added for each in for_plain], abs=1e-9)


@pytest.mark.parametrize("slope", [0.002, 0.01, 0.05])
def test_under_steady_ageing_it_waits_as_long_as_the_square_root_rule(slope: float) -> None:
    price = 0.5
    batches = [_aged(number, slope * (number + 1)) for number in range(100)]

    waited = _first(_run(batches, price, "paired")[1]) + 1

    assert waited == pytest.approx(math.sqrt(2 * price / slope), abs=1.5)


def test_a_sudden_fall_costs_about_the_price_before_it_trains() -> None:
    batches = [_aged(number, 0.0 if number < 10 else 0.05) for number in range(40)]

    waited = _first(_run(batches, 0.2, "paired")[1]) - 10

    assert 0.05 * waited <= 0.2 + 1e-9


@pytest.mark.parametrize("method", ["probe", "static"])
def test_what_champions_usually_lose_at_first_is_not_counted(method: Method) -> None:
    always_behind = [_aged(number, 0.1) for number in range(50)]

    _, decisions = _run(always_behind, 0.05, method)

    assert not any(decision.retrain for decision in decisions)


def test_while_a_training_is_on_its_way_nothing_is_counted_until_it_came_or_was_declined() -> None:
    state, decision = step(PolicyState(), _aged(0, 0.3), price=0.2)

    waiting, second = step(state, _aged(1, 0.3), price=0.2)
    after, third = step(waiting, _aged(2, 0.05, champion="2"), price=0.2)
    declined, again = step(decline(waiting), _aged(2, 0.3), price=0.2)

    assert (decision.retrain, second.retrain, third.retrain, again.retrain) == (True, False, False, True)
    assert (after.champion, after.waits) == ("2", None)
    assert after.excess == pytest.approx(0.05)
    assert declined.waits == "1"


def test_a_batch_without_its_probes_adds_nothing() -> None:
    batch = LabelledBatch(number=0, champion="1", loss=1.0)

    state, decision = step(PolicyState(), batch, price=0.01)

    assert (state.excess, state.last, decision.retrain) == (0.0, 0, False)


def test_chance_of_the_size_of_its_noise_adds_up_more_slowly() -> None:
    calm, noisy = (step(PolicyState(), _aged(0, 0.1, noise=noise), price=1.0)[0].excess for noise in (0.0, 0.1))

    assert calm == pytest.approx(0.1)
    assert noisy == pytest.approx(0.05)


@pytest.mark.parametrize("price", [-0.1, math.nan])
def test_a_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ArgumentError, match="expected 0 or more batches of full loss"):
        step(PolicyState(), _aged(0, 0.1), price=price)
