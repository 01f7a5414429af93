"""What became of an alarm by the first version of the rule, by which the ledger decides old rulings again."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitoring.first_arbiter import Circumstances, rule

NOW = datetime(2013, 6, 15, 12, tzinfo=UTC)
WEEK = timedelta(days=7)
_moments = st.timedeltas(timedelta(days=-200), timedelta(days=200)).map(lambda since: NOW + since)
_circumstances = st.builds(
    Circumstances,
    now=_moments,
    under_way=st.none() | st.just("run-1"),
    last_training=st.none() | _moments,
    cooldown=st.timedeltas(timedelta(0), timedelta(days=60)),
)

CASES: list[tuple[str, str | None, str | None, datetime | None, timedelta, str, str]] = [
    ("nothing to do", None, None, None, WEEK, "none", "nothing calls"),
    ("nothing to do while a run is under way", None, "run-1", NOW, WEEK, "none", "nothing calls"),
    ("first alarm", "loss +12 %", None, None, WEEK, "start", "loss +12 %"),
    ("a run is under way", "loss +12 %", "run-1", None, WEEK, "merge", "run-1"),
    ("a run is under way in the cooldown", "loss +12 %", "run-1", NOW, WEEK, "merge", "run-1"),
    ("in the cooldown", "drift", None, NOW - timedelta(days=6), WEEK, "suppress", "2013-06-09 12:00, less than"),
    ("at the cooldown's end", "drift", None, NOW - WEEK, WEEK, "start", "drift"),
    ("no cooldown", "drift", None, NOW - timedelta(seconds=1), timedelta(0), "start", "drift"),
    ("trained on this already", "drift", None, NOW, timedelta(0), "suppress", "not before what was found"),
    ("trained on later data", "drift", None, NOW + WEEK, timedelta(0), "suppress", "not before what was found"),
]


@pytest.mark.parametrize(
    ("alarm", "under_way", "last", "cooldown", "outcome", "reason"),
    [row[1:] for row in CASES],
    ids=[row[0] for row in CASES],
)
def test_an_alarm_is_ruled_on(
    alarm: str | None, under_way: str | None, last: datetime | None, cooldown: timedelta, outcome: str, reason: str
) -> None:
    ruling = rule(alarm, Circumstances(NOW, under_way, last, cooldown))

    assert ruling.outcome == outcome
    assert reason in ruling.reason


@given(circumstances=_circumstances)
def test_only_an_alarm_starts_anything_and_every_ruling_has_a_reason(circumstances: Circumstances) -> None:
    assert rule(None, circumstances).outcome == "none"
    assert rule("drift", circumstances).outcome != "none"
    assert rule("drift", circumstances).reason


@given(circumstances=_circumstances)
def test_the_same_alarm_after_its_training_starts_nothing(circumstances: Circumstances) -> None:
    trained = Circumstances(circumstances.now, None, circumstances.now, circumstances.cooldown)

    assert rule("drift", trained).outcome == "suppress"
