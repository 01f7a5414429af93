"""The flow on a real Prefect server: what it leaves in the console, and what becomes of a second one."""

from __future__ import annotations

import re
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from base.actors import name_person
from base.definition import read_pipeline
from registry.ledger import list_decisions
from registry.models import list_versions
from registry.pipelines import register_pipeline
from registry.runs import begin_run, list_runs, this_process
from registry.store import Registry
from tests.pipelines import define, make_trips, write_pipeline
from tests.trainings import Trainings

if TYPE_CHECKING:
    from prefect.client.schemas.objects import Artifact

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def test_a_run_leaves_what_a_person_would_look_at(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(), define(name="late_trips"))

    assert trainings.train(definition, reason="a look") == 0

    with registry.database.read() as session:
        (run,) = list_runs(session)
    artifacts = _artifacts(run.prefect_run)
    assert set(artifacts) == {"late-trips-verdict", "late-trips-metrics", "late-trips-report"}
    verdict = str(artifacts["late-trips-verdict"].data)
    assert verdict.startswith("# late_trips version 1: first")
    assert run.id in verdict
    assert "beats the baseline | yes" in verdict
    assert "log_loss" in str(artifacts["late-trips-metrics"].data)
    report = artifacts["late-trips-report"]
    assert "/v1/models/late_trips/versions/1/report" in str(report.data)
    pages = re.findall(r"file://(/\S+[.]html)", str(report.description))
    assert len(pages) == 2, "the report and the validation"
    for page in pages:
        assert Path(page).read_text().startswith("<!doctype html>")


@pytest.mark.parametrize(("trigger", "code"), [("person", 4), ("drift", 0), ("schedule", 0)])
def test_a_second_training_of_one_pipeline_is_merged_or_told(
    trigger: str, code: int, trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips())
    version = register_pipeline(registry, read_pipeline(definition))
    with registry.database.write() as session:
        live, _ = begin_run(
            session, version, parameters={}, trigger="person", owner=this_process(), lease=timedelta(minutes=1)
        )

    assert trainings.train(definition, trigger=trigger, reason="loss +12 %") == code

    with registry.database.read() as session:
        (run,) = list_runs(session)
        decisions = list_decisions(session)
        assert list_versions(session) == []
    assert (run.id, run.status) == (live.id, "running")
    (decision,) = decisions
    assert (decision.kind, decision.outcome) == ("trigger", "merge")
    assert decision.actor == (name_person() if trigger == "person" else f"trigger {trigger}")
    assert live.id in decision.reason
    assert decision.evidence["inputs"]["wish"]["reason"] == "loss +12 %"


def test_what_asked_for_a_training_stands_in_its_record(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips())

    assert trainings.train(definition, trigger="performance", reason="loss +12 %") == 0

    with registry.database.read() as session:
        (run,) = list_runs(session)
        decisions = list_decisions(session)
    assert (run.trigger, run.parameters["reason"]) == ("performance", "loss +12 %")
    assert {decision.actor for decision in decisions} == {"trigger performance"}


def _artifacts(flow_run: str | None) -> dict[str | None, Artifact]:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

    assert flow_run is not None
    of_this_run: Any = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[UUID(flow_run)]))
    with get_client(sync_client=True) as client:
        return {artifact.key: artifact for artifact in client.read_artifacts(artifact_filter=of_this_run)}
