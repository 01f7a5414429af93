"""Claims about what alarms remember between windows: it comes back from the registry as it was."""

from __future__ import annotations

from base.monitor_spec import MonitorSpec
from monitoring.alarm_memory import closing_reasons, describe_judged, raised_alarms, recall
from monitoring.judgement import AlarmMemory, judge_window
from registry.alarms import list_alarms, read_memory, record_window
from registry.store import Registry
from registry.tables import WindowRow
from tests.monitoring.alarms.findings import column, facts, report

SPEC = MonitorSpec(window="1 day", confirm="2 of 3")


def test_windows_judged_from_the_registry_are_judged_as_in_memory(any_registry: Registry) -> None:
    moved = column("fare", p=1e-12, effect=0.9)
    kept = AlarmMemory()
    for number in range(10):
        found = report(moved) if number >= 7 else report()
        with any_registry.database.read() as session:
            memory = read_memory(session, "churn", now=facts(number).stop)
        about = facts(number)
        in_memory, stored = (judge_window(about, found, SPEC, each) for each in (kept, recall(memory)))
        row = WindowRow(
            model="churn",
            start=about.start,
            stop=about.stop,
            version=1,
            n_rows=1_000,
            n_labelled=0,
            outcome="",
            reason="",
        )
        with any_registry.database.write() as session:
            record_window(
                session,
                describe_judged(row, stored),
                revision=memory.revision,
                state=stored.memory.state.model_dump(mode="json"),
                alarms=raised_alarms(stored),
                closed=closing_reasons(stored),
                owner="anna",
                now=about.stop,
            )
        kept = in_memory.memory

        assert stored.judgement == in_memory.judgement
        assert stored.triage == in_memory.triage

    with any_registry.database.read() as session:
        (alarm,) = list_alarms(session, "churn")
    assert (alarm.window_start, alarm.n_windows, alarm.owner) == (facts(8).start, 1, "anna")
