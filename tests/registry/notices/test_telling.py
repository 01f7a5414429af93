"""Claims about what the ledger, an ended run and a closed alarm are told as."""

from __future__ import annotations

from datetime import timedelta
from typing import Any, get_args

import pytest

from base.receivers import KINDS
from console.cli import app
from registry.notices.alarm_telling import tell_alarm_end
from registry.notices.telling import tell_decision, tell_end
from registry.notices.wording import _NEXT, write_digest, write_message
from registry.tables import AlarmRow, Run
from tests.registry.notices.happenings import NOON, a_decision, a_happening

_WINDOW = ["2026-02-23T00:00:00+00:00", "2026-03-02T00:00:00+00:00"]
_ALARM = {"alarm": "a-1", "kind": "drift", "columns": ["age", "fare"], "window": _WINDOW, "verdict": "changed world"}


def _wish(kind: str) -> dict[str, Any]:
    return {"inputs": {"wish": {"kind": kind, "reason": "6 of 17 features drifted"}}}


@pytest.mark.parametrize(
    ("kind", "outcome", "evidence", "told"),
    [
        ("alarm", "drift raised", _ALARM, [("alarm.raised", "warning"), ("drift.detected", "info")]),
        ("alarm", "performance raised", {"kind": "performance"}, [("alarm.raised", "warning")]),
        ("alarm", "muted", {}, []),
        ("trigger", "start", _wish("drift"), [("drift.detected", "info"), ("training.requested", "info")]),
        ("trigger", "merge", _wish("drift"), [("drift.detected", "info")]),
        ("trigger", "start", _wish("schedule"), [("training.requested", "info")]),
        ("trigger", "merge", _wish("webhook"), []),
        ("trigger", "suppress", _wish("missing_data"), [("data.missing", "warning")]),
        ("trigger", "give up", {"launch": "l-1"}, [("training.given_up", "critical")]),
        ("training", "granted", {"inputs": {"trigger": "drift"}}, [("training.started", "info")]),
        ("data", "refused", {"faults": [{"column": "age", "found": "-3"}]}, [("data.refused", "warning")]),
        ("data", "nothing new", {}, []),
        ("data", "4 snapshots deleted", {}, []),
        ("gate", "better", {}, []),
        ("approval", "asked", {"version": 3}, [("approval.asked", "notice")]),
        ("approval", "rejected", {"version": 3}, [("approval.answered", "notice")]),
        ("promotion", "churn@champion = 3", {"number": 3, "previous": 2}, [("model.promoted", "notice")]),
        ("promotion", "churn@shadow = 3", {"number": 3, "previous": 2}, [("model.promoted", "info")]),
        ("rollback", "churn@champion = 2", {"number": 2, "previous": 3}, [("model.rolled_back", "warning")]),
        ("rollout", "canary started", {"kind": "canary", "challengers": [4]}, [("rollout.moved", "notice")]),
        ("rollout", "canary 4: 25.0%", {"kind": "canary", "challengers": [4]}, [("rollout.moved", "info")]),
        ("rollout", "canary rolled_back", {"kind": "canary", "challengers": [4]}, [("rollout.moved", "warning")]),
        ("token", "ops: made", {}, []),
        ("notices", "muted", {}, []),
        ("a kind of a later version", "done", {}, []),
    ],
)
def test_a_decision_is_told_as(kind: str, outcome: str, evidence: dict[str, Any], told: list[tuple[str, str]]) -> None:
    happenings = tell_decision(a_decision(kind, outcome, evidence=evidence))

    assert [(each.kind, each.severity) for each in happenings] == told
    for happening in happenings:
        assert happening.title.startswith("churn: ")
        assert "\nWhy: " in happening.text
        assert happening.at == NOON
    assert len({happening.key for happening in happenings}) == len(happenings)


def test_a_drifted_window_is_one_happening_whoever_tells_of_it() -> None:
    _, by_alarm = tell_decision(a_decision("alarm", "drift raised", evidence=_ALARM))
    by_trigger, _ = tell_decision(
        a_decision("trigger", "start", evidence={**_wish("drift"), "window": _WINDOW}, sequence=8)
    )

    assert by_alarm.key == by_trigger.key


def test_an_alarm_is_as_grave_as_its_row_says_and_another_column_is_another_sign() -> None:
    row = AlarmRow(
        id="a-1", model="churn", kind="drift", columns=["age"], severity="high", reason="", verdict="",
        p_adjusted=0.001, window_start=NOON, window_stop=NOON,
    )  # fmt: skip
    grave = tell_decision(a_decision("alarm", "drift raised", evidence=_ALARM), row)[0]
    other = tell_decision(a_decision("alarm", "drift raised", evidence={**_ALARM, "columns": ["age"]}), row)[0]
    again = tell_decision(a_decision("alarm", "drift raised", evidence=_ALARM, sequence=9, reason="0.41"), row)[0]

    assert grave.severity == "critical"
    assert "drift in age, fare" in grave.title
    assert "It looks like changed world" in grave.text
    assert grave.topic == other.topic == again.topic
    assert grave.sign == again.sign != other.sign


def _run(status: str, reason: str = "the reason") -> Run:
    return Run(
        id="r-1", pipeline="churn", pipeline_version="d", trigger="drift", status=status, step="train", reason=reason,
        owner="me", prefect_run="f-1", lease_until=NOON, started_at=NOON, finished_at=NOON + timedelta(minutes=1),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("status", "severity"),
    [("promoted", "info"), ("kept", "info"), ("waiting", "info"), ("refused", "info"), ("failed", "critical")],
)
def test_a_run_that_ended_is_told_by_its_status(status: str, severity: str) -> None:
    told = tell_end(_run(status))

    assert (told.kind, told.severity, told.flow_run) == ("training.finished", severity, "f-1")
    assert told.text.endswith("Why: the reason")
    assert ("at step train" in told.text) == (status == "failed")


def test_a_closed_alarm_says_how_long_it_was_seen() -> None:
    row = AlarmRow(
        id="a-1", model="churn", kind="drift", columns=["age"], severity="high", reason="", verdict="",
        p_adjusted=0.001, window_start=NOON, window_stop=NOON, raised_at=NOON, closed_at=NOON + timedelta(days=3),
        n_windows=4, closed_because="quiet for 3 windows",
    )  # fmt: skip

    told = tell_alarm_end(row)

    assert (told.kind, told.severity) == ("alarm.closed", "notice")
    assert "seen in 4 windows.\nWhy it is over: quiet for 3 windows" in told.text


def test_a_title_is_one_printable_line_and_a_text_is_no_book() -> None:
    decision = a_decision("promotion", "churn@champion = 3\r\nBcc: all@example.org", reason="x" * 10_000)

    (told,) = tell_decision(decision)

    assert told.title.isprintable()
    assert len(told.text) == 1500


def _commands() -> set[str]:
    import typer.main

    group: Any = typer.main.get_command(app)
    found = set()
    for name, command in group.commands.items():
        found |= {f"{name} {sub}" for sub in getattr(command, "commands", {})} or {name}
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_to_do_next_is_a_command_that_there_is(kind: str) -> None:
    advice = dict(_NEXT)[kind]  # type: ignore[index]
    commands = [part for part in advice.split("`")[1::2] if part.startswith("everfit ")]
    known = _commands()

    assert commands
    for command in commands:
        words = command.removeprefix("everfit ").split()
        assert words[0] in known or " ".join(words[:2]) in known, command


def test_a_message_outside_production_says_so_and_links_where_an_address_is_known() -> None:
    happening = a_happening(link="/v1/models/churn", flow_run="f-1")
    message = write_message(happening, public_url="https://ml.example.org/", environment="staging")

    assert message.title == "[staging] churn: an alarm about drift in age"
    assert (
        "Look: https://ml.example.org/v1/models/churn\nPrefect flow run: f-1\nWhen: 2026-03-02 12:00 UTC"
        in message.body
    )
    assert "Look:" not in write_message(happening).body


def test_a_digest_counts_all_and_shows_the_gravest_first() -> None:
    happenings = [a_happening(f"k{n}", severity="notice", at=NOON + timedelta(seconds=n)) for n in range(40)]
    happenings.append(a_happening("bad", severity="critical", title="bike: a training failed", pipeline="bike"))

    digest = write_digest(happenings)

    assert digest.severity == "critical"
    assert digest.title == "churn, bike: 41 happenings (1 critical, 40 notice)"
    lines = digest.body.splitlines()
    assert lines[0].endswith("critical: bike: a training failed")
    assert "… and 21 more" in lines


def test_every_kind_is_written_somewhere() -> None:
    assert set(_NEXT) == set(KINDS) == set(get_args(a_happening().__class__.model_fields["kind"].annotation))
