"""Claims about windows: each row is in one, none is cut before it is over, and going on is the same as at once."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

import pandas as pd
from hypothesis import given
from hypothesis import strategies as st

from base.monitor_spec import RowCount
from monitoring.cutting import Span, cut_windows

START = datetime(2024, 5, 1, 7, 30, tzinfo=UTC)

minutes = st.lists(st.integers(0, 3_000), min_size=1, max_size=60)
windows = st.one_of(
    st.integers(1, 20).map(RowCount), st.integers(1, 1_500).map(lambda number: timedelta(minutes=number))
)


def _moments(offsets: list[int]) -> pd.Series[pd.Timestamp]:
    return pd.Series([START + timedelta(minutes=each) for each in offsets], dtype="datetime64[us, UTC]")


def _count(moments: pd.Series[pd.Timestamp], span: Span) -> int:
    return int(((moments >= pd.Timestamp(span[0])) & (moments < pd.Timestamp(span[1]))).sum())


@given(minutes, windows, st.integers(0, 6_000))
def test_windows_do_not_overlap_and_are_over_and_hold_rows(
    offsets: list[int], window: timedelta | RowCount, until: int
) -> None:
    moments, moment = _moments(offsets), START + timedelta(minutes=until)

    spans = cut_windows(moments, window, origin=None, until=moment)

    assert all(stop <= moment for _, stop in spans)
    assert all(one[1] <= other[0] for one, other in itertools.pairwise(spans))
    counts = [_count(moments, span) for span in spans]
    assert all(counts)
    if isinstance(window, RowCount):
        assert all(count >= window.n_rows for count in counts)


@given(minutes, windows, st.integers(0, 3_000))
def test_cutting_as_time_goes_on_cuts_as_at_once(
    offsets: list[int], window: timedelta | RowCount, between: int
) -> None:
    moments, end = _moments(offsets), START + timedelta(minutes=10_000)
    middle = START + timedelta(minutes=between)

    first = cut_windows(moments[moments < pd.Timestamp(middle)], window, origin=None, until=middle)
    rest = cut_windows(moments, window, origin=first[-1][1] if first else None, until=end)

    if first:
        assert [*first, *rest] == cut_windows(moments, window, origin=None, until=end)


@given(minutes, windows)
def test_in_the_end_every_row_is_in_one_window_but_the_last_few(
    offsets: list[int], window: timedelta | RowCount
) -> None:
    moments = _moments(offsets)

    spans = cut_windows(moments, window, origin=None, until=START + timedelta(minutes=10_000))

    left = len(moments) - sum(_count(moments, span) for span in spans)
    assert left < window.n_rows if isinstance(window, RowCount) else left == 0


def test_rows_of_one_moment_are_not_parted() -> None:
    moments = _moments([0, 1, 1, 1, 1, 2, 3])

    spans = cut_windows(moments, RowCount(2), origin=None, until=START + timedelta(hours=1))

    assert [_count(moments, span) for span in spans] == [5, 2]


def test_a_row_of_long_ago_does_not_bring_a_window_for_each_day_since() -> None:
    moments = pd.concat([_moments([0]), pd.Series(pd.to_datetime(["1970-01-01T00:00Z"]))], ignore_index=True)

    assert len(cut_windows(moments, timedelta(days=1), origin=None, until=START + timedelta(days=3))) == 2
