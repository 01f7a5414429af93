"""Stored labels: the lines and the Parquet file of a segment of labels, and the frame that both are read as."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pandas as pd

from serving.labels.label import KeyedLabel, Label, Value
from serving.log.segments import HEADER_KEY, Document

if TYPE_CHECKING:
    import pyarrow as pa

KIND = "labels"
"""The kind of the segments, which names their folder."""

_MICROSECOND = timedelta(microseconds=1)
_EPOCH = datetime.fromisoformat("1970-01-01T00:00:00+00:00")


def make_document(
    labels: Sequence[Label], keyed: Sequence[KeyedLabel], *, at: datetime, batch: Sequence[str] | None = None
) -> Document:
    """Write labels that came together as one line of a segment.

    Parameters
    ----------
    batch : pair of str, optional
        The sender's name for this batch and the digest of what it held, by which it is known again.
    """
    document: Document = {
        "at": microseconds(at),
        "labels": [[label.id, label.value, microseconds(label.observed_at)] for label in labels],
    }
    if keyed:
        document["keys"] = [
            [one.key, microseconds(one.time), one.within // _MICROSECOND, one.value, microseconds(one.observed_at)]
            for one in keyed
        ]
    return document | ({} if batch is None else {"batch": list(batch)})


def frame_from_label_batches(batches: Sequence[Document]) -> pd.DataFrame:
    """Build the frame of a segment of labels from its lines.

    Returns
    -------
    DataFrame
        ``id`` (None where only the key is known), ``value``, ``observed_at``, ``received_at``, and for labels that
        are still without a prediction ``key`` (JSON, its names sorted), ``time`` and ``within``.
    """
    rows: list[tuple[Any, ...]] = []
    for batch in batches:
        at = batch["at"]
        rows.extend((name, value, observed, at, None, None, 0) for name, value, observed in batch["labels"])
        rows.extend(
            (None, value, observed, at, write_key(key), time, within)
            for key, time, within, value, observed in batch.get("keys", ())
        )
    ids, values, observed, received, keys, times, withins = zip(*rows, strict=True) if rows else ((),) * 7
    return pd.DataFrame(
        {
            "id": pd.Series(ids, dtype=object),
            "value": pd.Series(values, dtype=object),
            "observed_at": _moments(observed),
            "received_at": _moments(received),
            "key": pd.Series(keys, dtype=object),
            "time": _moments(["NaT" if time is None else time for time in times]),
            "within": pd.Series(np.array(withins, dtype="timedelta64[us]")),
        }
    )


def build_label_table(header: Document, batches: list[Document]) -> pa.Table:
    """Turn the lines of a segment of labels into what its Parquet file holds; values stay JSON, whatever their type."""
    import pyarrow as pa

    frame = frame_from_label_batches(batches)
    moment = pa.timestamp("us", "UTC")
    columns = {
        "id": pa.array(frame["id"], type=pa.string(), from_pandas=True),
        "value": pa.array([orjson.dumps(value).decode() for value in frame["value"]], type=pa.string()),
        "observed_at": pa.array(frame["observed_at"], type=moment),
        "received_at": pa.array(frame["received_at"], type=moment),
        "key": pa.array(frame["key"], type=pa.string(), from_pandas=True),
        "time": pa.array(frame["time"], type=moment, from_pandas=True),
        "within": pa.array(frame["within"], type=pa.duration("us")),
    }
    header = header | {"batches": [batch["batch"] for batch in batches if "batch" in batch]}
    return pa.table(columns).replace_schema_metadata({HEADER_KEY: orjson.dumps(header)})


def read_label_segment(path: Path) -> pd.DataFrame:
    """Read a sealed segment of labels as :func:`frame_from_label_batches` gives a growing one."""
    import pyarrow.parquet as pq

    frame = pq.read_table(path).to_pandas(ignore_metadata=True)
    frame["value"] = pd.Series([orjson.loads(value) for value in frame["value"]], dtype=object)
    empty = frame_from_label_batches([])
    # Segments of before keys were taken.
    missing: dict[str, Any] = {"key": None, "time": pd.NaT, "within": pd.Timedelta(0)}
    for name, value in missing.items():
        if name not in frame:
            frame[name] = pd.Series([value] * len(frame), dtype=empty[name].dtype)
    frame[["id", "key"]] = frame[["id", "key"]].astype(object).where(frame[["id", "key"]].notna(), None)
    typed: pd.DataFrame = frame[list(empty)].astype({"time": empty["time"].dtype, "within": empty["within"].dtype})
    return typed


def read_batch_names(path: Path) -> list[list[str]]:
    """Read from a sealed segment's footer which named batches it holds, each with its digest."""
    import pyarrow.parquet as pq

    header = orjson.loads(pq.read_metadata(path).metadata[HEADER_KEY])
    batches: list[list[str]] = header.get("batches", [])
    return batches


def write_key(key: dict[str, Any]) -> str:
    """Write an entity's key so that equal keys are equal texts, in whatever order their columns came.

    Examples
    --------
    >>> write_key({"b": 1, "a": "x"}), write_key({"a": "x", "b": 1.0})
    ('{"a":"x","b":1}', '{"a":"x","b":1}')
    """
    plain = {
        name: int(value) if isinstance(value, float) and value.is_integer() else value for name, value in key.items()
    }
    return orjson.dumps(plain, option=orjson.OPT_SORT_KEYS).decode()


def waiting_id(key: str, time: int) -> str:
    """Name a label that waits for its prediction, by its key as :func:`write_key` writes it and its time."""
    return f"{key}@{time}"


def write_value(value: Value) -> str:
    """Write a value so that equal values are equal texts.

    Examples
    --------
    >>> write_value(1.0), write_value(1), write_value(True), write_value("1")
    ('1', '1', 'true', '"1"')
    """
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return orjson.dumps(value).decode()


def microseconds(moment: datetime) -> int:
    """Count the microseconds from 1970 to a moment, exactly."""
    return (moment - _EPOCH) // _MICROSECOND


def _moments(values: Sequence[Any]) -> pd.Series[Any]:
    return pd.Series(np.array(values, dtype="datetime64[us]")).dt.tz_localize("UTC")
