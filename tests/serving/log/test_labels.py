"""Claims about labels in the log: the read beside the rows that they belong to."""

from __future__ import annotations

from pathlib import Path

from registry.manifest import ModelManifest
from serving.log.prediction_log import (
    Label,
    PredictionLog,
    count_unknown_labels,
    join_labels,
    read_labels,
    read_traffic,
)
from tests.serving.log.samples import NOON, make_batch


def test_labels_join_the_rows_they_belong_to_and_unknown_ones_are_counted(
    tmp_path: Path, log: PredictionLog, manifest: ModelManifest
) -> None:
    batch = make_batch({"distance": 1.0}, {"distance": 2.0})
    log.append(manifest, 1, [batch])
    log.append_labels("trips", [Label(batch.ids[1], 1, NOON), Label("unknown", 0, NOON)])

    traffic, labels = read_traffic(tmp_path, "trips"), read_labels(tmp_path, "trips")

    joined = join_labels(traffic, labels)
    assert joined[["distance", "value"]].to_numpy().tolist() == [[2.0, 1]]
    assert count_unknown_labels(traffic, labels) == 1
