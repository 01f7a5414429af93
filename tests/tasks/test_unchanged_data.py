"""What a run says of its source: what it read, or why it read nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from base.references import Rows, Snapshot
from base.settings import Settings
from registry.runs import StepKey, record_step
from registry.snapshots import record_snapshot
from registry.store import Registry
from registry.tables import Run
from tasks.run_record import keep_run
from tasks.unchanged_data import describe_extraction
from tests.pipelines import define, make_pipeline, make_trips

_KEY = StepKey(code="c", parameters="p", inputs={}, environment="e")


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({"read": 5, "new": 2}, {"extracted": {"read": 5, "new": 2}}),
        ({"read": 0, "new": 0}, {"extraction_reused": "nothing new; the 0 rows of snapshot"}),
        (None, {"extraction_reused": "as run "}),
    ],
    ids=["rows were read", "nothing was new", "the step was reused"],
)
def test_a_run_says_what_it_read_or_why_nothing(
    counts: dict[str, int] | None, expected: dict[str, Any], settings: Settings, registry: Registry, tmp_path: Path
) -> None:
    pipeline = make_pipeline(tmp_path / "trips", make_trips(5), define())
    snapshot = Snapshot(rows=Rows(segments=()), columns={})

    with keep_run(pipeline, settings, as_of=None, trigger="person", reason="", prefect_run=None) as run:
        with registry.database.write() as session:
            row = session.get_one(Run, run.id)
            if counts is None:
                document: dict[str, Any] = {"run": row, "step": "extract", "key": _KEY, "output": {}, "seconds": 1.0}
                first = record_step(session, **document, reused_from=None)
                record_step(session, **document, reused_from=first.id)
            else:
                state = {"counts": counts, "run": run.id}
                record_snapshot(session, pipeline.name, snapshot, source="s", state=state, n_new=0)
        found = describe_extraction(registry, run)

    assert found.keys() == expected.keys()
    assert all(str(found[name]).startswith(str(value)) for name, value in expected.items())
