"""The kinds of segments: how each is sealed, and which of its columns tell its range."""

from __future__ import annotations

from serving.log.segments import TableBuilder

PREDICTIONS = "predictions"
LABELS = "labels"
KINDS = (PREDICTIONS, LABELS)

RANGE_COLUMNS = {PREDICTIONS: ("predicted_at", "event_time"), LABELS: ("received_at", "observed_at")}
"""By kind: the column that says when a row was written, and the one that says what moment it is about."""


def table_builder(kind: str) -> TableBuilder:
    """Return what makes the Parquet table of a segment out of its lines."""
    if kind == LABELS:
        from serving.labels.stored import build_label_table

        return build_label_table
    from serving.log.frames import build_prediction_table

    return build_prediction_table
