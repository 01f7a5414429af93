"""Claims about the replay: labels that come late shift when a window is judged, and nothing of what is found."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import rmtree
from typing import Any

import pandas as pd
import pytest

from base.settings import Settings
from deployments.replay import Replay
from monitoring.cutting import due_windows
from monitoring.live_store import LiveStore
from monitoring.monitored_version import MonitoredVersion
from monitoring.windows import measure_window
from registry.manifest import ModelManifest
from registry.store import Registry, open_registry
from serving.labels.status import read_label_status
from tests.pipelines import make_pipeline, make_trips, train
from tests.serving.processes import start_service

DAY = timedelta(days=1)
START = datetime(2013, 2, 1, tzinfo=UTC)
N_DAYS = 14


def _replay(
    address: str, settings: Settings, registry: Registry, manifest: ModelManifest, trips: pd.DataFrame, delay: timedelta
) -> tuple[dict[datetime, tuple[datetime, dict[str, float]]], list[int]]:
    """Replay trips day by day; by window, when it became due and its metrics, and by day how many rows wait."""
    traffic = Replay(
        address,
        "trips",
        trips,
        time="at",
        target=manifest.target,
        inputs=manifest.contract.types,
        label_delay=delay,
    )
    found: dict[datetime, tuple[datetime, dict[str, float]]] = {}
    version = MonitoredVersion(1, manifest, registry.artifacts)
    waiting = []
    home, day = settings.home, START
    while day < START + N_DAYS * DAY + delay:
        day += DAY
        traffic.play(day)
        with registry.database.read() as session:
            due = due_windows(session, home, "trips", window=7 * DAY, until=day - delay, registry=registry)
        for start, stop in due:
            if start not in found:
                store = LiveStore(registry, settings, "trips", now=day)
                report = measure_window(
                    version, store, start=start, stop=stop, min_rows=50, until=day, label_delay=delay
                )
                found[start] = day, report.performance.metrics | {"n": report.performance.n_labelled}
        status = read_label_status(home, "trips", label_delay=delay, grace=timedelta(0), until=day)
        assert (status.n_late, status.n_unknown) == (0, 0)
        assert status.n_labelled == status.n_matured
        waiting.append(status.n_waiting)
    traffic.close()
    assert traffic.counts.failed == 0
    return found, waiting


@pytest.mark.slow
def test_labels_ten_days_late_give_the_same_metrics_ten_days_later(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path / "home")
    trained = train(make_pipeline(tmp_path / "trips", make_trips(600)), settings)
    registry = open_registry(settings)
    trips = make_trips(24 * N_DAYS, seed=7, start="2013-02-01")
    outcomes: list[Any] = []

    for delay in (DAY, 11 * DAY):
        with start_service(settings.home) as service:
            outcomes.append(_replay(service.address, settings, registry, trained.manifest, trips, delay))
            assert service.stop() == 0
        rmtree(settings.home / "traffic")

    (punctual, few), (late, many) = outcomes
    assert list(punctual) == list(late) == [START, START + 7 * DAY]
    for start, (due, metrics) in punctual.items():
        assert late[start] == (due + 10 * DAY, metrics)
        assert metrics["n"] == 24 * 7
        assert due == start + 8 * DAY
    # A row that happened exactly so long ago is due.
    assert (max(few), max(many)) == (24 - 1, 24 * 11 - 1)
    assert (few[-1], many[-1]) == (0, 0)
