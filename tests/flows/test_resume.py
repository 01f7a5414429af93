"""kill -9 of a training at every place, then the same command again."""

from __future__ import annotations

from pathlib import Path
from uuid import UUID

import pytest
from sqlmodel import select

from base.times import utc_now
from registry.approvals import answer_approval
from registry.ledger import first_broken_link, list_decisions
from registry.models import alias_history, find_alias, list_versions
from registry.runs import list_runs, list_steps
from registry.store import Registry
from registry.tables import Run, StepExecution
from tests.pipelines import define, make_trips, write_pipeline
from tests.trainings import Place, Trainings, was_killed

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

STEPS = ("extract", "validate_data", "prepare", "train", "evaluate", "validate_model", "refit", "promote")

# Each row: where the process dies, and how many of the steps are finished by then.
PLACES = [
    (Place("tasks.extraction", "extract_rows", after=True), 0),
    (Place("tasks.data_validation", "validate_data", after=True), 1),
    (Place("tasks.preparation", "prepare_data", after=True), 2),
    (Place("tasks.training", "train_candidates", after=True), 3),
    (Place("tasks.evaluation", "evaluate_model", after=True), 4),
    (Place("tasks.model_validation", "validate_model", after=True), 5),
    (Place("tasks.refit", "fit_on_all", after=True), 6),
    (Place("tasks.promotion", "promote_model"), 7),
    # Inside the transaction: version and decisions are written, and not committed.
    (Place("tasks.promotion", "promote_version", after=True), 7),
    # Committed, and not recorded as a step.
    (Place("tasks.promotion", "promote_model", after=True), 7),
    (Place("flows.continuous_training", "close_run"), 8),
]


@pytest.mark.parametrize(("place", "n_finished"), PLACES, ids=[str(place) for place, _ in PLACES])
def test_a_killed_training_goes_on_where_it_broke(
    place: Place, n_finished: int, trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(300))

    first = trainings.train(definition, killed=place)
    dead_run, after_death = _run(registry).prefect_run, _steps(registry)
    second = trainings.train(definition)

    assert was_killed(first)
    assert second == 0
    with registry.database.read() as session:
        run = _run(registry)
        (version,) = list_versions(session, "trips")
        (move,) = alias_history(session, registry.environment, "trips")
        alias = find_alias(session, registry.environment, "trips")
        decisions = list_decisions(session)
        assert first_broken_link(session) is None
        executions = list_steps(session, run.id)
    assert [step.step for step in after_death] == list(STEPS[:n_finished])
    assert run.status == "promoted"
    assert run.under_way is None
    assert alias is not None
    assert (version.run_id, version.number, move.run_id, alias.revision) == (run.id, 1, run.id, 1)
    # Each of the two asked: nothing lived that the second could have gone into.
    asked = [decision.outcome for decision in decisions if decision.kind == "trigger"]
    assert asked == ["start", "start"]
    assert sorted(decision.kind for decision in decisions if decision.kind != "trigger") == [
        "gate",
        "promotion",
        "training",
    ]
    resumed = executions[n_finished:]
    assert [step.step for step in resumed] == list(STEPS)
    reused = [step.step for step in resumed if step.reused_from is not None]
    assert reused == list(STEPS[:n_finished])
    assert [step.output_digest for step in resumed[:n_finished]] == [step.output_digest for step in after_death]
    assert dead_run != run.prefect_run
    assert _state_in_prefect(dead_run) == "CRASHED"


def _run(registry: Registry) -> Run:
    with registry.database.read() as session:
        (run,) = list_runs(session)
    return run


def _state_in_prefect(flow_run: str | None) -> str:
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        state = client.read_flow_run(UUID(flow_run)).state
    return "" if state is None else str(state.type.value)


def _steps(registry: Registry) -> list[StepExecution]:
    with registry.database.read() as session:
        return list(session.exec(select(StepExecution)))


def test_a_training_that_died_while_people_agreed_is_closed_as_promoted(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    spec = define(validate_model={"approval": {"needed": 1, "approvers": ["ben"], "expires": "1 day"}})
    definition = write_pipeline(tmp_path / "trips", make_trips(300), spec)

    killed = trainings.train(definition, killed=Place("flows.continuous_training", "close_run"))
    run = _run(registry)
    assert (was_killed(killed), run.status) == (True, "running")
    with registry.database.write() as session:
        answer_approval(session, run.id, actor="ben", answer="approve", reason="seen", now=utc_now())

    again = trainings.train(definition, reason="another one")

    assert again == 0
    with registry.database.read() as session:
        statuses = {each.id: each.status for each in list_runs(session)}
    assert statuses.pop(run.id) == "promoted"
    assert len(statuses) == 1
