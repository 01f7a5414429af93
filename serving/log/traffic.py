"""Read the prediction log: served rows and labels as frames, whatever version served them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd

from base.times import as_utc
from features.plan import frame_from_rows, frame_from_table
from serving.log.segments import Document, list_segments, read_lines

if TYPE_CHECKING:
    import pyarrow as pa

OWN_COLUMNS = ("id", "version", "predicted_at", "event_time", "prediction", "probabilities", "value", "observed_at")
"""Names that the log's own columns have; an input of such a name is read as ``input.NAME``."""

_MOMENT = "datetime64[us, UTC]"
# In the Parquet files all inputs have a prefix, so that none can be taken for a column of the log's own.
_PREFIX = "input."
_HEADER_KEY = b"everfit"
_TRIES = 10


def read_traffic(
    home: Path, model: str, *, start: datetime | None = None, stop: datetime | None = None
) -> pd.DataFrame:
    """Read the served rows of a model whose event time lies in [start, stop), oldest first.

    Returns
    -------
    DataFrame
        ``id``, ``version``, ``predicted_at``, ``event_time`` (the model's time column where a row has it, else
        ``predicted_at``), ``prediction`` (the value, or the probability of the second class; where there are
        more classes, the position of the likeliest, and ``probabilities`` beside it), and the inputs, typed as
        in training. A column that a version did not have is missing in its rows.

    Raises
    ------
    SegmentDamaged
    """
    bounds = (None if start is None else as_utc(start), None if stop is None else as_utc(stop))
    frames = _read_segments(
        home / "traffic" / model / "predictions",
        lambda path: _read_sealed_predictions(path, *bounds),
        lambda header, batches: _within(frame_from_batches(header, batches), *bounds),
    )
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return frame_from_batches({"version": 0, "time": None, "inputs": {}}, [])
    own = [name for name in OWN_COLUMNS if any(name in frame for frame in frames)]
    traffic = pd.concat(frames, ignore_index=True)
    inputs = [name for name in traffic.columns if name not in own]
    return traffic[own + inputs].sort_values(["event_time", "id"], ignore_index=True)


def read_labels(home: Path, model: str) -> pd.DataFrame:
    """Read the labels of a model: for each id the one that was observed last.

    Returns
    -------
    DataFrame
        ``id``, ``value``, ``observed_at``; of two that were observed at the same moment, the one that came later.

    Raises
    ------
    SegmentDamaged
    """
    frames = _read_segments(
        home / "traffic" / model / "labels",
        _read_sealed_labels,
        lambda _header, batches: _frame_from_label_batches(batches),
    )
    frames = [frame for frame in frames if len(frame)]
    labels = pd.concat(frames, ignore_index=True) if frames else _frame_from_label_batches([])
    labels = labels.sort_values(["observed_at", "received_at"], kind="stable").drop_duplicates("id", keep="last")
    labels = labels[["id", "value", "observed_at"]].reset_index(drop=True)
    labels["value"] = labels["value"].infer_objects()
    return labels


def join_labels(traffic: pd.DataFrame, labels: pd.DataFrame) -> pd.DataFrame:
    """Give served rows their labels (``value``, ``observed_at``); rows without a label yet are left out."""
    return traffic.merge(labels, on="id", how="inner", validate="one_to_one")


def count_unknown_labels(traffic: pd.DataFrame, labels: pd.DataFrame) -> int:
    """Count the labels whose id is in no served row; *traffic* must be all of a model's traffic."""
    return int((~labels["id"].isin(traffic["id"])).sum())


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
    return pd.DataFrame(columns | {_shown(name): inputs[name] for name in inputs.columns})


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
    }
    if "probabilities" in frame:
        types["probabilities"] = pa.list_(pa.float64())
    columns = {name: pa.array(frame[name], type=kind, from_pandas=True) for name, kind in types.items()}
    for name, kind in header["inputs"].items():
        columns[_PREFIX + name] = pa.array(frame[_shown(name)], type=kinds[kind], from_pandas=True)
    return pa.table(columns).replace_schema_metadata({_HEADER_KEY: orjson.dumps(header)})


def build_label_table(header: Document, batches: list[Document]) -> pa.Table:
    """Turn the lines of a segment of labels into what its Parquet file holds; values stay JSON, whatever their type."""
    import pyarrow as pa

    frame = _frame_from_label_batches(batches)
    columns = {
        "id": pa.array(frame["id"], type=pa.string()),
        "value": pa.array([orjson.dumps(value).decode() for value in frame["value"]], type=pa.string()),
        "observed_at": pa.array(frame["observed_at"], type=pa.timestamp("us", "UTC")),
        "received_at": pa.array(frame["received_at"], type=pa.timestamp("us", "UTC")),
    }
    return pa.table(columns).replace_schema_metadata({_HEADER_KEY: orjson.dumps(header)})


def _read_segments(
    folder: Path,
    read_sealed: Callable[[Path], pd.DataFrame],
    read_growing: Callable[[Document, list[Document]], pd.DataFrame],
) -> list[pd.DataFrame]:
    for attempt in range(_TRIES):
        growing, sealed = list_segments(folder)
        try:
            # The lines first: a segment that is sealed between the two would otherwise be read twice or not at all.
            lines = [found for path in growing if (found := read_lines(path)) is not None]
        except FileNotFoundError:
            if attempt == _TRIES - 1:
                raise
            continue
        return [read_sealed(path) for path in sealed] + [read_growing(one.header, one.batches) for one in lines]
    raise AssertionError("the loop returns or raises")


def _read_sealed_predictions(path: Path, start: datetime | None, stop: datetime | None) -> pd.DataFrame:
    import pyarrow.parquet as pq

    bounds = list(_bounds(start, stop))
    # The event times' range of each row group stands in the file's footer: what lies outside is not even read.
    table = pq.read_table(path, filters=bounds or None)
    header = orjson.loads(table.schema.metadata[_HEADER_KEY])
    own = [name for name in table.column_names if not name.startswith(_PREFIX)]
    kinds = header["inputs"]
    inputs = frame_from_table(table.select([_PREFIX + name for name in kinds]).rename_columns(list(kinds)), kinds)
    inputs.columns = pd.Index([_shown(name) for name in kinds])
    return pd.concat([table.select(own).to_pandas(ignore_metadata=True), inputs], axis=1)


def _read_sealed_labels(path: Path) -> pd.DataFrame:
    import pyarrow.parquet as pq

    frame: pd.DataFrame = pq.read_table(path).to_pandas(ignore_metadata=True)
    frame["value"] = pd.Series([orjson.loads(value) for value in frame["value"]], dtype=object)
    return frame


def _frame_from_label_batches(batches: list[Document]) -> pd.DataFrame:
    labels = [(*label, batch["at"]) for batch in batches for label in batch["labels"]]
    ids, values, observed, received = zip(*labels, strict=True) if labels else ((), (), (), ())
    return pd.DataFrame(
        {
            "id": pd.Series(ids, dtype=object),
            "value": pd.Series(values, dtype=object),
            "observed_at": pd.Series(np.array(observed, dtype="datetime64[us]")).dt.tz_localize("UTC"),
            "received_at": pd.Series(np.array(received, dtype="datetime64[us]")).dt.tz_localize("UTC"),
        }
    )


def _bounds(start: datetime | None, stop: datetime | None) -> Iterator[tuple[str, str, datetime]]:
    if start is not None:
        yield ("event_time", ">=", start)
    if stop is not None:
        yield ("event_time", "<", stop)


def _within(frame: pd.DataFrame, start: datetime | None, stop: datetime | None) -> pd.DataFrame:
    if start is not None:
        frame = frame[frame["event_time"] >= start]
    if stop is not None:
        frame = frame[frame["event_time"] < stop]
    return frame


def _shown(name: str) -> str:
    return f"{_PREFIX}{name}" if name in OWN_COLUMNS else name
