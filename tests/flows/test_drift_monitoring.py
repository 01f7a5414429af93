"""Monitoring as a flow: from the prediction log to an event that Prefect's server has taken."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from base.settings import Settings
from registry.ledger import list_decisions
from registry.store import Registry
from tasks.retraining import RETRAIN_EVENT, pipeline_resource
from tests.monitoring.traffic import serve
from tests.pipelines import define, make_pipeline, make_trips, train
from tests.prefect_server import TestServer

pytestmark = [pytest.mark.prefect, pytest.mark.slow]
_PATIENCE_SECONDS = 60


def test_a_bad_window_of_served_traffic_asks_for_a_training_by_an_event(
    prefect_server: TestServer,
    settings: Settings,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.drift_monitoring import drift_monitoring

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    sections = define(name="monitored_trips", monitor={"window": "7 days", "min_rows": 50})
    pipeline = make_pipeline(tmp_path / "trips", make_trips(600), sections)
    trained = train(pipeline, settings, as_of=datetime(2013, 1, 26, tzinfo=UTC))
    serve(settings.home, registry, trained.manifest, make_trips(24 * 7, noise=0.9, start="2013-02-01"))

    found = drift_monitoring("monitored_trips", until=datetime(2013, 2, 9))  # noqa: DTZ001  (as a form would send it)
    again = drift_monitoring("monitored_trips", until=datetime(2013, 2, 9, tzinfo=UTC))

    (window,) = found["windows"]
    assert (window["outcome"], window["decision"], window["rows"]) == ("performance", "start", 168)
    assert again["windows"] == []
    with registry.database.read() as session:
        (decision,) = [decision for decision in list_decisions(session) if decision.kind == "trigger"]
    assert decision.outcome == "start"
    (event,) = _wait_for_events(prefect_server.api_url, "monitored_trips")
    assert event["payload"] == {
        "as_of": "2013-02-08T00:00:00+00:00",
        "trigger": "performance",
        "reason": decision.evidence["finding"],
    }


def test_an_unknown_pipeline_is_named(
    prefect_server: TestServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from base.errors import ArgumentError
    from flows.drift_monitoring import drift_monitoring

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))

    with pytest.raises(ArgumentError, match="there is no pipeline 'nothing'"):
        drift_monitoring("nothing")


def _wait_for_events(api_url: str, pipeline: str) -> list[dict[str, Any]]:
    """Ask the server for a pipeline's requests; it shows events a moment after it has taken them."""
    resource = {"id": [pipeline_resource(pipeline)]}
    question = {"filter": {"event": {"name": [RETRAIN_EVENT]}, "resource": resource}}
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while time.monotonic() < give_up:
        answer = httpx.post(f"{api_url}/events/filter", json=question, timeout=10).raise_for_status()
        events: list[dict[str, Any]] = answer.json()["events"]
        if events:
            return events
        time.sleep(0.1)
    raise AssertionError("the server shows no event")
