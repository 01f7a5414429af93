"""Claims about the account's arithmetic: gain minus price, a class for each training, and sums of what can be told."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.pnl import Block, ComparedReign, CostedTraining, Gain, assess, make_blocks, sum_gain
from monitoring.pnl.assessment import classify

MAY = datetime(2024, 5, 1, tzinfo=UTC)
WEEK = timedelta(days=7)

gaps = st.lists(st.floats(-1, 1), min_size=1, max_size=60)


def _training(number: int = 2, **more: Any) -> CostedTraining:
    told: dict[str, Any] = {"trigger": "drift", "status": "promoted", "price": 0.2, "version": number}
    return CostedTraining(f"r{number}", MAY + number * WEEK, **(told | more))


def _reign(gap: float = 0.1, *, n_windows: int = 8, number: int = 2, **more: Any) -> ComparedReign:
    blocks = tuple(Block(window, 1.0, gap + 0.01 * (-1) ** window) for window in range(n_windows))
    told: dict[str, Any] = {"until": MAY + 99 * WEEK, "blocks": blocks}
    return ComparedReign(number, number - 1, MAY + number * WEEK, **(told | more))


@given(gaps=gaps, share=st.floats(0.01, 1), fewest=st.integers(1, 12))
def test_a_gain_is_the_sum_over_windows_of_their_mean_gaps_however_they_are_cut(
    gaps: list[float], share: float, fewest: int
) -> None:
    windows = np.arange(len(gaps), dtype=np.int64) // 7
    numbers = np.unique(windows).tolist()

    gain = sum_gain(make_blocks(np.array(gaps), windows, dict.fromkeys(numbers, share), fewest=fewest))

    assert gain is not None
    assert gain.value == pytest.approx(
        share * sum(np.array(gaps)[windows == number].mean() for number in numbers), abs=1e-9
    )
    assert gain.n_windows == len(numbers)


@given(gaps=gaps)
def test_an_interval_lies_around_its_gain(gaps: list[float]) -> None:
    gain = sum_gain([Block(number, 1.0, gap) for number, gap in enumerate(gaps)])

    assert gain is not None
    if gain.low is not None and gain.high is not None:
        assert gain.low <= gain.value <= gain.high


def test_the_interval_covers_as_often_as_it_says_where_windows_differ_by_chance() -> None:
    draw = np.random.default_rng(0)
    n_covered = 0
    for _ in range(1_000):
        means = 0.02 + draw.normal(0, 0.05, 12)
        rows = np.concatenate([mean + draw.normal(0, 0.5, 40) for mean in means])
        gain = sum_gain(make_blocks(rows, np.repeat(np.arange(12), 40), dict.fromkeys(range(12), 1.0)))
        assert gain is not None
        assert gain.low is not None
        assert gain.high is not None
        n_covered += gain.low <= 12 * 0.02 <= gain.high

    assert 0.93 <= n_covered / 1_000 <= 0.97


def test_rows_alike_within_a_window_are_no_more_evidence_than_the_window() -> None:
    alike = np.repeat([0.3, -0.2, 0.1, 0.4, -0.1, 0.2, 0.0, 0.1], 5)
    many = np.repeat([0.3, -0.2, 0.1, 0.4, -0.1, 0.2, 0.0, 0.1], 500)
    shares = dict.fromkeys(range(8), 1.0)

    few_rows = sum_gain(make_blocks(alike, np.repeat(np.arange(8), 5), shares))
    many_rows = sum_gain(make_blocks(many, np.repeat(np.arange(8), 500), shares))

    assert few_rows is not None
    assert many_rows is not None
    assert few_rows.standard_error == pytest.approx(many_rows.standard_error)


def test_two_windows_are_cut_into_parts_to_tell_a_spread() -> None:
    blocks = make_blocks(np.zeros(200), np.repeat([0, 1], 100), {0: 1.0, 1: 0.5})

    assert len(blocks) == 8
    assert sum(block.share for block in blocks) == pytest.approx(1.5)


@pytest.mark.parametrize("status", ["kept", "refused", "unchanged", "failed"])
def test_what_was_not_promoted_brought_nothing_and_cost_its_price(status: str) -> None:
    (one,) = assess([_training(status=status)], []).trainings

    assert (one.klass, one.net) == ("changed nothing", -0.2)
    assert one.gain is not None
    assert (one.gain.low, one.gain.value, one.gain.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("status", "why"), [("waiting", "it waits for people's approval"), ("running", "it is under way")]
)
def test_what_is_not_decided_is_too_early_to_tell(status: str, why: str) -> None:
    (one,) = assess([_training(status=status)], []).trainings

    assert (one.klass, one.why, one.net) == ("too early to tell", why, None)


def test_a_kept_version_that_a_person_promoted_later_is_judged_by_its_reign() -> None:
    (one,) = assess([_training(status="kept")], [_reign()]).trainings

    assert one.klass == "paid off"


def test_reigns_of_one_version_are_added_up() -> None:
    (one,) = assess([_training()], [_reign(), _reign()]).trainings

    assert one.gain is not None
    assert one.gain.value == pytest.approx(1.6)


def test_an_open_reign_is_judged_so_far_once_four_windows_have_matured() -> None:
    first: dict[str, Any] = {"until": None, "n_pending": 1, "matures_at": MAY + 5 * WEEK}
    three = assess([_training()], [_reign(0.0, n_windows=3, **first)]).trainings[0]
    four = assess([_training()], [_reign(0.0, n_windows=4, **first)]).trainings[0]
    clear = assess([_training()], [_reign(0.5, n_windows=3, **first)]).trainings[0]

    assert (three.klass, three.why) == ("too early to tell", "1 of its windows has not matured")
    assert three.matures_at == MAY + 5 * WEEK
    assert (four.klass, four.why, four.is_open) == ("changed nothing", "so far", True)
    assert (clear.klass, clear.why) == ("paid off", "so far")


def test_a_reign_that_is_over_waits_for_its_last_labels_unless_all_is_clear() -> None:
    late: dict[str, Any] = {"n_pending": 2, "matures_at": MAY + 20 * WEEK}
    unclear = assess([_training()], [_reign(0.0, **late)]).trainings[0]
    harmful = assess([_training()], [_reign(-0.5, **late)]).trainings[0]

    assert (unclear.klass, unclear.net, unclear.matures_at) == ("too early to tell", None, MAY + 20 * WEEK)
    assert (harmful.klass, harmful.why) == ("did harm", "so far")


def test_what_cannot_be_compared_is_not_counted_and_says_why() -> None:
    first = _reign(blocks=(), trouble="it was the first: there was no version before it")
    unlabelled = _reign(number=3, blocks=())
    account = assess([_training(), _training(3)], [first, unlabelled])

    assert [one.klass for one in account.trainings] == ["cannot be told"] * 2
    assert account.trainings[0].why == "it was the first: there was no version before it"
    assert "in the log with its label" in account.trainings[1].why
    assert (account.totals.n_counted, account.totals.spent, account.totals.spent_uncounted) == (0, 0, 0.4)


def test_a_rollback_tells_what_it_spared_and_credits_no_training() -> None:
    returned = ComparedReign(1, 2, MAY + 9 * WEEK, kind="rollback", reason="complaints", blocks=_reign().blocks)
    account = assess([_training(1), _training(2)], [_reign(-0.5, until=MAY + 9 * WEEK), returned])
    first, second = account.trainings

    assert account.prevented == pytest.approx(0.8)
    assert second.klass == "did harm"
    assert second.rolled_back == account.rollbacks[0]
    assert (first.rolled_back, first.gain and first.gain.value) == (None, 0)


def test_totals_add_up_by_what_had_asked() -> None:
    trainings = [_training(2), _training(3, trigger="schedule", status="kept"), _training(4, trigger="schedule")]
    account = assess(trainings, [_reign(0.1, number=2), _reign(-0.2, number=4)])

    assert account.headline == "1 of 3 trainings changed nothing; 1 paid off, 1 did harm"
    assert {kind: round(total.net, 3) for kind, total in account.by_trigger.items()} == {"drift": 0.6, "schedule": -2.0}
    assert account.totals.net == pytest.approx(sum(total.net for total in account.by_trigger.values()))
    assert account.totals.low < account.totals.gained < account.totals.high


@given(value=st.floats(-2, 2), half=st.floats(0, 2), price=st.floats(0, 2))
def test_every_gain_has_one_class_and_a_dearer_training_never_a_better_one(
    value: float, half: float, price: float
) -> None:
    order = ["did harm", "changed nothing", "brought less than it cost", "perhaps paid off", "paid off"]
    gain = Gain(value=value, low=value - half, high=value + half, standard_error=half, n_windows=8, n_blocks=8)

    assert order.index(classify(gain, price + 0.1)) <= order.index(classify(gain, price))
