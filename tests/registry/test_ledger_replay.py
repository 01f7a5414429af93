"""Claims about the replay: what was decided is decided again from what is stored, and a change is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.artifacts import Artifact
from base.settings import Settings
from registry.ledger import list_decisions
from registry.ledger_replay import Replayed, _changed, find_strayed_aliases, replay_decisions
from registry.needed_files import find_needed
from registry.openlineage import LineageEmitter, describe_run, send_events
from registry.runs import list_runs
from registry.store import Registry, open_registry
from registry.tables import Alias, Decision
from tests.pipelines import make_pipeline, make_trips, train


@pytest.fixture
def trained(tmp_path: Path, settings: Settings) -> Registry:
    """A registry with one training in it."""
    train(make_pipeline(tmp_path / "trips", make_trips()), settings)
    return open_registry(settings)


def _gate(found: list[Replayed]) -> Replayed:
    return next(each for each in found if each.decision.kind == "gate")


def test_a_verdict_is_the_same_again_and_the_day_it_is_not_is_told(trained: Registry) -> None:
    assert [each.answer for each in replay_decisions(trained)] == ["identical", "identical"]

    with trained.database.write() as session:
        decision = list_decisions(session, kind="gate")[0]
        verdict = decision.evidence["verdict"] | {"promote": False, "confidence": 0.5}
        decision.evidence = decision.evidence | {"verdict": verdict}
        session.add(decision)
    found = list(replay_decisions(trained))
    assert _gate(found).answer == "differs"
    assert "confidence: written 0.5, decided again 0.95" in _gate(found).told
    assert [each.answer for each in found] == ["differs", "differs"]


def test_inputs_that_were_tampered_with_are_told_from_inputs_that_are_gone(trained: Registry) -> None:
    with trained.database.read() as session:
        losses = Artifact.model_validate(list_decisions(session, kind="gate")[0].evidence["inputs"]["losses"])
    file = Path(trained.artifacts.local_path(losses))
    content = bytearray(file.read_bytes())
    content[-1] ^= 1

    file.write_bytes(content)
    assert _gate(list(replay_decisions(trained))).answer == "differs"
    file.unlink()
    assert _gate(list(replay_decisions(trained))).answer == "cannot"


def test_retention_keeps_what_a_verdict_is_replayed_from(trained: Registry) -> None:
    with trained.database.write() as session:
        (run,) = list_runs(session)
        inputs = list_decisions(session, kind="gate")[0].evidence["inputs"]
        needed = find_needed(session, forgotten_runs=[run.id])

    assert {inputs["gate"]["digest"], inputs["losses"]["digest"]} <= needed


def test_an_alias_that_was_moved_past_the_ledger_is_found(trained: Registry) -> None:
    with trained.database.write() as session:
        assert find_strayed_aliases(session) == []
        session.delete(session.get_one(Alias, (trained.environment, "trips", "champion")))
        session.flush()

        assert find_strayed_aliases(session) == ["trips@champion in prod is version none, the ledger says 1"]


def test_a_decision_without_inputs_cannot_be_told(trained: Registry) -> None:
    with trained.database.write() as session:
        decision: Decision = list_decisions(session, kind="gate")[0]
        decision.evidence = {"verdict": decision.evidence["verdict"]}
        session.add(decision)

    assert _gate(list(replay_decisions(trained))).answer == "cannot"


def test_a_run_becomes_events_and_a_dead_receiver_is_told_of_once(
    trained: Registry, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with trained.database.read() as session:
        (run,) = list_runs(session)
        events = describe_run(session, run)

    assert [event["eventType"] for event in (events[0], events[-1])] == ["START", "COMPLETE"]
    file = tmp_path / "events" / "lineage.jsonl"
    assert send_events(events, str(file)) == len(events) == len(file.read_text().splitlines())
    emitter = LineageEmitter("http://127.0.0.1:9/lineage")
    emitter.begin(trained, run.id)
    emitter.end(trained, run.id)
    assert sum("were not taken by" in record.message for record in caplog.records) == 1


def test_other_words_for_the_same_figures_are_no_other_verdict() -> None:
    written = {"outcome": "better", "reason": "better: by 1", "checks": [{"name": "size", "evidence": "1 MB"}]}
    worded = {"outcome": "better", "reason": "better by 1", "checks": [{"name": "size", "evidence": "one MB"}]}

    assert _changed(written, worded) == []
    assert _changed(written, worded | {"outcome": "worse"}) == ["outcome: written 'better', decided again 'worse'"]


def test_a_verdict_of_before_a_figure_was_measured_is_no_other_verdict() -> None:
    servability = {"n_rows": 32, "p95_ms": 2.9}
    written = {"outcome": "first", "promote": False, "checks": [], "servability": servability}

    assert _changed(written, written | {"servability": servability | {"n_timed_passes": 0}}) == []
    assert _changed(written, written | {"servability": servability | {"n_timed_passes": 7}}) != []
    assert _changed(written, written | {"promote": True}) != []
