"""Claims about whose rows are whose: a row belongs to the reign in which its version answered it as champion."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from base.settings import Settings
from monitoring.pnl.served_rows import RegisteredReign, ServedRows, read_served_rows
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.labels.stored import KIND, make_document
from serving.log.batches import SHADOW, LoggedBatch
from serving.log.prediction_log import PredictionLog
from tests.monitoring.traffic import labels_of
from tests.pipelines import make_pipeline, make_trips, train

MAY = datetime(2024, 5, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
FIRST = RegisteredReign(1, None, MAY, MAY + DAY, is_rollback=False, reason="")
SECOND = RegisteredReign(2, 1, MAY + DAY, MAY + 2 * DAY, is_rollback=False, reason="")
AGAIN = RegisteredReign(1, 2, MAY + 2 * DAY, None, is_rollback=True, reason="")


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory) -> ModelManifest:
    folder = tmp_path_factory.mktemp("model")
    return train(make_pipeline(folder / "trips", make_trips()), Settings(home=folder / "home")).manifest


@pytest.fixture
def log(settings: Settings) -> Iterator[PredictionLog]:
    opened = PredictionLog(settings.home, segment_rows=1_000_000)
    yield opened
    opened.close()


def _answer(
    log: PredictionLog, manifest: ModelManifest, number: int, at: datetime, n_rows: int = 1, *, arm: str = "champion"
) -> list[str]:
    ids = [f"{number}-{arm}-{at.isoformat()}-{row}" for row in range(n_rows)]
    rows = [{"distance": 1.0, "at": at.isoformat()}] * n_rows
    log.append(manifest, number, [LoggedBatch(ids, rows, [0.5] * n_rows, at, arm=arm)])
    return ids


def _label(log: PredictionLog, ids: list[str]) -> None:
    labels = labels_of(ids, [True] * len(ids), [MAY] * len(ids))
    log.append_documents("trips", KIND, [(make_document(labels, [], at=MAY), len(labels))])


def _read(home: Path, registry: Registry, *reigns: RegisteredReign, now: datetime = MAY + 99 * DAY) -> ServedRows:
    return read_served_rows(home, "trips", registry, reigns, window=DAY, label_delay=DAY, now=now)


def test_a_version_that_comes_back_has_the_rows_of_each_reign_apart(
    settings: Settings, registry: Registry, manifest: ModelManifest, log: PredictionLog
) -> None:
    early = _answer(log, manifest, 1, MAY + HOUR)
    late = _answer(log, manifest, 1, MAY + 2 * DAY + HOUR)
    # The service followed a moment after the alias had moved.
    lagging = _answer(log, manifest, 1, MAY + DAY + HOUR)
    _label(log, [*early, *late, *lagging])

    first, second, again = _read(settings.home, registry, FIRST, SECOND, AGAIN).of_reigns

    assert first.labelled["id"].tolist() == [*early, *lagging]
    assert second.labelled.empty
    assert again.labelled["id"].tolist() == late


def test_what_a_challenger_or_a_shadow_answered_is_no_reigns_and_lessens_the_champions_share(
    settings: Settings, registry: Registry, manifest: ModelManifest, log: PredictionLog
) -> None:
    own = _answer(log, manifest, 2, MAY + DAY + HOUR, 3)
    tried = _answer(log, manifest, 3, MAY + DAY + HOUR, 1, arm="challenger")
    before = _answer(log, manifest, 2, MAY + HOUR, 2, arm="challenger")
    unseen = _answer(log, manifest, 1, MAY + DAY + HOUR, 3, arm=SHADOW)
    _label(log, [*own, *tried, *before])

    found = _read(settings.home, registry, FIRST, SECOND)

    assert found.of_reigns[1].labelled["id"].tolist() == own
    assert found.of_reigns[1].shares == {1: 0.75}
    assert found.shadows.index.tolist() == [(1, name) for name in unseen]


def test_a_window_counts_when_all_of_it_has_matured(
    settings: Settings, registry: Registry, manifest: ModelManifest, log: PredictionLog
) -> None:
    ids = [*_answer(log, manifest, 2, MAY + DAY + HOUR), *_answer(log, manifest, 2, MAY + 2 * DAY + HOUR)]
    _label(log, ids)

    none = _read(settings.home, registry, FIRST, SECOND, now=MAY + 3 * DAY - HOUR).of_reigns[1]
    one = _read(settings.home, registry, FIRST, SECOND, now=MAY + 3 * DAY).of_reigns[1]
    both = _read(settings.home, registry, FIRST, SECOND, now=MAY + 4 * DAY).of_reigns[1]

    assert (len(none.labelled), none.n_pending, none.matures_at) == (0, 2, MAY + 4 * DAY)
    assert (len(one.labelled), one.n_pending, one.matures_at) == (1, 1, MAY + 4 * DAY)
    assert (len(both.labelled), both.n_pending, both.matures_at) == (2, 0, None)


def test_without_traffic_every_reign_is_empty(settings: Settings, registry: Registry) -> None:
    first, second = _read(settings.home, registry, FIRST, SECOND).of_reigns

    assert (first.labelled.empty, second.shares, second.n_pending) == (True, {}, 0)
