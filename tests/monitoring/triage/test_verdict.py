"""Claims about triage: broken before changed, changed before harmless, and each with its evidence."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from base.monitor_spec import MonitorSpec
from monitoring.alarms.loss_bets import LossSample
from monitoring.alarms.quiet_history import QuietHistory
from monitoring.drift.findings import ColumnFinding, DriftReport, Skew
from monitoring.judgement import AlarmMemory, JudgedWindow, judge_window
from tests.monitoring.alarms.findings import column, facts, history, report

SPEC = MonitorSpec(window="1 day")
MOVED = column("fare", p=1e-12, effect=0.8)
MATTERS = {"fare": 0.9, "age": 0.1}
HARDLY = {"fare": 0.001, "age": 0.9}


def _losses(factor: float, n_rows: int = 600) -> LossSample:
    draw = np.random.default_rng(0)
    reference = draw.exponential(1.0, 5_000)
    found = draw.exponential(1.0, n_rows)
    return LossSample(factor * found / found.mean() * reference.mean(), float(reference.mean()), reference)


def _judge(found: DriftReport | None = None, known: QuietHistory | None = None, **told: Any) -> JudgedWindow:
    about = told.pop("about", facts())
    memory = AlarmMemory(history=history() if known is None else known)
    return judge_window(about, report() if found is None else found, SPEC, memory, **told)


@pytest.mark.parametrize(
    ("broken", "kind"),
    [
        (column("fare", missing_current=0.4, missing_p=1e-30), "null burst"),
        (column("fare", gap_rows=300, gap_p=1e-30), "null burst"),
        (column("fare", p=1e-30, effect=0.5, unit_ratio=0.621), "unit change"),
    ],
)
def test_rows_that_broke_on_their_way_ask_for_no_training(broken: ColumnFinding, kind: str) -> None:
    about = facts(examples={"fare": ("019a8f2c", "019a8f2d")})

    judged = _judge(report(broken), about=about, losses=_losses(2.0), importances=MATTERS)

    assert judged.triage.verdict == "broken data"
    assert not judged.triage.asks_for_training
    (found,) = judged.triage.evidence["breaks"]
    assert (found["kind"], found["column"], found["rows"]) == (kind, "fare", ["019a8f2c", "019a8f2d"])
    assert not judged.is_quiet


@pytest.mark.parametrize(
    ("skew", "verdict"),
    [
        (Skew(column="fare", kind="missing column", text="not in the window"), "broken data"),
        (Skew(column="fare", kind="type", text="30 values are no numbers", share=0.3), "broken data"),
        (Skew(column="fare", kind="infinite", text="30 values are infinite", share=0.3), "broken data"),
        (Skew(column="fare", kind="range", text="3 values outside 0 to 9", share=0.3), "quiet"),
        (Skew(column="fare", kind="extra column", text="not in the reference"), "quiet"),
        (Skew(column="fare", kind="constant", text="all values are the same"), "quiet"),
    ],
)
def test_of_skew_only_what_cannot_be_meant_is_broken(skew: Skew, verdict: str) -> None:
    assert _judge(report(skew=(skew,))).triage.verdict == verdict


def test_a_column_that_is_stuck_is_broken_and_one_that_is_always_constant_is_not() -> None:
    skew = (Skew(column="fare", kind="constant", text="all values are the same"),)

    assert _judge(report(MOVED, skew=skew)).triage.verdict == "broken data"
    assert _judge(report(MOVED, skew=skew), history({"values:fare": 0.8})).triage.verdict == "quiet"


def test_a_loss_that_rose_is_a_changed_world_though_no_column_moved() -> None:
    judged = _judge(losses=_losses(2.0))

    assert judged.triage.verdict == "changed world"
    assert judged.triage.asks_for_training
    assert "+100.0% against" in judged.triage.reasons[0]


def test_drift_without_loss_is_harmless() -> None:
    judged = _judge(report(MOVED), losses=_losses(1.0), importances=MATTERS)

    assert judged.triage.verdict == "harmless"
    assert judged.triage.reasons[0].startswith("the loss holds")
    assert judged.is_quiet


@pytest.mark.parametrize(
    ("told", "verdict"),
    [
        ({"importances": MATTERS}, "changed world"),
        ({"importances": HARDLY}, "harmless"),
        ({}, "harmless"),
        ({"estimated_increase": 0.3}, "changed world"),
        ({"estimated_increase": 0.05}, "harmless"),
    ],
)
def test_without_labels_what_matters_to_the_model_decides(told: dict[str, Any], verdict: str) -> None:
    assert _judge(report(MOVED), **told).triage.verdict == verdict


def test_most_columns_together_are_a_changed_world_without_labels() -> None:
    moved = [column(f"c{number}", p=1e-12, effect=0.8) for number in range(8)]

    assert _judge(report(*moved, n_quiet=2)).triage.verdict == "changed world"


def test_nothing_at_all_is_quiet() -> None:
    judged = _judge(losses=_losses(1.0))

    assert (judged.triage.verdict, judged.triage.reasons, judged.is_quiet) == ("quiet", (), True)


def test_the_first_windows_teach_what_is_usual_though_all_of_them_differ() -> None:
    """Served in another season than trained in, without labels: the alarm is raised once and custom is learnt."""
    moved = [column(f"c{number}", p=1e-12, effect=0.9) for number in range(8)]
    memory, verdicts, n_new = AlarmMemory(), [], 0
    for number in range(12):
        judged = judge_window(facts(number), report(*moved, n_quiet=2), SPEC, memory)
        memory = judged.memory
        verdicts.append(judged.triage.verdict)
        n_new += sum(alarm.is_new for alarm in judged.judgement.alarms)

    assert n_new == 1
    assert verdicts[-3:] == ["quiet"] * 3


def test_the_same_window_is_judged_the_same() -> None:
    first, second = (_judge(report(MOVED), losses=_losses(1.3), importances=MATTERS) for _ in range(2))

    assert first == second
