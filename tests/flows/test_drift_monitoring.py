"""Monitoring as a flow: from the prediction log to a training that the arbiter has granted."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from base.settings import Settings
from registry.launches import find_open
from registry.ledger import list_decisions
from registry.store import Registry
from tests.monitoring.traffic import serve
from tests.pipelines import define, make_pipeline, make_trips, train
from tests.prefect_server import TestServer

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def test_a_bad_window_of_served_traffic_is_granted_a_training(
    prefect_server: TestServer,
    settings: Settings,
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from flows.drift_monitoring import drift_monitoring

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))
    monitor, triggers = {"window": "7 days", "min_rows": 50}, {"policy": "level"}
    sections = define(name="monitored_trips", monitor=monitor, triggers=triggers)
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
        launch = find_open(session, "monitored_trips")
    assert decision.outcome == "start"
    assert launch is not None
    assert (launch.id, launch.kind, launch.state) == (window["launch"], "performance", "waiting")
    assert (launch.as_of, launch.reason) == (datetime(2013, 2, 8, tzinfo=UTC), decision.evidence["finding"])


def test_an_unknown_pipeline_is_named(
    prefect_server: TestServer, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    from base.errors import ArgumentError
    from flows.drift_monitoring import drift_monitoring

    monkeypatch.setenv("EVERFIT_HOME", str(settings.home))

    with pytest.raises(ArgumentError, match="there is no pipeline 'nothing'"):
        drift_monitoring("nothing")
