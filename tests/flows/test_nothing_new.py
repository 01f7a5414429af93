"""A source that grows: nothing new is a result, a crash loses no row, and old snapshots serve again."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlmodel import select

from registry.ledger import list_decisions
from registry.snapshots import list_snapshots
from registry.store import Registry
from registry.tables import Run
from tests.pipelines import define, make_trips, write_pipeline
from tests.trainings import Place, Trainings, was_killed

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

_GROWING = define(
    extract={"source": "data.parquet", "incremental": {"watermark": "at", "lateness": "1 day"}},
)


def test_a_source_without_new_rows_ends_the_run_and_new_rows_are_trained_on(
    trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(400), _GROWING)

    first = trainings.everfit("train", str(definition), "--json")
    second = trainings.everfit("train", str(definition), "--json")
    write_pipeline(tmp_path / "trips", make_trips(500), _GROWING)
    third = trainings.everfit("train", str(definition), "--json")
    digest = _snapshots(registry)[-1]
    fourth = trainings.everfit("train", str(definition), "--snapshot", digest[:12], "--json")

    assert [finished.code for finished in (first, second, third, fourth)] == [0, 0, 0, 0], fourth.err
    assert second.document["outcome"] == "nothing new"
    assert second.document["reason"].startswith("nothing new since 2013-01-17 15:00 UTC: run ")
    assert second.document["extraction_reused"].startswith(f"as run {first.document['run']} found it")
    assert fourth.document["extraction_reused"] == f"not read, since snapshot {digest[:12]} was asked for"
    # The draw of 500 trips is another one, so the last day of the 400 was corrected at the source.
    assert third.document["extracted"]["read"] == 124
    assert third.document["rows"] == 500
    assert fourth.document["rows"] == 400
    with registry.database.read() as session:
        assert [run.status for run in session.exec(select(Run).order_by("started_at"))][1] == "unchanged"
        assert "nothing new" in {decision.outcome for decision in list_decisions(session)}


@pytest.mark.parametrize(
    "place",
    [
        Place("tasks.extraction", "extract_rows", after=True),
        # Inside the transaction: the snapshot and its state are written, and not committed.
        Place("tasks.extraction", "record_snapshot", after=True),
    ],
    ids=str,
)
def test_a_killed_extraction_loses_no_row(
    place: Place, trainings: Trainings, registry: Registry, tmp_path: Path
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(300), _GROWING)
    trainings.train(definition)
    write_pipeline(tmp_path / "trips", make_trips(400), _GROWING)

    killed = trainings.train(definition, killed=place)
    recorded = len(_snapshots(registry))
    again = trainings.everfit("train", str(definition), "--json")

    assert (was_killed(killed), recorded) == (True, 1)
    assert (again.code, again.document["rows"]) == (0, 400)
    assert len(_snapshots(registry)) == 2


def _snapshots(registry: Registry) -> list[str]:
    with registry.database.read() as session:
        return [row.digest for row in list_snapshots(session)]
