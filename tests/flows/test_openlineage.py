"""Claims about a live training that leaves OpenLineage events: all are there, in order; a dead collector fails none."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from registry.runs import list_runs
from registry.store import Registry
from tests.pipelines import make_trips, write_pipeline
from tests.trainings import Trainings

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

STEPS = ["extract", "validate_data", "prepare", "train", "evaluate", "validate_model", "refit", "promote"]


@contextmanager
def _collector(status: int = 201) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Listen where a lineage collector would, and give its address and what it was sent."""
    taken: list[dict[str, Any]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            taken.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/api/v1/lineage", taken
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _check(events: list[dict[str, Any]]) -> None:
    """Check that events tell one whole run: each step begins and completes within it, and reads what was written."""
    kinds = [(event["job"]["name"], event["eventType"]) for event in events]
    steps = [pair for step in STEPS for pair in ((f"trips.{step}", "START"), (f"trips.{step}", "COMPLETE"))]
    assert kinds == [("trips", "START"), *steps, ("trips", "COMPLETE")]
    runs = {event["run"]["runId"] for event in events if event["job"]["name"] == "trips"}
    assert len(runs) == 1
    parents = {event["run"]["facets"]["parent"]["run"]["runId"] for event in events[1:-1]}
    assert parents == runs
    by_job = {event["job"]["name"]: event for event in events if event["eventType"] == "COMPLETE"}
    for reader, writer in (("validate_data", "extract"), ("train", "prepare"), ("promote", "refit")):
        written = {(each["namespace"], each["name"]) for each in by_job[f"trips.{writer}"]["outputs"]}
        read = {(each["namespace"], each["name"]) for each in by_job[f"trips.{reader}"]["inputs"]}
        assert written <= read, (reader, writer)
    assert by_job["trips.extract"]["outputs"][0]["outputFacets"]["outputStatistics"]["rowCount"] == 300


def test_a_file_gets_every_event_of_each_run(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    definition, file = write_pipeline(tmp_path / "trips", make_trips(300)), tmp_path / "lineage" / "events.jsonl"

    code = trainings.train(definition, environment={"EVERFIT_OPENLINEAGE": str(file)})

    assert code == 0
    _check([json.loads(line) for line in file.read_text().splitlines()])


def test_a_collector_gets_them_by_http(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(300))

    with _collector() as (address, taken):
        code = trainings.train(definition, environment={"EVERFIT_OPENLINEAGE": address})

    assert code == 0
    _check(taken)


def test_the_end_of_a_refused_run_says_why(trainings: Trainings, registry: Registry, tmp_path: Path) -> None:
    trips = make_trips(300).assign(late=True)
    definition, file = write_pipeline(tmp_path / "trips", trips), tmp_path / "events.jsonl"

    code = trainings.train(definition, environment={"EVERFIT_OPENLINEAGE": str(file)})

    last = json.loads(file.read_text().splitlines()[-1])
    assert code in (3, 4)
    assert last["eventType"] == "FAIL"
    with registry.database.read() as session:
        (run,) = list_runs(session)
    assert last["run"]["facets"]["errorMessage"]["message"] == run.reason


@pytest.mark.parametrize("is_listening", [False, True], ids=["nobody listens", "answers 500"])
def test_a_dead_collector_fails_no_training(
    trainings: Trainings, registry: Registry, tmp_path: Path, is_listening: bool
) -> None:
    definition = write_pipeline(tmp_path / "trips", make_trips(300))

    with _collector(status=500) as (address, taken):
        target = address if is_listening else "http://127.0.0.1:9/lineage"
        code = trainings.train(definition, environment={"EVERFIT_OPENLINEAGE": target})

    assert code == 0
    # It did not take the beginning, so it is not asked again.
    assert len(taken) == int(is_listening)
    with registry.database.read() as session:
        (run,) = list_runs(session)
    assert run.status == "promoted"
