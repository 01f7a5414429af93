"""What changed since the snapshot before is told, by name, and never stops a run."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from base.references import Snapshot
from base.settings import Settings
from base.user_code import UserCode
from registry.pipelines import register_pipeline
from registry.snapshots import record_snapshot
from registry.store import Registry
from tasks.data_changes import tell_changes
from tasks.execution import RunContext, RunReference
from tasks.extraction import extract_data
from tests.pipelines import make_pipeline, make_trips

_LOG = logging.getLogger("test")


@pytest.fixture
def context(registry: Registry, settings: Settings, tmp_path: Path) -> RunContext:
    pipeline = make_pipeline(tmp_path / "trips", make_trips())
    version = register_pipeline(registry, pipeline)
    run = RunReference(
        id="run", owner="me", definition=pipeline.file, pipeline_version=str(version), home=settings.home
    )
    return RunContext(run, settings, registry, pipeline, UserCode(pipeline.code))


def test_a_unit_that_jumped_is_told_and_logged(context: RunContext, caplog: pytest.LogCaptureFixture) -> None:
    earlier = _extract(context)
    trips = make_trips()
    trips.assign(distance=trips["distance"] * 1000).to_parquet(context.pipeline.folder / "data.parquet")
    now = _extract(context)

    told = tell_changes(context, now, _LOG)

    assert [change for change in told if change.startswith("unit jump in 'distance'") and "x1,000" in change], told
    assert all(change.endswith(f"since snapshot {earlier.digest[:12]}") for change in told)
    assert all(change in caplog.text for change in told)


def test_the_first_snapshot_has_nothing_to_be_compared_with(context: RunContext) -> None:
    assert tell_changes(context, _extract(context), _LOG) == ()


def test_the_same_data_have_not_changed(context: RunContext) -> None:
    _extract(context)

    assert tell_changes(context, _extract(context), _LOG) == ()


def test_a_comparison_that_fails_stops_nothing(
    context: RunContext, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    _extract(context)
    make_trips(50).to_parquet(context.pipeline.folder / "data.parquet")
    now = _extract(context)

    def fail(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr("tasks.data_changes.describe_changes", fail)

    assert tell_changes(context, now, _LOG) == ()
    assert "could not be compared" in caplog.text
    assert "no space left" in caplog.text


def _extract(context: RunContext) -> Snapshot:
    snapshot = extract_data(context.pipeline, context.registry.artifacts, code=context.code, as_of=None)
    with context.registry.database.write() as session:
        record_snapshot(session, context.pipeline.name, snapshot, source="s", state={}, n_new=snapshot.n_rows)
    return snapshot
