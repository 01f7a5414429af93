"""Claims about registered pipelines and the lineage of their models."""

from __future__ import annotations

from pathlib import Path

import pytest

from base.definition import read_pipeline
from base.errors import ArgumentError, DefinitionError, EverfitError
from registry.lineage import trace_lineage
from registry.pipelines import find_pipeline, list_pipelines, register_pipeline
from registry.runs import StepKey, begin_run, finish_run, record_step, this_process
from registry.store import Registry
from registry.tables import ModelVersion
from tests.processes import run_at_once
from tests.registry.samples import LEASE, new_version

_DEFINITION = "name: churn\ntask: classification\ntarget: left\nextract: {source: data.parquet}\n"


@pytest.fixture
def definition(tmp_path: Path) -> Path:
    folder = tmp_path / "churn"
    folder.mkdir()
    (folder / "pipeline.yaml").write_text(_DEFINITION)
    (folder / "features.py").write_text("def add(frame): return frame")
    return folder / "pipeline.yaml"


def test_the_same_definition_and_code_are_the_same_version(any_registry: Registry, definition: Path) -> None:
    first = register_pipeline(any_registry, read_pipeline(definition))
    assert register_pipeline(any_registry, read_pipeline(definition)).digest == first.digest

    definition.write_text(_DEFINITION + "# a comment\n")
    assert register_pipeline(any_registry, read_pipeline(definition)).digest == first.digest
    definition.write_text(_DEFINITION + "owner: me\n")
    assert register_pipeline(any_registry, read_pipeline(definition)).digest != first.digest
    definition.write_text(_DEFINITION)
    (definition.parent / "features.py").write_text("def add(frame): return frame * 2")
    assert register_pipeline(any_registry, read_pipeline(definition)).digest != first.digest
    with any_registry.database.read() as session:
        assert list_pipelines(session) == ["churn"]


def test_processes_that_register_at_once_agree(any_registry: Registry, definition: Path) -> None:
    pipeline = read_pipeline(definition)

    first, *others = run_at_once(6, lambda _number: register_pipeline(any_registry, pipeline).digest)
    assert others == [first] * 5


def test_a_pipeline_is_found_by_its_file_folder_or_name(
    registry: Registry, definition: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_pipeline(registry, read_pipeline(definition))
    elsewhere = tmp_path / "elsewhere"
    (elsewhere / "churn").mkdir(parents=True)
    monkeypatch.chdir(elsewhere)

    for name in (str(definition), str(definition.parent), "churn"):
        assert find_pipeline(registry, name).file == definition


def test_what_is_no_pipeline_is_told_what_there_is(registry: Registry, definition: Path) -> None:
    with pytest.raises(
        ArgumentError, match="there is no pipeline 'churn', and no file of that name; registered are none"
    ):
        find_pipeline(registry, "churn")
    register_pipeline(registry, read_pipeline(definition))

    with pytest.raises(ArgumentError, match=r"registered are churn; did you mean 'churn'\?"):
        find_pipeline(registry, "chrun")
    with pytest.raises(DefinitionError, match=r"nowhere\.yaml: there is no such file"):
        find_pipeline(registry, "nowhere.yaml")


def test_a_version_is_traced_to_its_definition_code_and_steps(any_registry: Registry, definition: Path) -> None:
    from registry.models import register_version

    package = register_pipeline(any_registry, read_pipeline(definition))
    key = StepKey(code="c", parameters="p", inputs={"snapshot": "s"}, environment="e")
    with any_registry.database.write() as session:
        run, _ = begin_run(session, package, parameters={"a": 1}, trigger="person", owner=this_process(), lease=LEASE)
        step = record_step(session, run=run, step="extract", key=key, output={"n_rows": 3}, seconds=0.5)
        record_step(session, run=run, step="train", key=key, output={}, seconds=0, reused_from=step.id)
        version = register_version(session, new_version(package, run.id))
        finish_run(session, run, status="promoted", reason="better")
    with any_registry.database.read() as session:
        lineage = trace_lineage(session, version)

    assert (lineage.model, lineage.number, lineage.run_id, lineage.trigger) == ("churn", 1, run.id, "person")
    assert lineage.package["spec"]["name"] == "churn"
    assert list(lineage.package["code"]) == ["features.py"]
    assert [(step.step, step.reused, step.inputs) for step in lineage.steps] == [
        ("extract", False, {"snapshot": "s"}),
        ("train", True, {"snapshot": "s"}),
    ]


def test_a_version_of_nowhere_is_named(registry: Registry) -> None:
    ghost = ModelVersion(model="churn", number=3, run_id="none", pipeline_version="none")

    with (
        registry.database.read() as session,
        pytest.raises(EverfitError, match="the run or the definition behind churn@3"),
    ):
        trace_lineage(session, ghost)
