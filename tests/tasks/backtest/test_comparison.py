"""Claims about policies side by side: what is cheapest is recommended, and only what a definition can say."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from base.definition import read_pipeline
from base.triggers_spec import TriggersSpec
from tasks.backtest.comparison import Walked, compare_policies
from tasks.backtest.oracle import Schedule
from tasks.backtest.policies import EVERY_WINDOW, EVIDENTLY, NEVER, OWN, Policy
from tasks.backtest.recommendation import recommend
from tasks.backtest.result import PolicyResult, ReplayedTraining, ReplayedWindow

START = datetime(2024, 1, 1, tzinfo=UTC)
WEEK = timedelta(days=7)


def _end(number: int) -> datetime:
    return START + (number + 1) * WEEK


def _policy(name: str) -> Policy:
    if name == EVERY_WINDOW:
        return Policy(name=name, every=1)
    if name == EVIDENTLY:
        return Policy(name=name, signal="evidently", kind="comparison")
    return Policy(name=name, triggers=TriggersSpec(), kind="own" if name == OWN else "shipped")


def _walked(name: str, losses: Sequence[float | None], trained: Sequence[int], **more: Any) -> Walked:
    windows = tuple(
        ReplayedWindow(number=number, start=_end(number - 1), stop=_end(number), n_rows=9, loss=loss)
        for number, loss in enumerate(losses)
    )
    trainings = tuple(
        ReplayedTraining(
            window=number,
            at=_end(number),
            trigger="schedule",
            promoted=True,
            verdict="better",
            gain=0.1,
            price=0.2,
            seconds=2.0,
            klass="changed nothing" if number == 1 else "paid off",
        )
        for number in trained
    )
    section = {} if name == EVIDENTLY else {"triggers": {"policy": "cost-aware", "price": 0.2}}
    return Walked(_policy(name), section, windows, trainings, **more)


def _compare(*more: Walked, price: float = 0.2, oracle: Schedule | None = None) -> dict[str, PolicyResult]:
    always = _walked(EVERY_WINDOW, [0.2] * 8, list(range(8)))
    never = _walked(NEVER, [0.2, 0.2] + [0.6] * 6, [])
    return {one.name: one for one in compare_policies([always, never, *more], price=price, oracle=oracle)}


def test_a_cost_is_the_loss_and_the_price_of_the_trainings() -> None:
    found = _compare(_walked("two", [0.2, 0.2, 0.3] + [0.2] * 5, [1, 3]))

    assert found["two"].cost == pytest.approx(1.7 + 0.4)
    assert found[EVERY_WINDOW].cost == pytest.approx(1.6 + 1.6)
    assert found["two"].costs["1"] == pytest.approx(1.7 + 2)
    assert list(found) == ["two", EVERY_WINDOW, NEVER]
    assert (found["two"].n_trainings, found["two"].n_in_vain) == (2, 1)


def test_the_share_kept_is_that_of_what_training_after_every_window_gains() -> None:
    found = _compare(_walked("half", [0.2, 0.2] + [0.4] * 6, [2]))

    assert found[EVERY_WINDOW].gain_kept == pytest.approx(1)
    assert found[NEVER].gain_kept == pytest.approx(0)
    assert found["half"].gain_kept == pytest.approx(0.5)


def test_nothing_gained_is_no_share() -> None:
    always = _walked(EVERY_WINDOW, [0.2] * 8, list(range(8)))
    never = _walked(NEVER, [0.2] * 8, [])

    assert [one.gain_kept for one in compare_policies([always, never], price=0.2)] == [None, None]


def test_only_windows_that_all_have_walked_are_compared() -> None:
    found = _compare(_walked("slow", [0.2, 0.3, None, None, None, None, None, None], [1], is_complete=False))

    assert {one.n_windows for one in found.values()} == {2}
    assert found[EVERY_WINDOW].n_trainings == 2
    assert found["slow"].is_complete is False


def test_the_delay_counts_from_the_schedule_in_hindsight() -> None:
    found = _compare(_walked("late", [0.2] * 8, [4]), oracle=Schedule((2, 6), 1.0))

    assert found["late"].delay == pytest.approx((2 + 2) / 2)  # two windows late, then never: to the end
    assert found[NEVER].delay == pytest.approx((4 + 2) / 2)
    assert found[EVERY_WINDOW].delay == 0


def test_the_front_has_what_nothing_beats_in_both() -> None:
    found = _compare(_walked("good", [0.2, 0.2] + [0.25] * 6, [2]), _walked("bad", [0.2, 0.2] + [0.3] * 6, [2, 3]))

    assert {name for name, one in found.items() if one.is_on_front} == {"good", EVERY_WINDOW, NEVER}


def test_what_is_for_comparison_only_is_not_recommended() -> None:
    found = list(_compare(_walked(EVIDENTLY, [0.1] * 8, [])).values())

    assert found[0].name == EVIDENTLY
    advice = recommend(found, price=0.2)
    assert advice.name in (NEVER, EVERY_WINDOW)


def test_the_own_policy_stays_where_nothing_is_much_cheaper() -> None:
    own = _walked(OWN, [0.2, 0.2] + [0.205] * 6, [2])
    close = _walked("another", [0.2, 0.2] + [0.204] * 6, [2])
    better = _walked("better", [0.2, 0.2] + [0.15] * 6, [2])

    stays = recommend(list(_compare(own, close).values()), price=0.2)
    changes = recommend(list(_compare(own, better).values()), price=0.2)

    assert (stays.name, changes.name) == (OWN, "better")
    assert "the pipeline's own policy costs" in changes.why


def test_the_yaml_to_paste_is_a_definition_s_section(tmp_path: Any) -> None:
    advice = recommend(list(_compare(_walked("good", [0.2] * 8, [2])).values()), price=0.2)
    (tmp_path / "pipeline.yaml").write_text(
        f"name: trips\ntask: classification\ntarget: late\nextract: {{source: d.parquet}}\n{advice.yaml}"
    )

    assert read_pipeline(tmp_path / "pipeline.yaml").spec.triggers.price == 0.2
