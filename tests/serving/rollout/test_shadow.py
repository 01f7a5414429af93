"""Claims about the shadow: logged beside the champion, within its budget, and never in anybody's way."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from base.settings import Settings
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.loading.served import Served
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.log.traffic import read_traffic
from serving.rollout.router import Router
from serving.rollout.shadow import ShadowRunner
from tests.serving.conftest import open_client, wait_until
from tests.serving.models import load_version, make_rows, promote, register_model
from tests.serving.rollout.fixtures import begin, make_follower


@pytest.fixture
def shadow(registry: Registry) -> Iterator[Served]:
    """Version 2 of ``trips``, as the shadow of version 1."""
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    begin(registry, 2, kind="shadow")
    with ThreadPoolExecutor(1) as pool:
        follower = make_follower(registry, pool)
        follower.poll()
        (served,) = Router(follower).shadows("trips")
        yield served


def test_a_shadows_answers_are_logged_under_the_champions_ids(
    registry: Registry, settings: Settings, shadow: Served
) -> None:
    log = PredictionLog.from_settings(settings)
    runner = ShadowRunner(log.append)
    rows = make_rows(3)

    runner.submit(shadow, rows, ["a", "b", "c"])
    wait_until(lambda: runner.count_rows("trips", 2) == {"answered": 3}, "the answer")
    runner.stop()
    log.close()

    found = read_traffic(settings.home, "trips", shadow="only").set_index("id")
    expected = load_version(registry, shadow.version).score_rows(rows)[:, 1]
    assert found.loc[["a", "b", "c"], "prediction"].tolist() == pytest.approx(expected.tolist())
    assert set(found["arm"]) == {"shadow"}
    assert read_traffic(settings.home, "trips").empty


def test_what_does_not_fit_is_dropped_and_counted_without_waiting(shadow: Served) -> None:
    go_on = threading.Event()

    def append(_manifest: ModelManifest, _number: int, _batches: Sequence[LoggedBatch]) -> None:
        go_on.wait(30)

    runner = ShadowRunner(append, most_waiting=10)
    began = time.monotonic()
    taken = [runner.submit(shadow, make_rows(4), list("abcd")) for _ in range(20)]
    took = time.monotonic() - began
    go_on.set()
    runner.stop()

    counts = runner.count_rows("trips", 2)
    assert taken.count(False) >= 16
    assert sum(counts.values()) == 80
    assert counts["dropped"] >= 4 * taken.count(False)
    assert took < 20  # it never waited for the log, which took as long as it was let


def test_a_shadow_keeps_to_its_budget(shadow: Served) -> None:
    runner = ShadowRunner(lambda _manifest, _number, _batches: None, budget=0.1, most_waiting=100_000)
    rows, ids = make_rows(50), [str(number) for number in range(50)]
    for _ in range(2_000):
        runner.submit(shadow, rows, ids)
    before, began = time.process_time(), time.monotonic()

    time.sleep(1.5)

    used = (time.process_time() - before) / (time.monotonic() - began)
    runner.stop()
    # Without a budget it would be close to 1.
    assert used < 0.5
    assert runner.count_rows("trips", 2)["answered"] > 0


def test_a_shadow_that_fails_is_counted_and_the_next_rows_are_tried(shadow: Served) -> None:
    fail = [True]

    def append(_manifest: ModelManifest, _number: int, _batches: Sequence[LoggedBatch]) -> None:
        if fail.pop() if fail else False:
            raise OSError("no space left")

    runner = ShadowRunner(append)
    for name in ("a", "b"):
        runner.submit(shadow, make_rows(1), [name])
        wait_until(lambda: not runner._waiting, "the turn")
        time.sleep(0.05)
    wait_until(lambda: runner.count_rows("trips", 2) == {"failed": 1, "answered": 1}, "both")
    runner.stop()


def test_rows_that_the_shadows_signature_refuses_are_counted_apart(shadow: Served) -> None:
    runner = ShadowRunner(lambda _manifest, _number, _batches: None)
    wrong: dict[str, Any] = {"distance": "far"}

    runner.submit(shadow, [wrong], ["a"])

    wait_until(lambda: runner.count_rows("trips", 2) == {"refused": 1}, "the count")
    runner.stop()


def test_a_service_answers_by_the_champion_alone_while_the_shadow_is_logged(
    registry: Registry, settings: Settings
) -> None:
    promote(registry, register_model(registry))
    register_model(registry, inverted=True)
    begin(registry, 2, kind="shadow")
    with open_client(settings, registry) as client:
        wait_until(lambda: client.get("/readyz").status_code == 200, "readiness")
        answered = [client.post("/v1/models/trips/predict", json={"rows": make_rows(5)}).json() for _ in range(4)]
        wait_until(lambda: len(read_traffic(settings.home, "trips", shadow="only")) == 20, "the shadow")

    assert {document["version"] for document in answered} == {1}
    ids = {each["id"] for document in answered for each in document["predictions"]}
    assert set(read_traffic(settings.home, "trips", shadow="only")["id"]) == ids
    assert set(read_traffic(settings.home, "trips")["version"]) == {1}
