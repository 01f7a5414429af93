"""Claims about repetitions and the pace of messages: laws over any stream of happenings."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from registry.notices.pacing import HOUR, choose_pace
from registry.notices.repetition import Told, is_repetition
from tests.registry.notices.happenings import NOON

_DAY = timedelta(days=1)
# Also backwards: clocks are set.
_STREAM = st.lists(st.tuples(st.sampled_from("AB"), st.integers(-3 * 3600, 30 * 3600)), max_size=40)


def _tell(stream: list[tuple[str, int]]) -> list[tuple[str, datetime, bool]]:
    last, at, told = None, NOON, []
    for sign, seconds in stream:
        at += timedelta(seconds=seconds)
        is_same = is_repetition(sign, at, last, quiet=_DAY)
        last = last if is_same else Told(sign, at)
        told.append((sign, at, not is_same))
    return told


@given(stream=_STREAM)
def test_every_change_is_told_and_nothing_is_left_out_that_was_not_told_within_the_quiet_period(
    stream: list[tuple[str, int]],
) -> None:
    last: tuple[str, datetime] | None = None
    for sign, at, is_told in _tell(stream):
        if last is None or sign != last[0]:
            assert is_told
        if is_told:
            last = (sign, at)
        else:
            assert last is not None
            assert last[0] == sign
            assert abs(at - last[1]) < _DAY


@given(stream=_STREAM)
def test_the_same_is_never_told_twice_in_a_quiet_period_without_a_change_between(stream: list[tuple[str, int]]) -> None:
    told = [(sign, at) for sign, at, is_told in _tell(stream) if is_told]

    for (sign, at), (next_sign, next_at) in pairwise(told):
        assert sign != next_sign or abs(next_at - at) >= _DAY


@given(arrivals=st.lists(st.integers(0, 3 * 3600), max_size=200), per_hour=st.integers(1, 30))
def test_no_hour_has_more_messages_than_were_asked_for_and_nothing_is_left(arrivals: list[int], per_hour: int) -> None:
    sent: list[datetime] = []
    waiting = n_told = 0
    for second in range(0, 8 * 3600, 60):
        now = NOON + timedelta(seconds=second)
        waiting += sum(second - 60 < arrival <= second for arrival in arrivals) if second else arrivals.count(0)
        while (pace := choose_pace(waiting, sent, now, per_hour=per_hour)).n_rows:
            sent += [now] * (1 if pace.is_digest else pace.n_rows)
            n_told += pace.n_rows
            waiting -= pace.n_rows

    assert (n_told, waiting) == (len(arrivals), 0)
    for moment in sent:
        assert sum(timedelta(0) <= other - moment < HOUR for other in sent) <= per_hour


def test_one_message_in_calm_times_does_not_wait() -> None:
    sent = [NOON - timedelta(seconds=1)]

    assert choose_pace(1, sent, NOON, per_hour=20).n_rows == 1


def test_a_clock_that_was_set_back_holds_nobody_up() -> None:
    sent = [NOON + timedelta(hours=hours) for hours in range(1, 30)]

    assert choose_pace(3, sent, NOON, per_hour=20).n_rows == 3
