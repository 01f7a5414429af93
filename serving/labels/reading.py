"""Read the labels of a model: every version, or what was known at a moment."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

import orjson
import pandas as pd

from base.times import as_utc
from registry.store import Registry
from serving.labels.key_match import match_keys
from serving.labels.label import KeyedLabel
from serving.labels.matured import newest_labels
from serving.labels.stored import KIND, frame_from_label_batches, read_label_segment, write_value
from serving.log.batches import SHADOW
from serving.log.frames import empty_traffic, read_growing_predictions, read_sealed_columns
from serving.log.kinds import PREDICTIONS
from serving.log.reading import read_segments
from serving.log.segments import read_lines


def read_label_versions(home: Path, model: str, *, registry: Registry | None = None) -> pd.DataFrame:
    """Read all that was ever said of a model's predictions.

    A label that named a key and a time, and whose prediction was not in the log when it came, is matched now.

    Parameters
    ----------
    registry : Registry, optional
        Where the segments are recorded that were moved to the artifact store; without it, what was moved is not read.

    Returns
    -------
    DataFrame
        ``id``, ``value``, ``observed_at`` (when it came true, as the sender says), ``received_at`` (when it came in).
        The same version twice is there once, as it first came.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    versions, waiting = read_stored_labels(home, model, registry=registry)
    if waiting.empty:
        return versions
    matched = resolve_keys(home, model, waiting, registry=registry)
    return _distinct(pd.concat([versions, matched], ignore_index=True)) if len(matched) else versions


def read_stored_labels(
    home: Path, model: str, *, registry: Registry | None = None
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Read the versions that have an id, and the labels that came without (``key``, ``time``, ``within``)."""
    frames = read_segments(
        home, model, KIND, read_sealed=read_label_segment, read_growing=_read_growing, registry=registry
    )
    frames = [frame for frame in frames if len(frame)]
    labels = pd.concat(frames, ignore_index=True) if frames else frame_from_label_batches([])
    has_id = labels["id"].notna()
    versions = labels.loc[has_id, ["id", "value", "observed_at", "received_at"]]
    return _distinct(versions), labels.loc[~has_id].reset_index(drop=True)


def resolve_keys(home: Path, model: str, waiting: pd.DataFrame, *, registry: Registry | None = None) -> pd.DataFrame:
    """Match labels that wait for their predictions; those still without one are left out, as versions otherwise."""
    keyed = [
        KeyedLabel(orjson.loads(row["key"]), row["time"], row["value"], row["observed_at"], row["within"])
        for row in waiting.to_dict("records")
    ]
    ids = pd.Series(match_keys(home, model, keyed, registry=registry), index=waiting.index, dtype=object)
    matched = waiting.assign(id=ids).explode("id")
    return matched.loc[matched["id"].notna(), ["id", "value", "observed_at", "received_at"]]


def read_labels(
    home: Path,
    model: str,
    *,
    as_of: datetime | None = None,
    received_by: datetime | None = None,
    registry: Registry | None = None,
) -> pd.DataFrame:
    """Read the labels of a model: for each id the version that was observed last.

    Two clocks: *as_of* asks what was true by then as we know today, *received_by* what this service had been
    told by then. A decision of the past is looked at again with both: what it could not see is left out.

    Parameters
    ----------
    as_of : datetime, optional
        Versions observed later are left out.
    received_by : datetime, optional
        Versions that came in later are left out.

    Returns
    -------
    DataFrame
        ``id``, ``value``, ``observed_at``, ``received_at``; of two versions that were observed at the same moment, the
        one that came later.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    versions = read_label_versions(home, model, registry=registry)
    if as_of is not None:
        versions = versions[versions["observed_at"] <= pd.Timestamp(as_utc(as_of))]
    if received_by is not None:
        versions = versions[versions["received_at"] <= pd.Timestamp(as_utc(received_by))]
    labels = newest_labels(versions).reset_index(drop=True)
    labels["value"] = labels["value"].infer_objects()
    return labels


def read_served(
    home: Path,
    model: str,
    *,
    start: datetime | None = None,
    stop: datetime | None = None,
    registry: Registry | None = None,
) -> pd.DataFrame:
    """Read which predictions were served (``id``, ``event_time``), and nothing else of them, oldest first.

    Raises
    ------
    SegmentDamaged, ArtifactMissing, ArtifactCorrupt
    """
    first, last = (None if start is None else as_utc(start)), (None if stop is None else as_utc(stop))
    columns = ["id", "event_time", "arm"]
    frames = read_segments(
        home,
        model,
        PREDICTIONS,
        read_sealed=lambda path: read_sealed_columns(path, first, last, columns),
        read_growing=lambda path: read_growing_predictions(path, first, last)[columns],
        registry=registry,
        start=first,
        stop=last,
    )
    served = pd.concat([empty_traffic()[columns], *(frame for frame in frames if len(frame))], ignore_index=True)
    served = served.loc[served["arm"] != SHADOW, ["id", "event_time"]]
    return served.sort_values(["event_time", "id"], ignore_index=True)


def _read_growing(path: Path) -> pd.DataFrame:
    lines = read_lines(path)
    return frame_from_label_batches([] if lines is None else lines.batches)


def _distinct(versions: pd.DataFrame) -> pd.DataFrame:
    # Two processes may have taken the same batch at the same moment; the values are compared as JSON, since True == 1.
    written = versions["value"].map(write_value)
    first = versions.assign(_value=written).sort_values("received_at", kind="stable")
    return first.drop_duplicates(["id", "observed_at", "_value"]).drop(columns="_value").reset_index(drop=True)
