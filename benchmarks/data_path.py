"""Extract, validate and split a pipeline's rows, as the first three steps do, growing from what was there before.

``python -m benchmarks.data_path FOLDER HOME`` prints the seconds of each step and the rows as JSON. The steps'
functions are called without Prefect; what it costs to run them as tasks is a figure of the ``loop`` benchmark. Great
Expectations loads in a child: as ``everfit train`` does, it is started before anything else is imported, or with
``--warm``, as in a worker that has imported Everfit ahead, at the beginning of the extraction.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from base.expectations.asking import load_expectations_ahead, take_expectations
from base.imports_ahead import undisturbed_imports


def main() -> None:
    """Run the three steps once."""
    folder, home, is_warm = Path(sys.argv[1]), Path(sys.argv[2]), "--warm" in sys.argv
    if not is_warm:
        load_expectations_ahead()
    with undisturbed_imports():
        from base.definition import read_pipeline
        from base.references import ValidatedData
        from base.settings import Settings
        from base.user_code import UserCode
        from registry.pipelines import register_pipeline
        from registry.snapshots import newest_snapshot, read_snapshot, record_snapshot
        from registry.store import open_registry
        from tasks.data_validation import validate_data
        from tasks.extraction import extract_rows
        from tasks.snapshot_growth import Earlier
        from tasks.splits import split_rows

    settings = Settings(home=home, database_url=None, artifacts_url=None)
    registry = open_registry(settings)
    pipeline = read_pipeline(folder)
    register_pipeline(registry, pipeline)
    code, artifacts = UserCode(pipeline.code), registry.artifacts
    with registry.database.read() as session:
        row = newest_snapshot(session, pipeline.name)
        earlier = None if row is None else Earlier(read_snapshot(row), row.state)
    judged = home / "validated.json"
    previous = ValidatedData.model_validate_json(judged.read_bytes()) if judged.exists() else None
    seconds, began = {}, time.perf_counter()

    load_expectations_ahead()
    extraction = extract_rows(pipeline, artifacts, code=code, as_of=None, settings=settings, earlier=earlier)
    with registry.database.write() as session:
        record_snapshot(
            session,
            pipeline.name,
            extraction.snapshot,
            source="benchmark",
            state=extraction.state,
            n_new=extraction.snapshot.n_rows,
        )
    seconds["extract"], began = time.perf_counter() - began, time.perf_counter()
    with take_expectations() as expectations:
        validated = validate_data(extraction.snapshot, pipeline, artifacts, expectations, previous=previous)
    judged.write_text(validated.model_dump_json(), encoding="utf-8")
    seconds["validate_data"], began = time.perf_counter() - began, time.perf_counter()
    split = split_rows(artifacts, validated.good, pipeline.spec)
    seconds["split"] = time.perf_counter() - began
    print(
        json.dumps(
            {
                "seconds": seconds,
                "rows": extraction.snapshot.n_rows,
                "quarantined": validated.n_quarantined,
                "test": split.test.n_rows,
            }
        )
    )


if __name__ == "__main__":
    main()
