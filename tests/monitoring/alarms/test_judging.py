"""Claims about judging a window: what stands out, what is confirmed, and what chance and custom explain."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.monitor_spec import MonitorSpec
from monitoring.alarms.alarm import AlarmState, Judgement, Mute
from monitoring.alarms.judging import judge_labels, judge_traffic
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.measures import WindowFacts
from monitoring.alarms.quiet_history import QuietHistory, QuietWindow
from monitoring.drift.findings import DriftReport, Skew
from tests.monitoring.alarms.findings import DAY, START, column, facts, history, report

SPEC = MonitorSpec(window="1 day")
MOVED = column("fare", p=1e-12, effect=0.8, direction="up")


def _judge(
    found: DriftReport | None = None,
    about: WindowFacts | None = None,
    *,
    known: QuietHistory | None = None,
    spec: MonitorSpec = SPEC,
    state: AlarmState | None = None,
    mutes: tuple[Mute, ...] = (),
    losses: LossSample | None = None,
) -> Judgement:
    """Judge a window by its traffic and by its labels, one right after the other."""
    about, known = about or facts(), history() if known is None else known
    first = judge_traffic(found, about, known, spec, windows_per_quarter=91.3, state=state or AlarmState(), mutes=mutes)
    second = judge_labels(
        found, about, known, spec, windows_per_quarter=91.3, state=first.state, mutes=mutes, losses=losses
    )
    return first.followed_by(second)


def test_a_column_that_moved_raises_an_alarm_that_names_it() -> None:
    judged = _judge(report(MOVED))

    (alarm,) = judged.alarms
    assert (alarm.kind, alarm.columns, alarm.is_new) == ("drift", ("fare",), True)
    assert alarm.reason == "fare moved up: wasserstein 0.80, 1,000 rows"
    assert alarm.p_adjusted < judged.level


def test_a_quiet_window_raises_none() -> None:
    judged = _judge(report())

    assert (judged.alarms, judged.standouts) == ((), ())


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (column("fare", p=1e-12, effect=0.05), "with many rows everything is significant; this effect is tiny"),
        (column("fare", p=0.02, effect=0.8), "with few rows chance gives large effects"),
        (column("fare", p=1e-3, effect=0.8), "one of eleven columns is so by chance more often than the budget allows"),
    ],
)
def test_what_is_no_news_raises_no_alarm(found: object, why: str) -> None:
    assert _judge(report(found)).alarms == (), why  # type: ignore[arg-type]


def test_a_column_that_always_differs_from_the_reference_is_usual_here() -> None:
    known = history({"values:fare": 0.8})

    assert _judge(report(MOVED), known=known).alarms == ()
    assert _judge(report(column("fare", p=1e-12, effect=4.0)), known=known).find("drift") is not None


def test_before_anything_is_known_only_what_is_gross_raises_an_alarm() -> None:
    nothing = QuietHistory()

    assert _judge(report(column("fare", p=1e-12, effect=0.4)), known=nothing).alarms == ()
    assert _judge(report(column("fare", p=1e-12, effect=0.6)), known=nothing).find("drift") is not None
    assert _judge(report(), known=nothing).is_learning


def test_two_of_three_windows_must_show_it_where_that_is_asked_for() -> None:
    spec = MonitorSpec(window="1 day", confirm="2 of 3")

    first = _judge(report(MOVED), spec=spec)
    second = _judge(report(), facts(1), spec=spec, state=first.state)
    third = _judge(report(MOVED), facts(2), spec=spec, state=second.state)
    fourth = _judge(report(), facts(3), spec=spec, state=third.state)

    assert [len(each.alarms) for each in (first, second, third, fourth)] == [0, 0, 1, 0]
    assert [each.is_confirmed for each in first.standouts] == [False]


def test_broken_data_is_told_at_once_whatever_must_be_confirmed() -> None:
    spec = MonitorSpec(window="1 day", confirm="3 of 3")

    judged = _judge(report(column("fare", missing_current=0.4, missing_p=1e-30)), spec=spec)

    assert judged.find("broken data") is not None


def test_an_alarm_that_goes_on_is_one_alarm_and_is_over_after_two_windows_without_it() -> None:
    judged = _judge(report(MOVED))
    seen = [judged]
    for number, found in enumerate([report(MOVED), report(), report(), report(MOVED)], start=1):
        seen.append(_judge(found, facts(number), state=seen[-1].state))

    assert [[alarm.is_new for alarm in each.alarms] for each in seen] == [[True], [False], [], [], [True]]
    assert [len(each.closed) for each in seen] == [0, 0, 0, 1, 0]


def test_another_version_closes_what_was_open_and_counts_anew() -> None:
    first = _judge(report(MOVED))

    judged = _judge(report(MOVED), facts(1, version=2), state=first.state)

    assert [each.kind for each in judged.closed] == ["drift"]
    assert [alarm.is_new for alarm in judged.alarms] == [True]


@pytest.mark.parametrize(
    ("mute", "is_heard"),
    [
        (Mute(column="fare"), False),
        (Mute(kind="drift"), False),
        (Mute(column="fare", kind="drift"), False),
        (Mute(column="age"), True),
        (Mute(kind="performance"), True),
        (Mute(column="fare", until=START), True),
        (Mute(column="fare", until=START + 3 * DAY), False),
    ],
)
def test_what_is_muted_raises_no_alarm(mute: Mute, is_heard: bool) -> None:
    judged = _judge(report(MOVED), mutes=(mute,))

    assert bool(judged.alarms) == is_heard
    assert judged.values["values:fare"] == 0.8


def test_the_definition_mutes_columns_too() -> None:
    assert _judge(report(MOVED), spec=MonitorSpec(mute="fare")).alarms == ()


def test_a_threshold_that_a_user_insists_on_alarms_whatever_the_history_says() -> None:
    spec = MonitorSpec(window="1 day", thresholds={"fare": 0.3})
    known = history({"values:fare": 0.8})

    assert _judge(report(MOVED), known=known, spec=spec).find("drift") is not None
    assert _judge(report(column("fare", p=1e-12, effect=0.2)), known=known, spec=spec).alarms == ()


@pytest.mark.parametrize(
    ("about", "told"),
    [
        (facts(n_rows=40), "40 rows came"),
        (facts(n_refused=400), "400 of 1,400 rows were refused"),
        (facts(impossible={"fare": 300}), "fare breaks the contract in 300 of 1,000 rows"),
    ],
)
def test_rows_that_do_not_come_or_make_no_sense_are_broken_data(about: WindowFacts, told: str) -> None:
    alarm = _judge(report(), about).find("broken data")

    assert alarm is not None
    assert told in alarm.reason


def test_a_column_that_is_gone_is_broken_data_from_the_first_window_on() -> None:
    gone = Skew(column="fare", kind="missing column", text="fare: not in the window")

    assert _judge(report(skew=(gone,)), known=QuietHistory()).find("broken data") is not None


def test_fewer_rows_than_at_noon_are_usual_at_night() -> None:
    from datetime import timedelta

    hour = timedelta(hours=1)
    known = QuietHistory(
        tuple(
            QuietWindow(START - number * hour, hour, {"rate": 1_000.0 if (START - number * hour).hour >= 6 else 20.0})
            for number in range(24 * 9, 0, -1)
        )
    )

    def judge(hours: int) -> Judgement:
        start = START + hours * hour
        return judge_traffic(
            None,
            WindowFacts(start, start + hour, 22, version=1),
            known,
            MonitorSpec(window="1 hour"),
            windows_per_quarter=2_190,
            state=AlarmState(),
        )

    assert judge(3).alarms == ()
    assert judge(12).find("broken data") is not None


def test_labels_that_stay_away_are_an_alarm_of_their_own() -> None:
    alarm = _judge(report(), facts(missing_labels="labels stay away")).find("missing labels")

    assert alarm is not None
    assert alarm.reason == "labels stay away"


def test_a_loss_that_doubles_is_an_alarm_and_the_bet_begins_anew() -> None:
    draw = np.random.default_rng(0)
    reference = draw.exponential(1.0, 5_000)
    worse = LossSample(2 * draw.exponential(1.0, 500), 1.0, reference)

    judged = _judge(report(), losses=worse)

    alarm = judged.find("performance")
    assert alarm is not None
    assert "% against 1 at promotion" in alarm.reason
    assert set(judged.state.fortunes) == {0.0}


def test_a_loss_that_creeps_up_is_found_by_several_windows_together() -> None:
    draw = np.random.default_rng(1)
    reference = draw.exponential(1.0, 5_000)
    state, found = AlarmState(), []
    for number in range(12):
        sample = LossSample(1.4 * draw.exponential(1.0, 120), 1.0, reference)
        judged = _judge(report(), facts(number), state=state, losses=sample)
        state = judged.state
        found.append(judged.find("performance") is not None)

    assert not found[0]
    assert any(found)


def test_a_loss_that_has_been_high_for_long_does_not_become_usual() -> None:
    draw = np.random.default_rng(2)
    reference = draw.exponential(1.0, 5_000)
    worse = LossSample(1.8 * draw.exponential(1.0, 1_000), 1.0, reference)

    judged = _judge(report(), known=history({"loss": 0.8}), losses=worse)

    assert judged.find("performance") is not None


def test_a_loss_that_goes_up_and_down_by_custom_is_no_alarm() -> None:
    draw = np.random.default_rng(2)
    before = [QuietWindow(START - number * DAY, DAY, {"loss": 0.9 * (number % 2)}) for number in range(20, 0, -1)]
    worse = LossSample(1.8 * draw.exponential(1.0, 1_000), 1.0, draw.exponential(1.0, 3_000))

    judged = _judge(report(), known=QuietHistory(tuple(before)), losses=worse)

    assert judged.find("performance") is None


@given(st.lists(st.floats(0, 1), min_size=1, max_size=30), st.floats(0, 3))
def test_of_two_effects_the_larger_one_never_hides(p_values: list[float], effect: float) -> None:
    """A column that moved farther stands out wherever the smaller move did."""
    others = [column(f"other_{number}", p=p) for number, p in enumerate(p_values)]

    small = _judge(report(column("fare", p=1e-9, effect=effect), *others))
    large = _judge(report(column("fare", p=1e-9, effect=effect + 0.5), *others))

    assert {each.name for each in small.standouts} <= {each.name for each in large.standouts}
