"""Traffic of a trained model, in the log that the prediction service writes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pandas as pd

from base.times import utc_now
from features.plan import frame_from_rows
from registry.manifest import ModelManifest
from registry.store import Registry
from serving.labels.label import Label
from serving.labels.stored import KIND, make_document
from serving.log.batches import LoggedBatch
from serving.log.prediction_log import PredictionLog
from serving.scoring.loaded import load_scorer


def serve(
    home: Path,
    registry: Registry,
    manifest: ModelManifest,
    trips: pd.DataFrame,
    *,
    number: int = 1,
    labelled: bool = True,
    label_delay: timedelta = timedelta(0),
) -> None:
    """Predict trips, and log them with their labels as the service would, each observed *label_delay* later."""
    scorer = load_scorer(registry.artifacts, manifest)
    kinds = {name: rule.type for name, rule in manifest.contract.columns.items()}
    rows = [
        {name: _plain(row[name]) for name in kinds if name in row and not pd.isna(row[name])}
        for row in trips.to_dict("records")
    ]
    answers = scorer.predict_frame(frame_from_rows(rows, manifest.plan.inputs))
    classes = manifest.classes
    raw = (answers[:, 1] if classes is not None and len(classes) == 2 else answers).tolist()
    ids = [f"{number}-{moment.isoformat()}" for moment in trips["at"]]
    log = PredictionLog(home, segment_rows=1_000_000)
    try:
        log.append(manifest, number, [LoggedBatch(ids=ids, rows=rows, answers=raw, at=utc_now())])
        if labelled:
            observed = [moment.to_pydatetime() + label_delay for moment in trips["at"]]
            labels = labels_of(ids, trips[manifest.target].tolist(), observed)
            log.append_documents(manifest.model, KIND, [(make_document(labels, [], at=utc_now()), len(labels))])
    finally:
        log.close()


def labels_of(ids: Sequence[str], values: Sequence[Any], moments: Sequence[datetime]) -> list[Label]:
    """Make labels of values; rows without a value get none."""
    return [
        Label(id=name, value=_plain(value), observed_at=moment)
        for name, value, moment in zip(ids, values, moments, strict=True)
        if not pd.isna(value)
    ]


def _plain(value: Any) -> Any:
    if isinstance(value, pd.Timestamp):
        return value.isoformat()
    return value.item() if hasattr(value, "item") else value
