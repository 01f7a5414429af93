"""Claims about the whole way, with real processes: what asks, the one training for all, the champion that serves."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlmodel import select

from base.times import utc_now
from monitoring.desk import TriggerRequest, take
from registry.launches import list_launches
from registry.runs import list_runs
from registry.tables import Decision, Launch, Run, TriggerRow
from tests.loop.running import Running, click, everfit_up, read_flow_run, wait_until
from tests.pipelines import define, make_trips, write_pipeline

pytestmark = [pytest.mark.prefect, pytest.mark.slow]

ROW = {
    "at": "2013-02-01T08:00:00Z",
    "distance": 19.0,
    "passengers": 1,
    "company": "red",
    "is_shared": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("loop")


@pytest.fixture(scope="module")
def running(folder: Path) -> Iterator[Running]:
    definitions = [
        write_pipeline(folder / name, make_trips(300), define(name=name)) for name in ("shop_trips", "storm_trips")
    ]
    with everfit_up(folder / "home", *definitions) as running:
        yield running


def test_a_signed_cloud_event_makes_a_new_champion_serve_and_why_tells_the_chain(
    running: Running, folder: Path
) -> None:
    secret = running.everfit("hooks", "add", "shop", "--pipeline", "shop_trips")["secret"]

    first = running.send_event("shop_trips", secret, reason="the shop has opened")
    before = wait_until(lambda: running.predict("shop_trips", ROW))
    _change_the_world(folder / "shop_trips" / "data.parquet")
    second = running.send_event("shop_trips", secret, reason="the refunds of April were entered")
    after = wait_until(lambda: running.predict("shop_trips", ROW), lambda answer: answer.get("version") == 2)

    assert [answer.status_code for answer in (first, second)] == [202, 202]
    word = second.json()
    assert (word["outcome"], word["reason"]) == ("start", "the refunds of April were entered")
    assert (before["version"], before["predictions"][0]) != (after["version"], after["predictions"][0])
    runs = _runs(running, "shop_trips")
    assert [(run.trigger, run.status) for run in runs] == [("webhook", "promoted")] * 2
    launch = _launch(running, word["launch"])
    assert (launch.state, launch.run_id, launch.flow_run) == ("ended", runs[1].id, runs[1].prefect_run)
    # The warm worker names the process of a fork; no other worker is there.
    assert read_flow_run(runs[1].prefect_run or "").infrastructure_pid
    told = running.everfit("why", "shop_trips")["explanation"]
    granted = told["How it was granted"]
    positions = [granted.index(part) for part in ("A webhook", word["trigger"], "the arbiter granted", word["launch"])]
    assert positions == sorted(positions)
    assert "because another system called for it" in told["Who asked"]
    assert told["The decision"].startswith("The gate decided")
    assert "became champion in prod" in told["The decision"]
    assert running.everfit("ledger", "verify")


def test_a_schedule_an_alarm_a_webhook_and_a_click_together_give_one_training(running: Running) -> None:
    name = "storm_trips"
    secret = running.everfit("hooks", "add", "storm", "--pipeline", name)["secret"]

    def raise_alarm() -> Any:
        request = TriggerRequest(
            pipeline=name, kind="drift", key="window-7", reason="6 of 17 features drifted", actor="monitoring"
        )
        return take(running.registry, request, now=utc_now())

    with ThreadPoolExecutor(4) as four:
        asked = [
            four.submit(click, name, trigger="schedule", reason=""),
            four.submit(raise_alarm),
            four.submit(running.send_event, name, secret, reason="the prices have changed"),
            four.submit(click, name),
        ]
        scheduled, _alarm, answer, clicked = [each.result() for each in asked]

    assert answer.status_code == 202
    flow_runs = [wait_until(partial(read_flow_run, run), _has_ended) for run in (scheduled, clicked)]
    wait_until(lambda: _launches(running, name), lambda found: all(one.open_for is None for one in found))
    (run,) = _runs(running, name)
    (launch,) = _launches(running, name)
    assert (run.status, launch.run_id) == ("promoted", run.id)
    assert all(each.state is not None and each.state.is_completed() for each in flow_runs)
    rows = _triggers(running, name)
    assert sorted(row.kind for row in rows) == ["drift", "person", "schedule", "webhook"]
    assert sorted(row.state for row in rows) == ["merged", "merged", "merged", "started"]
    with running.registry.database.read() as session:
        rulings = {row.kind: session.get_one(Decision, row.decision) for row in rows}
    assert all(one.kind == "trigger" and one.outcome in ("start", "merge") for one in rulings.values())
    assert len({one.sequence for one in rulings.values()}) == 4
    why = running.everfit("why", run.id)["explanation"]["How it was granted"]
    assert "Into the same training went" in why
    assert running.everfit("ledger", "verify")


def _change_the_world(data: Path) -> None:
    """Let long trips be punctual from now on: the champion is wrong about nearly all of them."""
    old = pd.read_parquet(data)
    new = make_trips(900, seed=1, start=str((old["at"].max() + timedelta(hours=1)).tz_localize(None)))
    pd.concat([old, new.assign(late=~new["late"])], ignore_index=True).to_parquet(data)


def _has_ended(run: Any) -> bool:
    return run.state is not None and run.state.is_final()


def _runs(running: Running, pipeline: str) -> list[Run]:
    with running.registry.database.read() as session:
        return list(reversed(list_runs(session, pipeline=pipeline)))


def _launch(running: Running, launch: str) -> Launch:
    with running.registry.database.read() as session:
        return session.get_one(Launch, launch)


def _launches(running: Running, pipeline: str) -> list[Launch]:
    with running.registry.database.read() as session:
        return list_launches(session, pipeline=pipeline)


def _triggers(running: Running, pipeline: str) -> list[TriggerRow]:
    with running.registry.database.read() as session:
        return list(session.exec(select(TriggerRow).where(TriggerRow.pipeline == pipeline)))
