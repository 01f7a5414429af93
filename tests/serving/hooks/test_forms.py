"""Claims about other systems' reports: which of them ask for a training, which only say that the data are broken."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlmodel import select

from base.errors import Fault
from base.webhooks import Webhook
from registry.runs import begin_run, finish_run, this_process
from registry.tables import PipelineVersion
from registry.webhooks import announce, list_deliveries
from serving.hooks.cloud_event import CloudEvent
from serving.hooks.forms.forms import read_known, read_wish
from serving.web.problems import FaultsFound
from tests.serving.hooks.reports import make_evidently, make_great_expectations
from tests.serving.hooks.senders import NOW, SECRET, Doorstep

_SAMPLES = Path(__file__).with_name("samples")


def _sample(name: str) -> dict[str, Any]:
    return dict(json.loads((_SAMPLES / f"{name}.json").read_text()))


@pytest.mark.parametrize(
    ("name", "asks", "reason", "blocked"),
    [
        ("alertmanager", True, "an alert fires: ModelErrorHigh (log loss of trips is above 0.5 for an hour)", ""),
        (
            "evidently_drift",
            True,
            "2 of 4 tests failed: Share of Drifted Columns: Less 0.500, Value Drift for column temp",
            "",
        ),
        (
            "evidently_broken",
            True,
            "3 of 4 tests failed: Column 'temp' missing values: Equal 0.000",
            "broken data: Column 'temp' missing values: Equal 0.000",
        ),
        ("evidently_quiet", False, "none of 4 tests failed", ""),
        (
            "great_expectations",
            True,
            "1 of 2 expectations failed: expect_column_values_to_be_between of temp",
            "broken data: 1 of 2 expectations failed: expect_column_values_to_be_between of temp",
        ),
        (
            "great_expectations_validation",
            True,
            "1 of 2 expectations failed: expect_column_values_to_be_between of temp",
            "broken data: 1 of 2 expectations failed: expect_column_values_to_be_between of temp",
        ),
        ("great_expectations_good", False, "all of 2 expectations were met", ""),
    ],
)
def test_each_system_is_understood(name: str, asks: bool, reason: str, blocked: str) -> None:
    wish = read_wish(_sample(name), pipeline="trips")

    assert (wish.asks, wish.reason, wish.blocked) == (asks, reason, blocked)
    assert name.startswith(wish.form)


def test_alerts_that_are_over_ask_for_nothing() -> None:
    group = _sample("alertmanager") | {"status": "resolved"}
    group["alerts"][0]["status"] = "resolved"

    wish = read_wish(group, pipeline="trips")

    assert not wish.asks
    assert wish.reason == "nothing fires any more: FeedLate, ModelErrorHigh"


def test_many_alerts_are_named_in_part() -> None:
    group = _sample("alertmanager")
    group["alerts"] = group["alerts"][:1] * 30

    wish = read_wish(group, pipeline="trips")

    assert wish.reason.startswith("30 alerts fire: ModelErrorHigh")
    assert wish.reason.endswith("and 25 more")
    assert len(wish.facts["alerts"]) == 20


@pytest.mark.parametrize(
    ("name", "changes", "faulty"),
    [
        ("alertmanager", {"version": "3"}, "version"),
        ("alertmanager", {"alerts": [{"status": "on"}]}, "alerts.0.status"),
        ("evidently_drift", {"tests": []}, "tests"),
        ("evidently_drift", {"tests": [3]}, "tests.0"),
        ("great_expectations", {"success": "maybe"}, "success"),
        ("great_expectations", {"validation_results": 1}, "validation_results"),
    ],
)
def test_a_report_that_is_not_whole_is_told_where(name: str, changes: dict[str, Any], faulty: str) -> None:
    with pytest.raises(FaultsFound) as caught:
        read_known(_sample(name) | changes, pipeline="trips")

    assert faulty in [fault.column for fault in caught.value.faults]


def test_a_snapshot_without_tests_says_how_to_have_some() -> None:
    with pytest.raises(FaultsFound) as caught:
        read_known(_sample("evidently_without_tests"), pipeline="trips")

    (fault,) = caught.value.faults
    assert fault == Fault("tests", "an empty list", fault.expected)
    assert "include_tests=True" in fault.expected


def test_a_report_may_come_as_the_data_of_an_event(door: Doorstep) -> None:
    event = {"specversion": "1.0", "id": "7", "source": "/watch", "type": "report", "data": _sample("evidently_drift")}

    heard = door.post_signed(event, kind="application/cloudevents+json")

    assert heard.document["reason"].startswith("2 of 4 tests failed")
    assert door.triggers()[0].payload["form"] == "evidently"


def test_broken_data_are_recorded_and_start_nothing(door: Doorstep) -> None:
    heard = door.post_signed(_sample("great_expectations"))

    assert (heard.status, heard.document["outcome"], heard.document["launch"]) == (202, "suppress", None)
    assert heard.document["reason"].startswith("broken data: 1 of 2")
    (filed,) = door.triggers()
    assert (filed.state, filed.payload["failed"]) == ("suppressed", ["expect_column_values_to_be_between of temp"])


def test_what_asks_for_nothing_is_answered_counted_and_not_filed(door: Doorstep) -> None:
    heard = door.post_signed(_sample("great_expectations_good"))

    expected = {"trigger": None, "outcome": "none", "reason": "all of 2 expectations were met", "launch": None}
    assert (heard.status, heard.document) == (202, expected)
    assert door.triggers() == []
    assert door.tallies.hooks == {"nothing": 1}


def test_a_large_report_is_not_kept_whole(door: Doorstep) -> None:
    door.post_signed({"reason": "x", "data": "x" * 40_000})

    assert door.triggers()[0].payload["cut"] == "40,012 bytes were not kept"


def _message(door: Doorstep, *, model: str, run: str | None) -> tuple[bytes, dict[str, str]]:
    """A message of Everfit's own webhooks, as its outbox writes it and its courier signs it."""
    hook = Webhook(url="https://example.org", secret=SECRET)
    told = {"model": model, "alias": "champion", "version": 4, "reason": "it is better", "run": run}
    with door.registry.database.write() as session:
        session.info["webhooks"] = {"us": hook}
        announce(session, "alias.moved", told)
        delivery = list_deliveries(session)[0]
        return delivery.body.encode(), hook.sign(delivery.message_id, int(NOW.timestamp()), delivery.body)


def test_another_models_promotion_asks_for_a_training_and_names_its_cause(door: Doorstep) -> None:
    heard = door.post(*_message(door, model="prices", run="r-1"))

    assert (heard.document["outcome"], heard.document["reason"]) == ("start", "alias.moved of prices@4: it is better")
    assert door.triggers()[0].caused_by == "r-1"


def test_a_models_own_promotion_never_asks_for_its_next_training(door: Doorstep) -> None:
    heard = door.post(*_message(door, model="trips", run=None))

    assert (heard.document["outcome"], heard.document["launch"]) == ("suppress", None)
    assert heard.document["reason"] == "alias.moved of trips@4 is of this pipeline's own model"


def test_what_comes_of_ones_own_run_by_way_of_others_is_recognised(door: Doorstep) -> None:
    with door.registry.database.write() as session:
        package = session.exec(select(PipelineVersion)).one()
        run, _ = begin_run(
            session, package, parameters={}, trigger="person", owner=this_process(), lease=timedelta(minutes=1)
        )
        finish_run(session, run, status="promoted", reason="a test wants it")
        cause = run.id

    heard = door.post(*_message(door, model="prices", run=cause))

    assert heard.document["outcome"] == "suppress"
    assert cause in heard.document["reason"]


def test_a_test_message_of_everfit_is_heard_and_asks_for_nothing() -> None:
    document = {"type": "webhook.test", "timestamp": "2026-11-21T12:00:00Z", "data": {"receiver": "us"}}

    assert not read_wish(document, pipeline="trips").asks


def test_an_event_has_a_short_key_however_long_its_source_is() -> None:
    long, other = (CloudEvent(id="7", source=source * 300, type="x").key for source in "ab")

    assert len(long) < 100
    assert long != other


@pytest.mark.slow
def test_evidently_itself_still_writes_what_is_understood() -> None:
    drifted, broken, quiet = (
        read_wish(document, pipeline="trips")
        for document in (make_evidently(shift=3), make_evidently(n_missing=50), make_evidently())
    )

    assert (drifted.asks, drifted.blocked) == (True, "")
    assert "Value Drift for column temp" in drifted.reason
    assert broken.blocked == "broken data: Column 'temp' missing values: Equal 0.000"
    assert not quiet.asks


@pytest.mark.slow
def test_great_expectations_itself_still_writes_what_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GX_ANALYTICS_ENABLED", "false")
    whole, validation = make_great_expectations(largest=5)

    for document in (whole, validation):
        assert "expect_column_values_to_be_between of temp" in read_wish(document, pipeline="trips").blocked
    assert not read_wish(make_great_expectations(largest=0.9)[0], pipeline="trips").asks
