"""What is known when labels come: which predictions there are, and which labels they have already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from features.plan import frame_from_rows
from serving.labels.blocks import Block, Integers, hash_texts, make_block
from serving.labels.label import Value
from serving.labels.segment_index import SegmentIndex
from serving.labels.stored import (
    KIND,
    frame_from_label_batches,
    read_batch_names,
    read_label_segment,
    waiting_id,
    write_value,
)
from serving.log.segments import Document, segment_folder

# 24 bytes for a prediction, 40 for a label: together about the newest three million.
_MOST_BYTES = 48 << 20

NEVER = np.iinfo(np.int64).min
"""The event time of a prediction that is not known."""


class KnownPredictions:
    """Which predictions of a model are in the log, and their event times."""

    def __init__(self, home: Path, model: str) -> None:
        self.index = SegmentIndex(
            segment_folder(home, model, "predictions"),
            read_documents=_predictions_of_documents,
            read_file=_predictions_of_file,
            read_range=_read_id_range,
            most_bytes=_MOST_BYTES,
        )

    def event_times(self, ids: Sequence[str]) -> Integers:
        """Look up the event times of predictions.

        Returns
        -------
        array of shape (n_ids,)
            Microseconds since 1970; :data:`NEVER` for one that is not in the log (yet).
        """
        found = np.full(len(ids), NEVER, dtype=np.int64)
        hashes = hash_texts(ids)
        for block in self.index.blocks_of(ids):
            asked, places = block.find(hashes)
            found[asked] = block.columns["event_time"][places]
        return found


@dataclass(frozen=True)
class Version:
    """One version of a label, as far as it takes to know it again."""

    observed_at: int
    received_at: int
    value: int


class KnownLabels:
    """Which versions of labels a model's log holds, and the named batches that they came in."""

    def __init__(self, home: Path, model: str) -> None:
        self.batches: dict[str, str] = {}
        self.index = SegmentIndex(
            segment_folder(home, model, KIND),
            read_documents=self._labels_of_documents,
            read_file=self._labels_of_file,
            read_range=self._range_of_file,
            most_bytes=_MOST_BYTES,
        )

    def versions(self, ids: Sequence[str]) -> dict[str, list[Version]]:
        """Look up all versions of the labels of some predictions; one without any is left out."""
        found: dict[str, list[Version]] = {}
        hashes = hash_texts(ids)
        for block in self.index.blocks_of(ids):
            asked, places = block.find(hashes)
            columns = (block.columns[name][places].tolist() for name in ("observed_at", "received_at", "value"))
            for number, *version in zip(asked.tolist(), *columns, strict=True):
                found.setdefault(ids[number], []).append(Version(*version))
        return found

    def _labels_of_documents(self, _header: Document, documents: list[Document]) -> Block | None:
        self._remember([document["batch"] for document in documents if "batch" in document])
        return _label_block(frame_from_label_batches(documents))

    def _labels_of_file(self, path: Path) -> Block | None:
        return _label_block(read_label_segment(path))

    def _range_of_file(self, path: Path) -> tuple[str, str] | None:
        self._remember(read_batch_names(path))
        return _read_id_range(path)

    def _remember(self, batches: Sequence[Sequence[str]]) -> None:
        self.batches.update((name, digest) for name, digest in batches)


def hash_values(values: Sequence[Value]) -> dict[str, int]:
    """Hash labels' values as they are compared, by how they are written: 1 and 1.0 are one value, True is another."""
    texts = list({write_value(value) for value in values})
    return dict(zip(texts, hash_texts(texts).view(np.int64).tolist(), strict=True))


def _predictions_of_documents(header: Document, documents: list[Document]) -> Block | None:
    ids = [name for document in documents for name in document["ids"]]
    if not ids:
        return None
    lengths = [len(document["ids"]) for document in documents]
    moments = np.repeat(np.array([document["at"] for document in documents], dtype=np.int64), lengths)
    if (time := header["time"]) is not None:
        rows = [row for document in documents for row in document["rows"]]
        told = frame_from_rows(rows, {time: "time"})[time]
        moments = np.where(told.notna(), _as_microseconds(told), moments)
    return make_block(ids, {"event_time": moments})


def _predictions_of_file(path: Path) -> Block | None:
    import pyarrow.parquet as pq

    table = pq.read_table(path, columns=["id", "event_time"])
    if not table.num_rows:
        return None
    moments = table["event_time"].cast("int64").to_numpy()
    return make_block(table["id"].to_pylist(), {"event_time": moments})


def _read_id_range(path: Path) -> tuple[str, str] | None:
    import pyarrow.parquet as pq

    metadata = pq.read_metadata(path)
    place = metadata.schema.names.index("id")
    found = [metadata.row_group(number).column(place).statistics for number in range(metadata.num_row_groups)]
    # Labels that wait for their predictions have no id in the file, and may be asked for all the same.
    if not found or any(one is None or not one.has_min_max or one.null_count for one in found):
        return None
    return min(one.min for one in found), max(one.max for one in found)


def _label_block(frame: pd.DataFrame) -> Block | None:
    if frame.empty:
        return None
    times = _as_microseconds(frame["time"]).tolist()
    ids = [
        waiting_id(key, time) if name is None else name
        for name, key, time in zip(frame["id"], frame["key"], times, strict=True)
    ]
    columns = {
        "observed_at": _as_microseconds(frame["observed_at"]),
        "received_at": _as_microseconds(frame["received_at"]),
        "value": hash_texts([write_value(value) for value in frame["value"]]).view(np.int64),
    }
    return make_block(ids, columns)


def _as_microseconds(moments: pd.Series[pd.Timestamp]) -> Integers:
    counts: Integers = moments.dt.tz_localize(None).to_numpy(dtype="datetime64[us]").view(np.int64)
    return counts
