"""Batches, filled logs and folders, as the tests of the prediction log need them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd

from base.times import utc_now
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.identifiers import new_ids
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.log.traffic import read_traffic
from serving.log.upkeep import adopt_all
from tests.serving.models import make_rows

NOON = datetime(2013, 4, 1, 12, tzinfo=UTC)


def make_batch(*rows: dict[str, Any], answer: float | list[float] = 0.5, **more: Any) -> LoggedBatch:
    """Make a batch of rows that all got one answer."""
    return LoggedBatch(new_ids(len(rows)), rows, [answer] * len(rows), more.pop("at", None) or utc_now(), **more)


def fill(home: Path, manifest: ModelManifest, n_batches: int, *, segment_rows: int = 10) -> list[str]:
    """Log batches of three rows, close the log as it is, and return the ids."""
    log = PredictionLog(home, segment_rows=segment_rows)
    batches = [make_batch(*make_rows(3, seed=seed)) for seed in range(n_batches)]
    for batch in batches:
        log.accounts.accept(manifest.model, len(batch.ids))
        log.append(manifest, 1, [batch])
    log.close()
    return [name for batch in batches for name in batch.ids]


def fill_day(home: Path, manifest: ModelManifest, day: datetime, n_rows: int = 3) -> list[str]:
    """Log rows of one day and seal them."""
    log = PredictionLog(home, segment_rows=1_000_000)
    batch = make_batch(*({"distance": float(number), "at": day.isoformat()} for number in range(n_rows)))
    log.accounts.accept(manifest.model, n_rows)
    log.append(manifest, 1, [batch])
    log.close()
    adopt_all(home)
    return list(batch.ids)


def folder_of(home: Path, model: str = "trips") -> Path:
    """Where the predictions of a model lie."""
    return home / "traffic" / model / "predictions"


def suffixes(home: Path) -> list[str]:
    """The kinds of files that a log consists of."""
    return sorted(path.suffix for path in folder_of(home).iterdir())


def read_ids(home: Path, registry: Registry | None = None, model: str = "trips") -> list[str]:
    """The ids of all logged rows, in order."""
    return sorted(read_traffic(home, model, registry=registry, shadow="with")["id"])


def assert_once(found: Iterable[str], acknowledged: Iterable[str]) -> None:
    """Assert that each acknowledged prediction is found, and nothing twice."""
    ids = pd.Series(list(found), dtype=object)
    assert ids.is_unique
    assert set(acknowledged) <= set(ids)
