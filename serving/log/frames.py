"""Frames of the log: what the lines and the Parquet file of a segment hold, as rows."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd

from base.times import as_utc
from features.plan import frame_from_rows, frame_from_table
from serving.log.segments import HEADER_KEY, Document, read_lines

if TYPE_CHECKING:
    import pyarrow as pa
    import pyarrow.parquet as pq

OWN_COLUMNS = (
    "id",
    "version",
    "predicted_at",
    "event_time",
    "prediction",
    "probabilities",
    "arm",
    "path",
    "kind",
    "micros",
    "value",
    "observed_at",
)
"""Names that the log's own columns have; an input of such a name is read as ``input.NAME``."""

# In the Parquet files all inputs have a prefix, so that none can be taken for a column of the log's own.
_PREFIX = "input."
_SAID_OF_A_BATCH: dict[str, str | int] = {"arm": "champion", "path": "scikit-learn", "kind": "online", "micros": 0}


def frame_from_batches(header: Document, batches: list[Document]) -> pd.DataFrame:
    """Build the frame of :func:`read_traffic` from the lines of one segment."""
    lengths = [len(batch["ids"]) for batch in batches]
    moments = np.repeat(np.array([batch["at"] for batch in batches], dtype="datetime64[us]"), lengths)
    predicted_at = pd.Series(moments).dt.tz_localize("UTC")
    inputs = frame_from_rows([row for batch in batches for row in batch["rows"]], header["inputs"])
    event_time = predicted_at if header["time"] is None else inputs[header["time"]].fillna(predicted_at)
    columns: dict[str, Any] = {
        "id": pd.Series([name for batch in batches for name in batch["ids"]], dtype=object),
        "version": np.full(len(predicted_at), header["version"], dtype=np.int64),
        "predicted_at": predicted_at,
        "event_time": event_time,
    }
    answers = [answer for batch in batches for answer in batch["answers"]]
    if answers and isinstance(answers[0], list):
        columns["prediction"] = np.array(answers, dtype=np.float64).argmax(axis=1).astype(np.float64)
        columns["probabilities"] = pd.Series(answers, dtype=object)
    else:
        columns["prediction"] = np.array(answers, dtype=np.float64)
    for name, default in _SAID_OF_A_BATCH.items():
        kind = np.int64 if name == "micros" else object
        columns[name] = np.repeat(np.array([batch.get(name, default) for batch in batches], dtype=kind), lengths)
    return pd.DataFrame(columns | {shown_name(name): inputs[name] for name in inputs.columns})


def build_prediction_table(header: Document, batches: list[Document]) -> pa.Table:
    """Turn the lines of a segment of predictions into what its Parquet file holds, ordered by event time."""
    import pyarrow as pa

    kinds = {
        "number": pa.float64(),
        "integer": pa.float64(),
        "boolean": pa.bool_(),
        "time": pa.timestamp("us", "UTC"),
        "text": pa.string(),
    }
    frame = frame_from_batches(header, batches).sort_values("event_time", kind="stable", ignore_index=True)
    types = {
        "id": pa.string(),
        "version": pa.int64(),
        "predicted_at": pa.timestamp("us", "UTC"),
        "event_time": pa.timestamp("us", "UTC"),
        "prediction": pa.float64(),
        "arm": pa.string(),
        "path": pa.string(),
        "kind": pa.string(),
        "micros": pa.int64(),
    }
    if "probabilities" in frame:
        types["probabilities"] = pa.list_(pa.float64())
    columns = {name: pa.array(frame[name], type=kind, from_pandas=True) for name, kind in types.items()}
    for name, kind in header["inputs"].items():
        columns[_PREFIX + name] = pa.array(frame[shown_name(name)], type=kinds[kind], from_pandas=True)
    return pa.table(columns).replace_schema_metadata({HEADER_KEY: orjson.dumps(header)})


def empty_traffic() -> pd.DataFrame:
    """Build the frame of no rows."""
    return frame_from_batches({"version": 0, "time": None, "inputs": {}}, [])


def read_growing_predictions(path: Path, start: datetime | None, stop: datetime | None) -> pd.DataFrame:
    """Read the rows in a segment's lines whose event time lies in [start, stop).

    Raises
    ------
    SegmentDamaged, FileNotFoundError
    """
    lines = read_lines(path)
    return empty_traffic() if lines is None else _within(frame_from_batches(lines.header, lines.batches), start, stop)


def read_sealed_predictions(path: Path, start: datetime | None, stop: datetime | None) -> pd.DataFrame:
    """Read the rows in a segment's Parquet file whose event time lies in [start, stop)."""
    table = _read_table(path, start, stop)
    kinds = orjson.loads(table.schema.metadata[HEADER_KEY])["inputs"]
    inputs = frame_from_table(table.select([_PREFIX + name for name in kinds]).rename_columns(list(kinds)), kinds)
    inputs.columns = pd.Index([shown_name(name) for name in kinds])
    own = [name for name in table.column_names if not name.startswith(_PREFIX)]
    frame = table.select(own).to_pandas(ignore_metadata=True)
    for name, default in _SAID_OF_A_BATCH.items():
        if name not in own:  # the file is of a time when that was not logged
            frame[name] = default
    return pd.concat([frame, inputs], axis=1)


def read_sealed_columns(path: Path, start: datetime | None, stop: datetime | None, columns: list[str]) -> pd.DataFrame:
    """Read some of the log's own columns of the same rows."""
    frame: pd.DataFrame = _read_table(path, start, stop, columns).to_pandas(ignore_metadata=True)
    return frame


def _read_table(
    path: Path, start: datetime | None, stop: datetime | None, columns: list[str] | None = None
) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        # The event times' range of each group of rows stands in the footer: what lies outside is not even read.
        groups = [group for group in range(file.num_row_groups) if _may_hold(file.metadata, group, start, stop)]
        table = file.read_row_groups(groups, columns=columns)
    moment = pa.timestamp("us", "UTC")
    if start is not None:
        table = table.filter(pc.greater_equal(table["event_time"], pa.scalar(start, moment)))
    if stop is not None:
        table = table.filter(pc.less(table["event_time"], pa.scalar(stop, moment)))
    return table


def _may_hold(metadata: pq.FileMetaData, group: int, start: datetime | None, stop: datetime | None) -> bool:
    found = metadata.row_group(group).column(metadata.schema.names.index("event_time")).statistics
    if found is None or not found.has_min_max:
        return True
    return (start is None or as_utc(found.max) >= start) and (stop is None or as_utc(found.min) < stop)


def _within(frame: pd.DataFrame, start: datetime | None, stop: datetime | None) -> pd.DataFrame:
    if start is not None:
        frame = frame[frame["event_time"] >= start]
    if stop is not None:
        frame = frame[frame["event_time"] < stop]
    return frame


def shown_name(name: str) -> str:
    """Name the column of the traffic that holds an input.

    Examples
    --------
    >>> shown_name("distance"), shown_name("kind")
    ('distance', 'input.kind')
    """
    return f"{_PREFIX}{name}" if name in OWN_COLUMNS else name
