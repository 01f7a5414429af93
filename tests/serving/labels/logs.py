"""Logs of predictions and labels, for the tests of labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from base.times import utc_now
from registry.manifest import ModelManifest
from serving.identifiers import new_ids
from serving.labels.label import KeyedLabel, Label
from serving.labels.stored import KIND, make_document
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.log.upkeep import adopt_all


def log_rows(
    log: PredictionLog, manifest: ModelManifest, rows: Sequence[dict[str, Any]], *, ids: Sequence[str] | None = None
) -> list[str]:
    """Log rows as if they had been answered, and return their ids."""
    names = list(ids or new_ids(len(rows)))
    log.append(manifest, 1, [LoggedBatch(names, rows, [0.5] * len(rows), utc_now())])
    return names


def log_labels(
    log: PredictionLog,
    labels: Sequence[Label],
    *,
    keyed: Sequence[KeyedLabel] = (),
    model: str = "trips",
    at: datetime | None = None,
) -> None:
    """Write labels straight into a log, past the intake."""
    document = make_document(labels, keyed, at=at or utc_now())
    log.append_documents(model, KIND, [(document, len(labels) + len(keyed))])


def seal_all(home: Path) -> None:
    """Seal what closed logs have left."""
    adopt_all(home)
