"""Claims about events, on a real Prefect server: each happening is one event, and none asks for a training."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import pytest

from base.receivers import KINDS
from base.times import utc_now
from deployments.notices.carrier import NotCarried
from deployments.notices.courier import Courier, Route
from deployments.notices.prefect_events import PrefectEvents, name_event, write_event
from registry.notices.sinks import PREFECT, Sink
from registry.store import Registry
from tasks.retraining import RETRAIN_EVENT, pipeline_resource
from tests.prefect_server import TestServer
from tests.registry.notices.happenings import a_happening, promote


@pytest.mark.parametrize("kind", KINDS)
def test_no_event_of_ours_asks_for_a_training(kind: Any) -> None:
    assert name_event(kind) != RETRAIN_EVENT
    assert write_event(a_happening(kind=kind))["event"].startswith("everfit.")


def test_the_same_happening_is_the_same_event_and_another_registrys_is_another() -> None:
    ids = [write_event(a_happening("decision/7"))["id"] for _ in range(2)]
    other = write_event(a_happening("decision/7", at=a_happening().at + timedelta(microseconds=1)))["id"]

    assert len({*ids}) == 1
    assert other not in ids


def _events(pipeline: str, n_wanted: int) -> list[dict[str, Any]]:
    from prefect.client.orchestration import get_client

    wanted = {
        "filter": {
            "resource": {"id": [pipeline_resource(pipeline)]},
            "occurred": {"since": (utc_now() - timedelta(days=1)).isoformat(), "until": utc_now().isoformat()},
            "order": "ASC",
        },
        "limit": 50,
    }
    deadline = time.monotonic() + 30
    while True:
        with get_client(sync_client=True) as client:
            found: list[dict[str, Any]] = client.request("POST", "/events/filter", json=wanted).json()["events"]
        if len(found) >= n_wanted or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.prefect
@pytest.mark.slow
def test_what_is_sent_twice_is_one_event_with_its_run(prefect_server: TestServer) -> None:
    flow_run = "0b0a4f1c-6d5e-4b1f-9a57-3f0c86c6a001"
    happenings = [
        a_happening(f"k{n}", pipeline="twice", kind=kind, at=utc_now() - timedelta(seconds=60 - n), flow_run=flow_run)
        for n, kind in enumerate(KINDS)
    ]

    for _ in range(2):
        PrefectEvents().carry(happenings, owner="")
    PrefectEvents().carry([a_happening("last", pipeline="twice", kind="model.promoted", at=utc_now())], owner="")

    found = _events("twice", len(KINDS) + 1)
    assert [event["event"] for event in found] == [*map(name_event, KINDS), "everfit.model.promoted"]
    assert found[0]["related"][0]["prefect.resource.id"] == f"prefect.flow-run.{flow_run}"
    assert found[0]["payload"]["text"] == "An alarm was raised.\nWhy: age moved by 0.4"


@pytest.mark.prefect
@pytest.mark.slow
def test_what_happened_while_the_server_was_away_is_told_when_it_is_back(
    prefect_server: TestServer, registry: Registry
) -> None:
    from prefect.settings import PREFECT_API_URL, temporary_settings

    late = timedelta()
    courier = Courier(registry, [Route(Sink(PREFECT), PrefectEvents())], now=lambda: utc_now() + late)
    courier.tick()
    with registry.database.write() as session:
        for number in (1, 2, 3):
            promote(session, number, pipeline="away")
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api"}):
        # In this thread, where the settings are those of the moment.
        with pytest.raises(NotCarried, match="Prefect's server did not take it: "):
            PrefectEvents().carry([a_happening()], owner="")
        courier.send_due(courier._routes[0])
    late = timedelta(minutes=2)
    courier.tick()
    assert courier.wait(30)

    assert [event["payload"]["version"] for event in _events("away", 3)] == [1, 2, 3]


@pytest.mark.prefect
@pytest.mark.slow
def test_what_the_server_calls_no_event_is_refused_for_good(
    prefect_server: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("deployments.notices.prefect_events.write_event", lambda _: {"event": "of another kind"})

    with pytest.raises(NotCarried, match="status 422") as refused:
        PrefectEvents().carry([a_happening()], owner="")

    assert refused.value.is_final
