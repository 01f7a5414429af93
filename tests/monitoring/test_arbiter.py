"""What becomes of a trigger: every branch of the rule, and the laws that hold whatever is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from base.triggers_spec import TriggersSpec
from monitoring.arbiter import LIMITS, Circumstances, OpenLaunch, Ruling, Spent, Training, Wish, rule

NOW = datetime(2024, 6, 15, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


def _trained(ago: timedelta, *, as_of: datetime | None = None, trigger: str = "drift") -> Training:
    return Training(run="r1", trigger=trigger, started_at=NOW - ago, as_of=as_of)


WAITING, SENT = (OpenLaunch(launch="l1", state=state) for state in ("waiting", "sent"))
BEGUN = OpenLaunch(launch="l1", state="begun")
LATER = OpenLaunch(launch="l1", state="waiting", not_before=NOW + timedelta(hours=3))
WEEK = {"cooldown": "7 days"}
COUNT, COMPUTE = {"budget": "2 per 30 days"}, {"budget": "2 hours per 7 days"}
NIGHT = {"quiet_hours": "11:00-14:30"}
ALARM: dict[str, Any] = {"kind": "drift", "reason": "loss +12 %"}
PERSON: dict[str, Any] = {"kind": "person", "reason": "a look"}
HOOK: dict[str, Any] = {"kind": "webhook", "reason": "files came"}

# Asked a minute ago, or two, while a run was under way that has ended since: the flow run waited for a worker, say.
ENDED = {"last_training": Training(run="r1", trigger="drift", started_at=NOW - 3 * MINUTE, ended_at=NOW - MINUTE / 2)}
EARLY, LATE = ({"occurred_at": NOW - minutes * MINUTE} for minutes in (2, 1))

CASES: list[tuple[str, dict[str, Any], dict[str, Any], dict[str, Any], str, str]] = [
    ("the first alarm", ALARM, {}, {}, "start", "loss +12 %"),
    ("data that did not come", {"kind": "missing_data"}, {}, {}, "suppress", "no training mends"),
    ("of a run's own making", HOOK, {"causes": ("r7",)}, {}, "suppress", "it came of run r7 itself"),
    ("a person, of a run's making", PERSON, {"causes": ("r7",)}, {}, "start", "a look"),
    ("an alarm beside a run", ALARM, {"under_way": _trained(DAY)}, {}, "merge", "run r1 is under way"),
    ("a schedule beside a run", {"kind": "schedule"}, {"under_way": _trained(DAY)}, {}, "merge", "r1"),
    ("a hook just after a run began", HOOK, {"under_way": _trained(MINUTE)}, {}, "merge", "r1"),
    (
        "a hook late beside a run",
        HOOK,
        {"under_way": _trained(2 * MINUTE), "open_launch": BEGUN},
        {},
        "merge",
        "follows",
    ),
    ("a click during a run, ruled on after it", PERSON | EARLY, ENDED, {}, "merge", "r1 was under way when this"),
    ("an alarm during a run, ruled on after it", ALARM | LATE, ENDED, {}, "merge", "r1 was under way when this"),
    ("a late click during a run, ruled on after it", PERSON | LATE, ENDED, {}, "start", "a look"),
    ("of one's own data, during a run", PERSON | EARLY | {"is_exact": True}, ENDED, {}, "start", "a look"),
    ("after a run", ALARM, ENDED, {}, "start", "loss"),
    (
        "one that waits longer",
        HOOK,
        {"under_way": _trained(2 * MINUTE)},
        {"merge_within": "1 hour"},
        "merge",
        "under way",
    ),
    ("a hook late, in the cooldown", HOOK, {"under_way": _trained(DAY)}, WEEK, "suppress", "cooldown of 1 week"),
    (
        "a person late, in the cooldown",
        PERSON,
        {"under_way": _trained(DAY), "open_launch": BEGUN},
        WEEK,
        "merge",
        "follows",
    ),
    ("a person late, beside a run without a launch", PERSON, {"under_way": _trained(DAY)}, {}, "start", "follows it"),
    (
        "a person at the keyboard",
        PERSON | {"can_follow": False},
        {"under_way": _trained(DAY)},
        {},
        "merge",
        "under way",
    ),
    ("a launch waits", ALARM, {"open_launch": WAITING}, {}, "merge", "launch l1 waits to begin"),
    ("a launch was sent", ALARM, {"open_launch": SENT}, WEEK, "merge", "launch l1 was sent"),
    ("a launch waits for the morning", ALARM, {"open_launch": LATER}, {}, "merge", "not before 2024-06-15 15:00"),
    ("a person beside a launch", PERSON, {"open_launch": WAITING}, {}, "merge", "launch l1"),
    (
        "a person's own data",
        PERSON | {"is_exact": True, "as_of": NOW - DAY},
        {"open_launch": WAITING},
        {},
        "start",
        "l1 gives way",
    ),
    (
        "waited behind its answer",
        HOOK | {"occurred_at": NOW - DAY},
        {"last_training": _trained(MINUTE)},
        {},
        "merge",
        "has answered it",
    ),
    (
        "a person's, waited behind it",
        PERSON | {"occurred_at": NOW - DAY},
        {"last_training": _trained(MINUTE)},
        {},
        "merge",
        "answered",
    ),
    (
        "trained on it already",
        ALARM | {"as_of": NOW - 9 * DAY},
        {"last_training": _trained(DAY, as_of=NOW - 9 * DAY)},
        {},
        "suppress",
        "not before what was found",
    ),
    (
        "trained on all",
        ALARM | {"as_of": NOW - 9 * DAY},
        {"last_training": _trained(DAY)},
        {},
        "suppress",
        "trained as of 2024-06-14 12:00",
    ),
    (
        "trained before it",
        ALARM | {"as_of": NOW - DAY},
        {"last_training": _trained(DAY, as_of=NOW - 9 * DAY)},
        {},
        "start",
        "loss",
    ),
    (
        "in the cooldown",
        ALARM,
        {"last_training": _trained(6 * DAY)},
        WEEK,
        "suppress",
        "less than the cooldown of 1 week ago",
    ),
    ("at its end", ALARM, {"last_training": _trained(7 * DAY)}, WEEK, "start", "loss"),
    (
        "a cooldown of the data's time",
        ALARM | {"as_of": NOW - 30 * DAY},
        {"last_training": _trained(DAY, as_of=NOW - 36 * DAY)},
        WEEK,
        "suppress",
        "cooldown",
    ),
    (
        "a schedule after a schedule",
        {"kind": "schedule"},
        {"last_training": _trained(6 * DAY, trigger="schedule")},
        WEEK,
        "start",
        "schedule",
    ),
    (
        "a schedule after an alarm",
        {"kind": "schedule"},
        {"last_training": _trained(6 * DAY)},
        WEEK,
        "suppress",
        "cooldown",
    ),
    (
        "a person in the cooldown",
        PERSON,
        {"last_training": _trained(DAY)},
        WEEK,
        "start",
        "passes what would hold others back: trained as of",
    ),
    (
        "the budget is spent",
        ALARM,
        {"spent": Spent(trainings=2, frees_at=NOW + DAY)},
        COUNT,
        "suppress",
        "spent (2 trainings); there is room again at 2024-06-16 12:00",
    ),
    ("some budget is left", ALARM, {"spent": Spent(trainings=1)}, COUNT, "start", "loss"),
    (
        "computing is spent",
        ALARM,
        {"spent": Spent(trainings=1, compute_seconds=7200)},
        COMPUTE,
        "suppress",
        "7,200 seconds of computing",
    ),
    ("computing is left", ALARM, {"spent": Spent(trainings=9, compute_seconds=7199)}, COMPUTE, "start", "loss"),
    (
        "a person over budget",
        PERSON,
        {"spent": Spent(trainings=2)},
        COUNT,
        "start",
        "the budget of 2 per 30 days is spent",
    ),
    (
        "few labels",
        ALARM,
        {"last_training": _trained(DAY), "n_new_labels": 99},
        {"min_new_labels": 100},
        "suppress",
        "99 labels have come",
    ),
    (
        "enough labels",
        ALARM,
        {"last_training": _trained(DAY), "n_new_labels": 100},
        {"min_new_labels": 100},
        "start",
        "loss",
    ),
    ("labels that nobody counts", ALARM, {"last_training": _trained(DAY)}, {"min_new_labels": 100}, "start", "loss"),
    ("no labels, and no model yet", ALARM, {"n_new_labels": 0}, {"min_new_labels": 100}, "start", "loss"),
    (
        "new code needs no labels",
        {"kind": "code"},
        {"last_training": _trained(DAY), "n_new_labels": 0},
        {"min_new_labels": 100},
        "start",
        "code",
    ),
    ("in quiet hours", ALARM, {}, NIGHT, "start", "quiet hours until 2024-06-15 14:30"),
    ("a person in quiet hours", PERSON, {}, NIGHT, "start", "a look"),
]


@pytest.mark.parametrize(
    ("wish", "seen", "spec", "outcome", "told"), [row[1:] for row in CASES], ids=[row[0] for row in CASES]
)
def test_a_trigger_is_ruled_on(
    wish: dict[str, Any], seen: dict[str, Any], spec: dict[str, Any], outcome: str, told: str
) -> None:
    ruling = rule(Wish(**{"occurred_at": NOW} | wish), Circumstances(now=NOW, **seen), TriggersSpec(**spec))

    assert ruling.outcome == outcome
    assert told in ruling.reason


def test_quiet_hours_put_a_start_off_to_their_end_and_nobody_else_s() -> None:
    spec = TriggersSpec(quiet_hours="22:00-06:00", timezone="Europe/Zurich")
    night = datetime(2024, 3, 30, 23, tzinfo=UTC)  # the night in which the clock is put forward

    alarm = rule(Wish(kind="drift", occurred_at=night), Circumstances(now=night), spec)
    person = rule(Wish(kind="person", occurred_at=night), Circumstances(now=night), spec)

    assert alarm.not_before == datetime(2024, 3, 31, 4, tzinfo=UTC)
    assert person.not_before is None


_moments = st.timedeltas(timedelta(days=-60), timedelta(days=2)).map(lambda since: NOW + since)
_trainings = st.builds(
    Training,
    run=st.just("r1"),
    trigger=st.sampled_from(["person", "schedule", "drift"]),
    started_at=_moments,
    as_of=st.none() | _moments,
)
_kinds = st.sampled_from(
    ["person", "schedule", "drift", "performance", "webhook", "new_data", "missing_data", "staleness", "code"]
)
_wishes = st.builds(
    Wish,
    kind=_kinds,
    reason=st.sampled_from(["", "since a test wants it"]),
    occurred_at=_moments,
    as_of=st.none() | _moments,
    is_exact=st.booleans(),
    can_follow=st.booleans(),
)
_circumstances = st.builds(
    Circumstances,
    now=st.just(NOW),
    under_way=st.none() | _trainings,
    open_launch=st.sampled_from([None, WAITING, SENT, BEGUN, LATER]),
    last_training=st.none() | _trainings,
    spent=st.none() | st.builds(Spent, trainings=st.integers(0, 5), compute_seconds=st.floats(0, 1e5)),
    n_new_labels=st.none() | st.integers(0, 500),
    causes=st.sampled_from([(), ("r7",)]),
)
_specs = st.builds(
    TriggersSpec,
    cooldown=st.sampled_from(["0 days", "1 day", "3 weeks"]),
    budget=st.sampled_from([None, "2 per 30 days", "2 hours per 7 days"]),
    quiet_hours=st.sampled_from([None, "22:00-06:00", "11:00-14:00"]),
    min_new_labels=st.sampled_from([0, 100]),
)


@given(wish=_wishes, seen=_circumstances, spec=_specs)
def test_every_ruling_has_a_reason_and_depends_on_nothing_else(
    wish: Wish, seen: Circumstances, spec: TriggersSpec
) -> None:
    ruling = rule(wish, seen, spec)

    assert ruling.reason
    assert rule(wish, seen, spec) == ruling
    assert Ruling.model_validate_json(ruling.model_dump_json()) == ruling


@given(wish=_wishes, seen=_circumstances, spec=_specs)
def test_nothing_starts_beside_a_launch_that_does_not_give_way(
    wish: Wish, seen: Circumstances, spec: TriggersSpec
) -> None:
    ruling = rule(wish, seen, spec)

    if ruling.outcome == "start" and seen.open_launch is not None:
        assert ruling.displaces
        assert seen.under_way is None
        assert wish.kind == "person" or wish.is_exact
    if ruling.outcome == "merge":
        assert ruling.into is not None


@given(wish=_wishes.filter(lambda wish: wish.kind == "person"), seen=_circumstances, spec=_specs)
def test_a_person_s_wish_is_never_put_aside(wish: Wish, seen: Circumstances, spec: TriggersSpec) -> None:
    assert rule(wish, seen, spec).outcome != "suppress"


@given(wish=_wishes, seen=_circumstances, spec=_specs)
def test_what_was_answered_by_a_training_starts_no_other(wish: Wish, seen: Circumstances, spec: TriggersSpec) -> None:
    after = Training(run="r9", trigger="drift", started_at=max(NOW, wish.occurred_at, wish.moment) + MINUTE)
    alone = Circumstances(now=after.started_at, last_training=after)

    assert wish.is_exact or rule(wish, alone, spec).outcome != "start"


@given(wish=_wishes, seen=_circumstances, spec=_specs)
def test_what_the_ledger_keeps_is_enough_to_rule_again(wish: Wish, seen: Circumstances, spec: TriggersSpec) -> None:
    kept = TriggersSpec.model_validate(spec.model_dump(mode="json", include=set(LIMITS)))
    seen_again = Circumstances.model_validate(seen.model_dump(mode="json", exclude_none=True))

    assert rule(Wish.model_validate(wish.model_dump(mode="json")), seen_again, kept) == rule(wish, seen, spec)
