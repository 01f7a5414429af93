"""Claims about `everfit trigger`, `everfit triggers` and `everfit why-not`: what was asked, and what became of it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from base.documents import as_document
from base.pipeline import Pipeline
from base.settings import Settings
from base.times import utc_now
from base.user_code import UserCode
from monitoring.desk import TriggerRequest, take
from registry.launches import find_open, give_up
from registry.pipelines import register_pipeline
from registry.runs import begin_run, finish_run, this_process
from registry.snapshots import record_snapshot
from registry.store import Registry
from registry.tables import Run
from tasks.extraction import extract_rows
from tests.console.conftest import Everfit
from tests.pipelines import define, make_pipeline, make_trips, train


@pytest.fixture
def trips(tmp_path: Path, registry: Registry) -> str:
    """A registered pipeline that was never trained."""
    _register(registry, tmp_path)
    return "trips"


def _register(registry: Registry, folder: Path, **triggers: Any) -> None:
    register_pipeline(registry, make_pipeline(folder / "trips", None, define(triggers=triggers)))


def _ask(registry: Registry, kind: Any, key: str, reason: str = "drifted", **more: Any) -> str:
    request = TriggerRequest(pipeline="trips", kind=kind, key=key, reason=reason, actor="monitoring", **more)
    return take(registry, request, now=utc_now()).trigger_id


def test_a_wish_is_granted_once_and_the_next_one_goes_into_the_same_training(everfit: Everfit, trips: str) -> None:
    first = everfit("trigger", trips, "--reason", "the refunds were entered", "--key", "load-7", "--json").document
    again = everfit("trigger", trips, "--reason", "the refunds were entered", "--key", "load-7")
    other = everfit("trigger", trips, "--reason", "and the fees", "--json").document

    assert (first["outcome"], first["is_new"], first["reason"]) == ("start", True, "the refunds were entered")
    assert first["trigger"] in again.out
    assert "it was asked before, under the same key" in again.out
    assert "`everfit dispatch`" in again.out
    assert (other["outcome"], other["launch"]) == ("merge", first["launch"])
    assert first["launch"] in other["reason"]


def test_the_list_names_who_asked_how_often_and_the_word(everfit: Everfit, trips: str, registry: Registry) -> None:
    for _ in range(3):
        everfit("trigger", trips, "--reason", "the refunds were entered", "--key", "load-7")
    late = _ask(registry, "missing_data", "no-labels", "no labels for 14 days")

    everything, suppressed = everfit("triggers", "list"), everfit("triggers", "list", trips, "--state", "suppressed")
    documents = everfit("triggers", "list", "--json").document

    assert [(row["kind"], row["state"], row["n_duplicates"]) for row in documents] == [
        ("missing_data", "suppressed", 0),
        ("person", "started", 2),
    ]
    assert "no training mends what did not come" in everything.out
    assert late in suppressed.out
    assert "load-7" not in suppressed.out
    assert "person" not in suppressed.out
    assert [row["id"] for row in everfit("triggers", "list", "--limit", "1", "--json").document] == [late]


def test_one_trigger_is_shown_with_what_its_sender_said_and_the_run_that_came_of_it(
    everfit: Everfit, trips: str, registry: Registry, tmp_path: Path
) -> None:
    shown = _ask(registry, "webhook", "msg_1", "prices changed", payload={"form": "event", "subject": "April"})
    version = register_pipeline(registry, make_pipeline(tmp_path / "trips", None, define(triggers={})))
    with registry.database.write() as session:
        launch = find_open(session, trips)
        assert launch is not None
        run, _ = begin_run(
            session,
            version,
            parameters={},
            trigger="webhook",
            owner=this_process(),
            lease=timedelta(minutes=1),
            launch=launch.id,
        )
    with registry.database.write() as session:
        finish_run(session, session.get_one(Run, run.id), status="kept", reason="the champion stays")

    told, document = everfit("triggers", "show", shown).out, everfit("triggers", "show", shown, "--json").document

    for part in ("webhook of trips", "by monitoring", "April", f"launch: {launch.id} has ended: kept"):
        assert part in told
    assert f"run: {run.id}: kept, the champion stays" in told
    assert (document["launched"]["run_id"], document["run"]["status"]) == (run.id, "kept")
    entry = everfit("why", str(document["decision"])).out
    assert "Trigger: start, by monitoring" in entry
    assert "Arbiter, version" in entry


# Each row: the command, and what is said of the mistake.
MISTAKES = [
    (["trigger", "tripz", "--reason", "why not"], "there is no pipeline 'tripz'; registered are trips; did you mean"),
    (["trigger", "trips", "--reason", " "], "--reason is empty"),
    (["trigger", "trips", "--reason", "x", "--as-of", "yesterday"], "--as-of"),
    (["triggers", "list", "tripz"], "there is no pipeline 'tripz'"),
    (["triggers", "list", "--state", "merge"], "expected one of"),
    (["triggers", "show", "t-1"], "there is no trigger 't-1'; `everfit triggers list`"),
    (["why-not", "tripz"], "there is no pipeline 'tripz'"),
    (["watch", "tripz"], "there is no pipeline 'tripz'"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(row[0]) for row in MISTAKES])
def test_what_is_not_there_is_named_with_the_way_out_and_changes_nothing(
    everfit: Everfit, trips: str, arguments: list[str], said: str
) -> None:
    finished = everfit(*arguments)

    assert finished.code == 2
    assert said in finished.err
    assert everfit("triggers", "list", "--json").document == []


def test_why_not_says_that_nothing_holds_a_training_back(everfit: Everfit, trips: str) -> None:
    finished = everfit("why-not", trips)

    assert "should an alarm come now, a training would start: nothing holds it back" in finished.out
    assert "last training: none yet" in finished.out
    assert "Nothing has asked for a training yet." in finished.out


def test_why_not_names_all_that_holds_a_training_back_and_what_became_of_the_last_that_asked(
    everfit: Everfit, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    triggers = {"cooldown": "14 days", "budget": "1 per 30 days", "schedule": "0 5 * * 1"}
    run = train(make_pipeline(tmp_path / "trips", make_trips(), define(triggers=triggers)), settings).run_id
    _ask(registry, "drift", "window-1", "6 of 17 features drifted")

    finished, document = everfit("why-not", "trips"), everfit("why-not", "trips", "--json").document

    assert "nothing would start: trained as of" in finished.out
    for part in (f"last training: run {run}", "cooldown: until", "0 trainings are left of 1 per 30 days", "schedule:"):
        assert part in finished.out
    assert document["now"]["outcome"] == "suppress"
    assert [row["state"] for row in document["rulings"]] == ["suppressed"]
    assert "less than the cooldown of 2 weeks ago" in document["rulings"][0]["ruling"]


def test_why_not_tells_of_a_launch_that_waits_and_of_why(everfit: Everfit, trips: str, registry: Registry) -> None:
    _ask(registry, "webhook", "msg_1")
    waiting = everfit("why-not", trips)
    with registry.database.write() as session:
        launch = find_open(session, trips)
        assert launch is not None
        give_up(session, launch.id, now=utc_now(), trouble="cancelled in Prefect before it began")
    free = everfit("why-not", trips)

    assert f"it would go into another: launch {launch.id} waits to begin" in waiting.out
    assert f"launch: {launch.id} waits to begin" in waiting.out
    assert "a training would start" in free.out


def test_why_tells_the_chain_from_a_webhook_over_the_arbiter_to_the_promotion(
    everfit: Everfit, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    definition = make_pipeline(tmp_path / "trips", make_trips())
    register_pipeline(registry, definition)
    first = _ask(registry, "webhook", "msg_1", "the prices have changed")
    _ask(registry, "drift", "window-1", "6 of 17 features drifted")
    with registry.database.read() as session:
        launch = find_open(session, "trips")
        assert launch is not None
    trained = train(definition, settings, trigger="webhook", launch=launch.id)

    told = everfit("why", "trips", "--json").document["explanation"]
    titles = list(told)

    assert titles.index("Who asked") < titles.index("How it was granted") < titles.index("The decision")
    granted = told["How it was granted"]
    assert granted.startswith("A webhook (monitoring) asked on")
    assert f"(trigger {first}); the arbiter granted launch {launch.id} (entry 1)" in granted
    assert "Into the same training went what an alarm of drift (monitoring) asked" in granted
    assert "The gate decided" in told["The decision"]
    assert "became champion in prod" in told["The decision"]
    assert trained.run_id in everfit("triggers", "show", first).out


def test_watch_says_what_it_sees_of_each_pipeline_and_what_is_due(
    everfit: Everfit, settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    definition = define(triggers={"new_data": "100 rows"})
    pipeline = make_pipeline(tmp_path / "trips", make_trips(300), definition)
    register_pipeline(registry, pipeline)
    never = everfit("watch")
    train(pipeline, settings)
    _write_snapshot_down(pipeline, settings, registry)
    quiet = everfit("watch", "trips")
    make_pipeline(tmp_path / "trips", make_trips(500), definition)

    due, again = everfit("watch", "trips", "--json").document, everfit("watch", "trips")

    assert "none yet: its first training is yours to ask for" in never.out
    assert "version 1" in quiet.out
    assert "0 rows" in quiet.out
    assert "→" not in quiet.out
    (watched,) = due["pipelines"]
    assert (watched["pipeline"], watched["champion"], watched["n_new_rows"]) == ("trips", 1, 200)
    (asked,) = watched["due"]
    assert (asked["outcome"], asked["is_new"]) == ("start", True)
    assert "(as before)" in again.out
    assert [row["kind"] for row in everfit("triggers", "list", "--json").document] == ["new_data"]


def _write_snapshot_down(pipeline: Pipeline, settings: Settings, registry: Registry) -> None:
    """Record what was read, as the extract step does it."""
    found = extract_rows(pipeline, registry.artifacts, code=UserCode(pipeline.code), as_of=None, settings=settings)
    with registry.database.write() as session:
        state = as_document(found.state)
        record_snapshot(session, pipeline.name, found.whole, source="s", state=state, n_new=found.whole.n_rows)
