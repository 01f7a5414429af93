"""Claims about two looks: labels that come later are judged the same, in the order of windows, within one budget."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from base.monitor_spec import MonitorSpec
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.quiet_history import QuietWindow
from monitoring.drift.findings import DriftReport
from monitoring.judgement import AlarmMemory, JudgedWindow, judge_labels, judge_traffic, judge_window
from tests.monitoring.alarms.findings import DAY, START, column, facts, history, report

SPEC = MonitorSpec(window="1 day")
MOVED = report(column("fare", p=1e-12, effect=0.8))
_REFERENCE = np.random.default_rng(0).exponential(1.0, 5_000)


def _losses(factor: float, number: int = 0) -> LossSample:
    found = np.random.default_rng(number + 1).exponential(1.0, 400)
    return LossSample(factor * found, float(_REFERENCE.mean()), _REFERENCE)


def _follow(factors: list[float], *, delay: int, found: DriftReport | None = None) -> list[JudgedWindow]:
    """Look at days of traffic, and at the labels of each *delay* days later; return the second looks."""
    memory, firsts, seconds = AlarmMemory(history=history()), [], []
    for number in range(len(factors) + delay):
        if number < len(factors):
            firsts.append(judge_traffic(facts(number), found or report(), SPEC, memory))
            memory = firsts[-1].memory
        due = number - delay
        if due >= 0:
            first, losses = firsts[due].judgement, _losses(factors[due], due)
            seconds.append(judge_labels(first, facts(due), found or report(), SPEC, memory, losses=losses))
            memory = seconds[-1].memory
    return seconds


@settings(max_examples=30, deadline=None)
@given(st.lists(st.sampled_from([1.0, 1.2, 2.0]), min_size=1, max_size=8), st.integers(0, 10))
def test_labels_are_judged_the_same_however_much_later_they_come(factors: list[float], delay: int) -> None:
    at_once, later = _follow(factors, delay=0), _follow(factors, delay=delay)

    assert [each.judgement.alarms for each in later] == [each.judgement.alarms for each in at_once]
    assert [each.triage.verdict for each in later] == [each.triage.verdict for each in at_once]
    assert [each.judgement.state.fortunes for each in later] == [each.judgement.state.fortunes for each in at_once]
    assert later[-1].memory.history == at_once[-1].memory.history


def test_two_looks_right_after_each_other_are_one_look() -> None:
    memory = AlarmMemory(history=history())

    whole = judge_window(facts(), MOVED, SPEC, memory, losses=_losses(2.0))
    first = judge_traffic(facts(), MOVED, SPEC, memory)
    second = judge_labels(first.judgement, facts(), MOVED, SPEC, first.memory, losses=_losses(2.0))

    assert second == whole
    assert {alarm.kind for alarm in whole.judgement.alarms} == {"drift", "performance"}


def test_while_labels_are_waited_for_only_what_shows_nothing_is_usual() -> None:
    memory = AlarmMemory(history=history())

    moved, calm = (judge_traffic(facts(), found, SPEC, memory) for found in (MOVED, report()))
    settled = judge_labels(moved.judgement, facts(), MOVED, SPEC, moved.memory, losses=_losses(1.0))

    assert (moved.triage.verdict, moved.is_quiet, calm.is_quiet) == ("harmless", False, True)
    assert (settled.triage.verdict, settled.is_quiet) == ("harmless", True)


def test_a_window_that_looked_quiet_teaches_nothing_once_its_loss_has_risen() -> None:
    first = judge_traffic(facts(), report(), SPEC, AlarmMemory(history=history()))

    second = judge_labels(first.judgement, facts(), report(), SPEC, first.memory, losses=_losses(2.0))

    assert first.memory.history.windows[-1].start == START
    assert second.memory.history.windows[-1].start == START - DAY


def test_windows_that_came_later_have_no_say_in_the_look_at_the_labels() -> None:
    first = judge_traffic(facts(), report(), SPEC, AlarmMemory(history=history()))
    memory, later = first.memory, first.memory.history
    for number in range(1, 30):
        values = {"rate": 1_000 / 24, "loss": 3.0 * (number % 2)}
        later = later.with_window(QuietWindow(START + number * DAY, DAY, values))

    known, unknown = (
        judge_labels(
            first.judgement,
            facts(),
            report(),
            SPEC,
            AlarmMemory(memory.state, windows),
            losses=_losses(1.5),
        )
        for windows in (later, memory.history)
    )

    assert known.judgement == unknown.judgement
    assert known.triage == unknown.triage


@pytest.mark.parametrize(("factor", "is_given_back"), [(1.0, False), (2.0, True)])
def test_a_false_alarm_is_charged_at_once_and_given_back_where_the_loss_has_risen(
    factor: float, is_given_back: bool
) -> None:
    first = judge_traffic(facts(), MOVED, SPEC, AlarmMemory(history=history()))

    second = judge_labels(first.judgement, facts(), MOVED, SPEC, first.memory, losses=_losses(factor))

    assert first.memory.state.strictness == first.judgement.charged == 2.0
    assert second.memory.state.strictness == (0.0 if is_given_back else 2.0)


def test_both_looks_together_keep_within_the_budget() -> None:
    """A window in ten shows a burst that means nothing, labels come twenty windows later."""
    draw = np.random.default_rng(3)
    memory, firsts, n_alarms, n_windows = AlarmMemory(history=history()), [], 0, 1_500
    reports = []
    for number in range(n_windows):
        is_burst = draw.random() < 0.1
        burst = column("fare", p=1e-30, effect=float(draw.exponential(0.3)) if is_burst else 0.0)
        reports.append(report(burst, n_quiet=2))
        firsts.append(judge_traffic(facts(number), reports[-1], SPEC, memory))
        memory = firsts[-1].memory
        n_alarms += sum(alarm.is_new for alarm in firsts[-1].judgement.alarms)
        due = number - 20
        if due >= 0:
            judged = judge_labels(
                firsts[due].judgement, facts(due), reports[due], SPEC, memory, losses=_losses(1.0, due)
            )
            memory = judged.memory
            n_alarms += sum(alarm.is_new and alarm.kind == "performance" for alarm in judged.judgement.alarms)

    budget = SPEC.false_alarms.per_quarter * n_windows / 91.3
    assert n_alarms <= 1.5 * budget


@pytest.mark.parametrize(
    ("before", "verdict"),
    [(0.0, "broken data"), (0.2, "broken data"), (0.4, "changed world"), (0.9, "changed world")],
)
def test_a_column_that_was_on_its_way_in_quiet_windows_has_not_changed_its_unit(before: float, verdict: str) -> None:
    winter = report(column("temp", p=1e-12, effect=0.8, unit_ratio=0.621))
    memory = AlarmMemory(history=history({"values:temp": before}))

    found = judge_window(replace(facts(), version=None), winter, SPEC, memory, losses=_losses(2.0))

    assert found.triage.verdict == verdict
    assert found.is_quiet is False


def test_what_an_earlier_version_s_reference_said_of_a_column_tells_nothing_of_its_unit() -> None:
    miles = report(column("distance", p=1e-30, effect=0.8, unit_ratio=0.621))
    memory = AlarmMemory(history=history({"values:distance": 0.9}))

    found = judge_window(replace(facts(), version=7), miles, SPEC, memory, losses=_losses(1.0))

    assert found.triage.verdict == "broken data"


def test_a_unit_that_has_changed_stays_broken_window_after_window() -> None:
    miles = report(column("distance", p=1e-30, effect=0.8, unit_ratio=0.621))
    memory = AlarmMemory(history=history())

    for number in range(5):
        found = judge_window(facts(number), miles, SPEC, memory, losses=_losses(1.0, number))
        memory = found.memory
        assert found.triage.verdict == "broken data"
