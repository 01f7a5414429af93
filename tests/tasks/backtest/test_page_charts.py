"""Charts of a backtest: well formed whatever the result, every policy named, and no name over another."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from itertools import combinations, pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tasks.backtest.charts import calendar_ticks, round_ticks
from tasks.backtest.charts_cost import draw_costs
from tasks.backtest.charts_labels import Box, place_labels, shorten, spread
from tasks.backtest.charts_picture import draw_backtest
from tasks.backtest.charts_time import draw_losses_over_time, draw_trainings, smooth
from tasks.backtest.policies import EVERY_WINDOW, NEVER, OWN
from tasks.backtest.result import BacktestResult
from tests.tasks.backtest.results import START, WINDOW, make_result
from tests.tasks.backtest.test_page import ODD

_AREA = Box(54, 24, 898, 366)
_corner = st.tuples(st.floats(58, 120), st.floats(30, 360))
_anywhere = st.tuples(st.floats(58, 890), st.floats(30, 360))
_names = st.text("abcdefgh ", min_size=3, max_size=32)


def _texts(chart: str) -> list[str]:
    return [str(text.text) for text in ElementTree.fromstring(chart).iter() if text.tag.endswith("text")]


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_any_result_makes_charts_that_are_well_formed_and_name_every_policy(result: BacktestResult) -> None:
    walked = {policy.name for policy in result.policies if policy.n_windows}
    everyone = {policy.name for policy in result.policies}
    for chart, names, longest in ((draw_costs(result), walked, 32), (draw_trainings(result), everyone, 30)):
        shown = _texts(chart)
        assert {name for name in names if shorten(name, longest) not in shown} == set()
        assert not re.search(r"\bnan\b|\binf\b", chart)


@pytest.mark.parametrize("result", ODD.values(), ids=ODD.keys())
def test_any_result_makes_a_picture_that_needs_nothing_else(result: BacktestResult) -> None:
    picture = draw_backtest(result)

    drawn = ElementTree.fromstring(picture)
    assert drawn.tag == "{http://www.w3.org/2000/svg}svg"
    assert "var(" not in picture
    assert not re.search(r"https?:|url\(|@import", picture.replace("http://www.w3.org/2000/svg", ""))


def test_the_chart_over_time_names_the_recommended_policy_both_anchors_and_the_pipelines_own() -> None:
    result = make_result(n_policies=12)

    shown = _texts(draw_losses_over_time(result))

    assert {result.recommended, EVERY_WINDOW, NEVER, OWN} <= set(shown)


def test_promoted_and_refused_trainings_are_told_apart_by_shape_and_word() -> None:
    result = make_result(n_windows=60)
    always = result.find(EVERY_WINDOW)

    drawn = draw_losses_over_time(result.model_copy(update={"recommended": EVERY_WINDOW}))

    for outcome, expected in (("promoted", always.n_promoted), ("refused", always.n_refused)):
        assert expected > 0
        assert drawn.count(f"<path class='{outcome}'") == expected + 1  # one in the key
        assert outcome in _texts(drawn)


@given(st.lists(st.tuples(st.one_of(_corner, _anywhere), _names), min_size=1, max_size=12))
@example([((82.0, 30.0), "aaaaa"), *[((58.0, 30.0), "aaa")] * 7, ((89.0, 31.0), "eefeadhfdbea eb")])
@example([((58.0, 30.0), "a" * 32)] * 12)
def test_no_name_covers_another_nor_leaves_the_chart(named: list[tuple[tuple[float, float], str]]) -> None:
    labels = place_labels(named, _AREA, markers=[point for point, _ in named])

    assert [label.text for label in labels] == [text for _, text in named]
    assert all(one.box.overlap(other.box) == 0 for one, other in combinations(labels, 2))
    assert all(label.box.outside(_AREA) == 0 for label in labels)


@given(st.lists(st.floats(0, 200), min_size=1, max_size=8))
def test_names_beside_a_chart_keep_their_order_and_their_distance(wanted: list[float]) -> None:
    places = spread(wanted, gap=16, low=0, high=200)

    ordered = sorted(zip(wanted, places, strict=True))
    assert all(later >= earlier + 16 - 1e-6 for earlier, later in pairwise(sorted(places)))
    assert [place for _, place in ordered] == pytest.approx(sorted(places))
    assert -1e-6 <= min(places) <= max(places) <= 200 + 1e-6


def test_a_line_is_not_drawn_over_a_gap_of_months() -> None:
    windows = make_result(n_windows=40).policies[0].windows
    gone = [window for window in windows if not 10 <= window.number < 25]

    stretches = smooth(gone, 3)

    assert [len(stretch) for stretch in stretches] == [10, 15]


def test_the_middle_of_a_smoothed_line_is_the_mean_of_neighbours_with_a_narrower_interval() -> None:
    windows = make_result(n_windows=5).policies[0].windows

    (stretch,) = smooth(windows, 3)

    near = [window.loss for window in windows[1:4] if window.loss is not None]
    assert stretch[2].loss == pytest.approx(sum(near) / 3)
    assert stretch[2].at == START + 2.5 * WINDOW
    assert stretch[2].high is not None
    assert stretch[0].high is not None
    assert stretch[2].high - stretch[2].loss < stretch[0].high - stretch[0].loss


@given(st.floats(-1e6, 1e6), st.floats(1e-9, 1e6))
def test_ticks_hold_all_values_and_are_few(low: float, width: float) -> None:
    ticks = round_ticks(low, low + width)

    assert 2 <= len(ticks) <= 9
    assert ticks[0] <= low + 1e-6 * width + 1e-9
    assert ticks[-1] >= low + width - 1e-6 * width - 1e-9


@given(st.integers(0, 10**6), st.integers(1, 10**6))
def test_dates_lie_within_the_history_and_are_few(begin: int, hours: int) -> None:
    start = datetime(1990, 1, 1, tzinfo=UTC) + timedelta(hours=begin)
    stop = start + timedelta(hours=hours)

    ticks = calendar_ticks(start, stop)

    assert 3 <= len(ticks) <= 9
    assert all(start <= moment <= stop for moment, _ in ticks)
